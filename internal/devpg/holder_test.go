//go:build unix

package devpg

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// holderEnv makes the test binary a process that holds a cluster until killed.
const holderEnv = "DEVPG_TEST_HOLDER"

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(holderEnv); ok {
		hold(dir)
	}
	os.Exit(m.Run())
}

// held is what the holder prints.
type held struct {
	Base, URL, Data string
	PID             int
}

func hold(dir string) {
	c, err := Start(context.Background(), Options{Dir: dir, Temporary: dir == "", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(held{c.Dir(), c.URL(), c.home.data(), c.PID()})
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
	_ = c.Stop(context.Background())
	os.Exit(0)
}

// spawn starts a holder, as the given user if any.
func spawn(t *testing.T, exe, dir string, as *syscall.Credential) (*exec.Cmd, held) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Postgres; not under -short")
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), holderEnv+"="+dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	var h held
	if err == nil {
		err = json.Unmarshal([]byte(line), &h)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the holder did not start: %v\n%s", err, said.String())
	}
	return cmd, h
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func TestKilledHolderLeavesNoServer(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	cmd, h := spawn(t, self(t), dir, nil)
	run(t, h.URL, `create table kept (word text)`)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it holds the directory until it has ended
	eventually(t, "the server ends after its holder was killed", func() bool { return !serves(h.PID, h.Data) })

	// And the directory serves again, whether or not the server had time to end well.
	c := start(t, Options{Dir: dir})
	if got := run(t, c.URL(), `select count(*)::text from kept`); got != "0" {
		t.Errorf("count = %s", got)
	}
}

// The next start may come while the server of the killed one is still ending.
func TestStartRightAfterKill(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	cmd, h := spawn(t, self(t), dir, nil)
	run(t, h.URL, `create table kept (word text)`)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	c := start(t, Options{Dir: dir})
	if got := run(t, c.URL(), `select count(*)::text from kept`); got != "0" {
		t.Errorf("count = %s", got)
	}
}

func TestKilledHolderOfTemporaryLeavesNothing(t *testing.T) {
	t.Parallel()
	cmd, h := spawn(t, self(t), "", nil)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "server and directory go with their holder", func() bool {
		_, err := os.Stat(h.Base)
		return os.IsNotExist(err) && !serves(h.PID, h.Data)
	})
}

// As an ordinary user nothing is dropped, and everything belongs to that user.
func TestAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("every other test is this one")
	}
	uid := nobody(t)
	dir := openDir(t)
	exe := copyTo(t, self(t), filepath.Join(dir, "holder"))
	base := filepath.Join(dir, "pg")
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(base, int(uid), int(uid)); err != nil {
		t.Fatal(err)
	}
	cmd, h := spawn(t, exe, base, &syscall.Credential{Uid: uid, Gid: uid})
	for _, path := range []string{h.Data, filepath.Join(h.Base, "sock"), filepath.Join(h.Base, "lock")} {
		if st := statOf(t, path); st.Uid != uid {
			t.Errorf("%s belongs to %d; want %d", path, st.Uid, uid)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server ends after its holder was killed", func() bool { return !serves(h.PID, h.Data) })

	// Root goes on with that user's cluster, and leaves it usable for that user.
	asRoot := start(t, Options{Dir: base})
	if st := statOf(t, asRoot.home.data()); st.Uid != uid {
		t.Errorf("root took the data over: owner %d", st.Uid)
	}
	stop(t, asRoot)
	if _, again := spawn(t, exe, base, &syscall.Credential{Uid: uid, Gid: uid}); again.URL != h.URL {
		t.Errorf("url %s; want %s", again.URL, h.URL)
	}
}

// Below a directory that only root may enter, Postgres' user cannot work.
func TestClosedDirectoryAsRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root has to drop its rights")
	}
	closed := openDir(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	wanted := filepath.Join(closed, ".nchat", "postgres")
	c := start(t, Options{Dir: wanted})
	t.Cleanup(func() {
		if err := os.RemoveAll(c.Dir()); err != nil { // before start's own clean-up: it stops below
			t.Error(err)
		}
	})
	if !strings.HasPrefix(c.Dir(), "/var/lib/nchat-realtime/") {
		t.Errorf("Dir() = %s", c.Dir())
	}
	run(t, c.URL(), `create table kept (word text)`)
	stop(t, c)
	again := start(t, Options{Dir: wanted})
	if got := run(t, again.URL(), `select count(*)::text from kept`); got != "0" || again.Dir() != c.Dir() {
		t.Errorf("count %s in %s; want the same cluster again", got, again.Dir())
	}
	stop(t, again)
}

// nobody's uid; initdb wants one that has a name.
func nobody(t *testing.T) uint32 {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(uid)
}

// copyTo copies a program. Another process does it: were the copy open for
// writing here while another test forks, it could not be run ("text file busy").
func copyTo(t *testing.T, from, to string) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "install", "-m", "755", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copying: %v: %s", err, out)
	}
	return to
}
