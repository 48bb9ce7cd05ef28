//go:build unix

package devpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"weak"

	"github.com/jackc/pgx/v5"
)

// openDir is a directory that any user may enter; t.TempDir's parents are 0700.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "devpg-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func start(t *testing.T, opts Options) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Postgres; not under -short")
	}
	c, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c) })
	return c
}

func stop(t *testing.T, c *Cluster) {
	t.Helper()
	if err := c.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// run executes sql and returns the last row's first column, if any.
func run(t *testing.T, url, sql string) (out string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(all) > 0 {
		out = all[len(all)-1]
	}
	return out
}

// eventually polls until is holds, and fails t after a minute.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestRestartKeepsData(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	first := start(t, Options{Dir: dir})
	run(t, first.URL(), `create table kept (word text)`)
	run(t, first.URL(), `insert into kept values ('still here')`)
	pid, data := first.PID(), first.home.data()
	stop(t, first)
	<-first.Done()
	if serves(pid, data) || first.PID() != 0 {
		t.Errorf("after Stop: process %d serves %v, PID() = %d", pid, serves(pid, data), first.PID())
	}
	stop(t, first) // a second Stop does nothing

	second := start(t, Options{Dir: dir})
	if got := run(t, second.URL(), `select word from kept`); got != "still here" {
		t.Errorf("after a restart the row is %q", got)
	}
	if first.URL() != second.URL() {
		t.Errorf("the url changed: %s, %s", first.URL(), second.URL())
	}
}

func TestOpensNoPort(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Dir: openDir(t)})
	if got := run(t, c.URL(), `select current_setting('listen_addresses')`); got != "" {
		t.Errorf("listen_addresses = %q", got)
	}
	for _, dir := range []string{c.home.sock, c.home.data()} {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want mode 0700", dir, info.Mode(), err)
		}
	}
	if os.Geteuid() == 0 {
		st := statOf(t, c.home.data())
		if st.Uid == 0 {
			t.Error("the data directory belongs to root")
		}
	}
}

func statOf(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no Stat_t")
	}
	return st
}

func TestSettingsReachTheServer(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Temporary: true, Settings: map[string]string{"max_connections": "37"}})
	if got := run(t, c.URL(), `select current_setting('max_connections')`); got != "37" {
		t.Errorf("max_connections = %s; want 37", got)
	}
	if got := run(t, c.URL(), `select current_setting('fsync')`); got != "off" {
		t.Errorf("fsync of a temporary cluster = %s; want off", got)
	}
}

func TestTemporaryLeavesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Temporary: true})
	stop(t, c)
	if _, err := os.Stat(c.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there (%v)", c.Dir(), err)
	}
}

// A caller may keep nothing but the URL: the server goes on for as long as the
// process lives.
func TestForgottenClusterGoesOn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts Postgres; not under -short")
	}
	url, forgotten := func() (string, weak.Pointer[Cluster]) {
		c, err := Start(t.Context(), Options{Temporary: true})
		if err != nil {
			t.Fatal(err)
		}
		return c.URL(), weak.Make(c)
	}()
	for range 5 {
		runtime.GC()
	}
	c := forgotten.Value()
	if c == nil {
		t.Fatal("the cluster was collected while its server runs: its guard's pipe and its lock close with it")
	}
	if got := run(t, url, `select 'fine'`); got != "fine" {
		t.Errorf("it answers %q", got)
	}
	stop(t, c)
}

func TestSecondStartSaysRunning(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	c := start(t, Options{Dir: dir})
	_, err := Start(t.Context(), Options{Dir: dir})
	running, ok := errors.AsType[*RunningError](err)
	if !ok || !errors.Is(err, ErrRunning) {
		t.Fatalf("second Start = %v; want a RunningError", err)
	}
	if running.PID != os.Getpid() || running.URL != c.URL() {
		t.Errorf("it names pid %d, url %q; want %d, %q", running.PID, running.URL, os.Getpid(), c.URL())
	}
	if got := run(t, c.URL(), `select 'fine'`); got != "fine" {
		t.Errorf("the first cluster answers %q", got)
	}
	stop(t, c)
	again := start(t, Options{Dir: dir})
	if again.PID() == 0 {
		t.Error("not running after the holder stopped")
	}
}

