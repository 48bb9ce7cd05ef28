package main

import (
	"bufio"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// asMainEnv makes the test binary the command itself.
const asMainEnv = "WITH_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// with prepares the command; database is what TEST_DATABASE_URL is beforehand.
func with(t *testing.T, database string, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Postgres; not under -short")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asMainEnv+"=1", pgtest.EnvURL+"="+database)
	return cmd
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

// socketDir is where the server of a printed URL was.
func socketDir(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Query().Get("host") == "" {
		t.Fatalf("%s is %q", pgtest.EnvURL, raw)
	}
	return u.Query().Get("host")
}

func TestExitCodeAndCleanUp(t *testing.T) {
	t.Parallel()
	cmd := with(t, "", "--", "sh", "-c", `echo "$TEST_DATABASE_URL"; exit 3`)
	out, err := cmd.Output()
	if got := exitCode(t, err); got != 3 {
		t.Errorf("exit code %d; want the command's 3", got)
	}
	if dir := socketDir(t, string(out)); exists(dir) {
		t.Errorf("%s was left behind", dir)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

func TestOtherEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want int
	}{
		"success":          {[]string{"true"}, 0},
		"no such command":  {[]string{"/no/such/command"}, 127},
		"killed by itself": {[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9},
		"nothing to run":   {nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A server that is named is not started, nor asked.
			if got := exitCode(t, with(t, "postgres://nobody@127.0.0.1:1/x", tc.args...).Run()); got != tc.want {
				t.Errorf("exit code %d; want %d", got, tc.want)
			}
		})
	}
}

func TestHandsSignalsOn(t *testing.T) {
	t.Parallel()
	cmd := with(t, "", "--", "sh", "-c", `trap 'exit 7' TERM; echo "$TEST_DATABASE_URL"; while :; do sleep 0.05; done`)
	line := begin(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := exitCode(t, cmd.Wait()); got != 7 {
		t.Errorf("exit code %d; want the command's own end on TERM, 7", got)
	}
	if dir := socketDir(t, line); exists(dir) {
		t.Errorf("%s was left behind", dir)
	}
}

func TestKilledLeavesNoPostgres(t *testing.T) {
	t.Parallel()
	cmd := with(t, "", "--", "sh", "-c", `echo "$TEST_DATABASE_URL"; read -r line`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	line := begin(t, cmd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	dir := socketDir(t, line)
	deadline, tick := time.After(10*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for exists(dir) { // it goes after the server
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s is still there", dir)
		}
	}
	in.Close() // the shell, which lost its parent, ends
	_ = cmd.Wait()
}

// begin starts cmd and returns its first line.
func begin(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("%v, %v", err, cmd.Wait())
	}
	return line
}

// What is measured commits to the disk; what is tested need not.
func TestDurable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, fsync string }{{"--", "off"}, {"-durable", "on"}} {
		out, err := with(t, "", c.flag, "sh", "-c", `psql -XAtc 'show fsync' "$`+pgtest.EnvURL+`"`).Output()
		if err != nil || strings.TrimSpace(string(out)) != c.fsync {
			t.Errorf("%s: fsync is %q, %v", c.flag, out, err)
		}
	}
}
