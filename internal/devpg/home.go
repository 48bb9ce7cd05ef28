//go:build unix

package devpg

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// socketPathMax is what sockaddr_un holds on every Unix we know, its zero byte
// left out: 107 bytes on Linux, 103 on BSD and macOS.
const socketPathMax = 103

// home is where a cluster lives and whose it is:
//
//	base/              ours: lock, postgres.log
//	base/data/         the server's, mode 0700
//	base/sock/         the server's, mode 0700; elsewhere if that path is too long
type home struct {
	base string
	sock string
	user *syscall.Credential // whom the server runs as; nil: as we do
}

func (h home) data() string    { return filepath.Join(h.base, "data") }
func (h home) logFile() string { return filepath.Join(h.base, "postgres.log") }

// chooseHome finds a directory that the server's user can enter, and makes it.
func chooseHome(ctx context.Context, opts Options) (home, error) {
	if opts.Temporary {
		return temporaryHome(ctx)
	}
	if opts.Dir == "" {
		return home{}, errors.New("devpg: Dir is empty")
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return home{}, err
	}
	h, err := makeBase(ctx, dir)
	if errors.Is(err, errNoEntry) {
		elsewhere := filepath.Join("/var/lib/nchat-realtime", shortHash(dir))
		opts.Log.WarnContext(ctx, "Postgres does not run as root and its user cannot enter the directory: using another",
			"wanted", dir, "using", elsewhere)
		h, err = makeBase(ctx, elsewhere)
	}
	if err != nil {
		return home{}, fmt.Errorf("preparing the directory of Postgres: %w", err)
	}
	return h, h.placeSocket()
}

func temporaryHome(ctx context.Context) (home, error) {
	var last error
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		dir, err := os.MkdirTemp(parent, "nchat-pg-")
		if err != nil {
			last = err
			continue
		}
		h, err := makeBase(ctx, dir)
		if err == nil {
			err = h.placeSocket()
		}
		if err == nil {
			return h, nil
		}
		last = errors.Join(err, os.RemoveAll(dir))
	}
	return home{}, fmt.Errorf("preparing a temporary directory of Postgres: %w", last)
}

var errNoEntry = errors.New("the user Postgres runs as cannot enter the directory")

func makeBase(ctx context.Context, dir string) (home, error) {
	cred, err := runAs(filepath.Join(dir, "data"))
	if err != nil {
		return home{}, err
	}
	_, statErr := os.Stat(dir)
	h := home{base: dir, user: cred}
	if cred == nil {
		return h, os.MkdirAll(dir, 0o700)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return home{}, err
	}
	// The server's user passes through, and sees nothing but its own.
	if err := os.Chmod(dir, 0o711); err != nil {
		return home{}, err
	}
	if err := h.enter(ctx); err != nil {
		if statErr != nil {
			os.Remove(dir) // we made it, in vain
		}
		return home{}, err
	}
	return h, nil
}

// enter tries it out: modes alone do not tell of ACLs and mounts.
func (h home) enter(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "exit 0")
	cmd.Dir = h.base
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.user}
	err := cmd.Run()
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: %s", errNoEntry, h.base)
	}
	if err != nil {
		return fmt.Errorf("starting a process as uid %d: %w", h.user.Uid, err)
	}
	return nil
}

// runAs says whom the server must run as: the owner of its data if there is
// any, else ourselves, or for root, whom Postgres refuses, somebody without rights.
func runAs(data string) (*syscall.Credential, error) {
	me := os.Geteuid()
	if info, err := os.Stat(data); err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok || int(st.Uid) == me && me != 0:
			return nil, nil
		case me != 0:
			return nil, fmt.Errorf("%s belongs to uid %d: run as that user, or move the directory away", data, st.Uid)
		case st.Uid == 0:
			return nil, fmt.Errorf("%s belongs to root, whom Postgres refuses: move the directory away", data)
		}
		return &syscall.Credential{Uid: st.Uid, Gid: st.Gid}, nil
	}
	if me != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if uerr == nil && gerr == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("Postgres does not run as root, and there is neither a user postgres nor a user nobody")
}

// own makes a directory that is the server's alone.
func (h home) own(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if h.user != nil {
		return os.Lchown(dir, int(h.user.Uid), int(h.user.Gid))
	}
	return nil
}

// placeSocket puts the socket beside the data, or where its path is short enough.
func (h *home) placeSocket() error {
	h.sock = filepath.Join(h.base, "sock")
	if len(h.sock)+len("/.s.PGSQL.")+len(socketPort) > socketPathMax {
		short, err := h.shortDir()
		if err != nil {
			return fmt.Errorf("making a directory for the socket: %w", err)
		}
		h.sock = short
	}
	if err := h.own(h.sock); err != nil {
		return fmt.Errorf("making the socket's directory: %w", err)
	}
	return nil
}

// shortDir is the same for every start, unless somebody else took the name:
// whoever owns the directory could stand in for our server.
func (h *home) shortDir() (string, error) {
	dir := filepath.Join("/tmp", "nchat-pg-"+shortHash(h.base))
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return dir, nil
	}
	info, err := os.Lstat(dir)
	if err == nil && info.IsDir() && info.Mode().Perm() == 0o700 {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && h.owns(st.Uid) {
			return dir, nil
		}
	}
	return os.MkdirTemp("/tmp", "nchat-pg-")
}

func (h *home) owns(uid uint32) bool {
	return int(uid) == os.Geteuid() || h.user != nil && uid == h.user.Uid
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return fmt.Sprintf("%x", sum[:6])
}
