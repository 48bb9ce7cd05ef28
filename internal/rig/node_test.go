package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	secret  = `{"type":"HS256","key":"a-key-of-the-rig-alone-and-long-enough-for-it-all"}`
	patient = time.Minute // what is waited for at most; never a measurement
)

// program is the shipped program, without the race detector: RIG_SERVER names another
// build of it.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("RIG_SERVER"); path != "" {
		return path, nil
	}
	dir := programDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "nchat-realtime")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/nchat-realtime").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func programDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("nchat-rig-%d", os.Getpid()))
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(programDir())
	os.Exit(code)
}

// node is a server process behind a link of its own, which stays at its address
// when the process is another one.
type node struct {
	t    testing.TB
	env  []string
	link *proxy // to clients

	mu    sync.Mutex
	cmd   *exec.Cmd     // guarded by mu
	done  chan struct{} // guarded by mu; closed when the process has ended
	since time.Time     // guarded by mu: ready
	said  []string      // guarded by mu: warnings and errors
	dug   []time.Time   // guarded by mu: when it buried dead nodes
	count *count        // guarded by mu: of this process
}

// start has a process serve, and waits until it is ready.
func (n *node) start() {
	n.t.Helper()
	bin, err := program()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve")
	cmd.Env = n.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := cmd.StderrPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	begun, at, done := make(chan error, 1), make(chan addresses, 1), make(chan struct{})
	go func() { // Pdeathsig is the forking thread's: this one stays
		begun <- cmd.Start()
		n.follow(pipe, at)
		_ = cmd.Wait()
		close(done)
	}()
	if err := <-begun; err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	n.cmd, n.done = cmd, done
	n.mu.Unlock()
	n.t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	select {
	case a := <-at:
		n.ready(a.Public)
		n.mu.Lock()
		n.since, n.count = time.Now(), &count{name: fmt.Sprint("process ", cmd.Process.Pid), metrics: a.Admin}
		n.mu.Unlock()
		n.link.turn("tcp", a.Public)
	case <-done:
		n.t.Fatalf("the server ended:\n%s", n.heard())
	case <-time.After(patient):
		n.t.Fatalf("the server does not serve:\n%s", n.heard())
	}
}

func (n *node) ready(addr string) {
	n.t.Helper()
	eventually(n.t, "ready", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
		if err != nil {
			n.t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// addresses are what a process says it serves at.
type addresses struct{ Public, Admin string }

func (n *node) follow(pipe io.Reader, at chan<- addresses) {
	s := bufio.NewScanner(pipe)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var line struct {
			Time       time.Time
			Level, Msg string
			addresses
		}
		if json.Unmarshal(s.Bytes(), &line) == nil {
			if line.Msg == "buried dead nodes" {
				n.mu.Lock()
				n.dug = append(n.dug, line.Time)
				n.mu.Unlock()
			}
			if line.Msg == "serving" {
				at <- line.addresses
			}
			if os.Getenv("RIG_DEBUG") == "" && (line.Level == "INFO" || line.Level == "DEBUG") {
				continue
			}
		}
		n.mu.Lock()
		if len(n.said) < 400 {
			n.said = append(n.said, s.Text())
		}
		n.mu.Unlock()
	}
}

func (n *node) heard() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.said, "\n")
}

func (n *node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Errorf("a signal to a node: %v", err)
	}
}

// ended waits for the process' end, and says how long that took.
func (n *node) ended() time.Duration {
	n.t.Helper()
	n.mu.Lock()
	done := n.done
	n.mu.Unlock()
	from := time.Now()
	select {
	case <-done:
	case <-time.After(patient):
		n.t.Fatal("the server does not end")
	}
	return time.Since(from)
}

// kill is kill -9; new clients are refused until start.
func (n *node) kill() {
	n.t.Helper()
	n.signal(syscall.SIGKILL)
	n.link.turn("tcp", "")
	n.ended()
}

// buried is when it buried dead nodes for the first time after a moment; false: not yet.
func (n *node) buried(after time.Time) (at time.Time, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.dug {
		if d.After(after) {
			return d, true
		}
	}
	return at, false
}

func (n *node) age() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.since)
}

// resident is what the process holds now, in bytes.
func (n *node) resident() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.cmd.Process.Pid))
	var size, pages int64
	_, _ = fmt.Sscan(string(text), &size, &pages)
	return pages * int64(os.Getpagesize())
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	end := time.Now().Add(patient)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

const (
	sigterm = syscall.SIGTERM
	sigstop = syscall.SIGSTOP
	sigcont = syscall.SIGCONT
)