// The number in postmaster.pid belongs to another live process by now; Postgres
// itself would refuse to start for as long as that one lives.
func TestRecycledPid(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	c := start(t, Options{Dir: dir})
	data := c.home.data()
	stop(t, c)
	stale := strconv.Itoa(os.Getpid()) + "\n" + data + "\n1700000000\n5432\n" + c.home.sock + "\n\n"
	if err := os.WriteFile(filepath.Join(data, "postmaster.pid"), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: dir})
	if again.PID() == 0 {
		t.Error("not running")
	}
}

// A server that lost its holder is ended, cleanly, and ours takes its place.
func TestOrphanIsEnded(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	c := start(t, Options{Dir: dir})
	run(t, c.URL(), `create table kept (word text)`)
	stop(t, c)

	orphan, _, err := c.run() // as Start does, but without the lock
	if err != nil {
		t.Fatal(err)
	}
	if err := c.answers(t.Context(), orphan); err != nil {
		t.Fatal(err)
	}
	run(t, c.URL(), `insert into kept values ('from the orphan')`)
	again := start(t, Options{Dir: dir})
	if !orphan.ended() {
		t.Error("the orphan still runs")
	}
	if got := run(t, again.URL(), `select word from kept`); got != "from the orphan" {
		t.Errorf("row = %q", got)
	}
}

func TestKillAndResume(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Temporary: true})
	run(t, c.URL(), `create table kept (word text)`)
	done := c.Done()
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := run(t, c.URL(), `select count(*)::text from kept`); got != "0" {
		t.Errorf("count = %s", got)
	}
	pid := c.PID()
	if err := c.Resume(t.Context()); err != nil || c.PID() != pid {
		t.Errorf("Resume of a running server: %v, pid %d; want %d", err, c.PID(), pid)
	}
}

// A client that will not go does not hold up Stop: "fast" disconnects it; and
// with no time left the server is made to end.
func TestStopWithoutPatience(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Temporary: true})
	data, pid := c.home.data(), c.PID()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Stop(ended); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v", err)
	}
	if serves(pid, data) {
		t.Error("the server runs after Stop")
	}
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), strings.Repeat("long", 30), "er")
	c := start(t, Options{Dir: dir})
	if c.Dir() != dir {
		t.Errorf("Dir() = %s; want %s", c.Dir(), dir)
	}
	if n := len(c.home.sock) + len("/.s.PGSQL.5432"); n > socketPathMax {
		t.Errorf("the socket's path has %d bytes", n)
	}
	sock := c.home.sock
	stop(t, c)
	if _, err := os.Stat(sock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's directory %s was left behind", sock)
	}
	again := start(t, Options{Dir: dir})
	if again.home.sock != sock {
		t.Errorf("the socket moved from %s to %s", sock, again.home.sock)
	}
}

// A child that is being forked has the lock's file as well, for a moment after it
// is let go.
func TestALockIsLetGoWhoeverElseHasItsFile(t *testing.T) {
	t.Parallel()
	h := home{base: openDir(t)}
	lock, err := takeLock(h)
	if err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(child) }()
	if err := dropLock(lock); err != nil {
		t.Fatal(err)
	}
	again, err := takeLock(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := dropLock(again); err != nil {
		t.Error(err)
	}
}

// Whoever made the short directory before us could stand in for our server.
func TestShortDirOfAnother(t *testing.T) {
	t.Parallel()
	h := home{base: openDir(t)}
	squatted, err := h.shortDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(squatted)
	if err := os.Chmod(squatted, 0o777); err != nil {
		t.Fatal(err)
	}
	other, err := h.shortDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(other)
	if other == squatted {
		t.Errorf("%s is open to all, and was taken", squatted)
	}
}

func TestOtherVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	c := start(t, Options{Dir: dir})
	data := c.home.data()
	stop(t, c)
	version := filepath.Join(data, "PG_VERSION")
	if err := os.WriteFile(version, []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "made by Postgres 9") || !strings.Contains(err.Error(), data) {
		t.Errorf("Start = %v; want an error that names the version and the directory", err)
	}
	if _, err := os.Stat(filepath.Join(data, "base")); err != nil {
		t.Errorf("the data directory was touched: %v", err)
	}
}

func TestUnfinishedInitIsDoneAgain(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.init", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if c := start(t, Options{Dir: dir}); c.PID() == 0 {
		t.Error("not running")
	}
}
