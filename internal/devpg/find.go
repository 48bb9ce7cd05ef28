//go:build unix

package devpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// oldest is the oldest major version our SQL is meant for.
const oldest = 14

// binaries is a directory with initdb and postgres of one version.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// MissingError says that no usable Postgres was found, and the remedy.
type MissingError struct{ How string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("no Postgres %d or newer on this machine: %s", oldest, e.How)
}

// findFor picks binaries for a data directory: of its version if it exists,
// else the first that will do.
func findFor(ctx context.Context, data string) (binaries, error) {
	raw, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return findAny(ctx)
	}
	if err != nil {
		return binaries{}, fmt.Errorf("reading the data directory's version: %w", err)
	}
	made, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return binaries{}, fmt.Errorf("%s holds no version of Postgres: %q", data, raw)
	}
	all := installed(ctx)
	for _, b := range all {
		if b.major == made {
			return b, nil
		}
	}
	var have []string
	for _, b := range all {
		have = append(have, fmt.Sprintf("%d (%s)", b.major, b.dir))
	}
	return binaries{}, fmt.Errorf("%s was made by Postgres %d, and there is %s: install Postgres %d, or move that directory away to start afresh; it was left as it is",
		data, made, strings.Join(have, ", ")+nothing(have), made)
}

func nothing(have []string) string {
	if len(have) == 0 {
		return "none"
	}
	return ""
}

func findAny(ctx context.Context) (binaries, error) {
	for _, b := range installed(ctx) {
		if b.major >= oldest {
			return b, nil
		}
	}
	return binaries{}, &MissingError{How: howToInstall()}
}

// installed lists what there is, the preferred first: PATH, then the places
// packages use, newest first, then what pg_config says.
func installed(ctx context.Context) []binaries {
	var dirs []string
	if p, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(p))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*", "/usr/lib/postgresql*/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin", "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin", "/usr/local/pgsql/bin",
	} {
		found, _ := filepath.Glob(pattern) // the only error is a bad pattern
		slices.SortFunc(found, func(a, b string) int { return lastNumber(b) - lastNumber(a) })
		dirs = append(dirs, found...)
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	var all []binaries
	for _, dir := range dirs {
		if b, ok := inspect(ctx, dir); ok && !slices.Contains(all, b) {
			all = append(all, b)
		}
	}
	return all
}

func inspect(ctx context.Context, dir string) (binaries, bool) {
	// A lone symlink to postgres may stand in a directory without initdb.
	server, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil {
		return binaries{}, false
	}
	b := binaries{dir: filepath.Dir(server)}
	if _, err := exec.LookPath(b.path("initdb")); err != nil {
		return binaries{}, false
	}
	out, err := exec.CommandContext(ctx, server, "-V").Output()
	if err != nil {
		return binaries{}, false
	}
	// "postgres (PostgreSQL) 16.4 (Debian 16.4-1)", "postgres (PostgreSQL) 18beta1"
	m := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(out)
	if m == nil {
		return binaries{}, false
	}
	b.major, err = strconv.Atoi(string(m[1]))
	return b, err == nil
}

func lastNumber(path string) int {
	all := regexp.MustCompile(`\d+`).FindAllString(path, -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1])
	return n
}

func ensureInstalled(ctx context.Context, log *slog.Logger) error {
	_, err := findAny(ctx)
	missing, ok := errors.AsType[*MissingError](err)
	if !ok {
		return err
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return missing
	}
	log.InfoContext(ctx, "installing Postgres (apt-get install postgresql)")
	if err := aptInstall(ctx); err != nil {
		return fmt.Errorf("installing Postgres: %w", err)
	}
	_, err = findAny(ctx)
	return err
}

// aptInstall installs the binaries only: Debian's package would also make and
// start a cluster on port 5432, unless it is told not to before.
func aptInstall(ctx context.Context) error {
	const confDir = "/etc/postgresql-common/createcluster.d"
	if err := os.MkdirAll(confDir, 0o755); err != nil {
		return err
	}
	conf := filepath.Join(confDir, "nchat-realtime.conf")
	if err := os.WriteFile(conf, []byte("create_main_cluster = false\n"), 0o644); err != nil {
		return err
	}
	defer os.Remove(conf)
	install := []string{"install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "postgresql"}
	if apt(ctx, install...) == nil {
		return nil
	}
	// A fresh container has no package lists.
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	return apt(ctx, install...)
}

func apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, lastLines(out, 10))
	}
	return nil
}

// howToInstall is one line a person can paste.
func howToInstall() string {
	if runtime.GOOS == "darwin" {
		return "brew install postgresql@16"
	}
	for _, m := range []struct{ tool, command string }{
		{"apt-get", "sudo apt-get install postgresql"},
		{"dnf", "sudo dnf install postgresql-server"},
		{"apk", "apk add postgresql16"},
		{"pacman", "sudo pacman -S postgresql"},
		{"zypper", "sudo zypper install postgresql-server"},
	} {
		if _, err := exec.LookPath(m.tool); err == nil {
			return m.command
		}
	}
	return "see https://www.postgresql.org/download/"
}

func lastLines(out []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
