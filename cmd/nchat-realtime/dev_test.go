package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary builds the command once.
var binary = sync.OnceValues(func() (string, error) {
	dir := binaryDir()
	if err := os.Mkdir(dir, 0o755); err != nil { // an ordinary user runs it too
		return "", err
	}
	path := filepath.Join(dir, "nchat-realtime")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func binaryDir() string { return filepath.Join("/tmp", fmt.Sprintf("nchat-cmd-%d", os.Getpid())) }

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(binaryDir())
	os.Exit(code)
}

// run is one running dev.
type run struct {
	t    *testing.T
	cmd  *exec.Cmd
	data string
	mu   sync.Mutex
	out  bytes.Buffer
	done chan struct{}
	err  error
}

type as struct{ uid, gid uint32 }

func start(t *testing.T, data string, who *as, wrap ...string) *run {
	t.Helper()
	return startOn(t, "", data, who, wrap...)
}

// startOn has it use a database that is there, if any is given.
func startOn(t *testing.T, database, data string, who *as, wrap ...string) *run {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Postgres")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrap, bin, "dev")
	if len(wrap) > 0 { // a shell that stays, as make does
		args = []string{wrap[0], wrap[1], bin + " dev; true"}
	}
	r := &run{t: t, cmd: exec.Command(args[0], args[1:]...), data: data, done: make(chan struct{})}
	r.cmd.Dir = filepath.Dir(data)
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(data), "DATA_DIR=" + data, "PORT=0", "ADMIN_ADDR=127.0.0.1:0", "LC_ALL=C"}
	if len(wrap) > 0 {
		r.cmd.Env = append(r.cmd.Env, "MAKELEVEL=1")
	}
	if database != "" {
		r.cmd.Env = append(r.cmd.Env, "DATABASE_URL="+database)
	}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if who != nil {
		r.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: who.uid, Gid: who.gid}
	}
	pipe, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stderr = r.cmd.Stdout
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		s := bufio.NewScanner(pipe)
		for s.Scan() {
			r.mu.Lock()
			r.out.WriteString(s.Text() + "\n")
			r.mu.Unlock()
		}
		r.err = r.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		<-r.done
		within(t, "nothing is left", func() bool { return len(r.left()) == 0 })
	})
	return r
}

func (r *run) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// left is every process that names the data directory.
func (r *run) left() []string {
	var list []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		line, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err != nil || !bytes.Contains(line, []byte("postgres")) {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join(d, "cwd"))
		if strings.HasPrefix(cwd, r.data) || bytes.Contains(line, []byte(r.data)) {
			list = append(list, d+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return list
}

// patient is how long a start may take, which makes a cluster of Postgres, or an end.
const patient = 2 * time.Minute

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patient)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("never: " + what)
		}
	}
}

var graphqlAt = regexp.MustCompile(`GraphQL +(http://\S+)/graphql`)

// ready waits for the banner and answers the server's address.
func (r *run) ready() string {
	r.t.Helper()
	base := ""
	within(r.t, "ready: "+r.text(), func() bool {
		select {
		case <-r.done:
			r.t.Fatalf("ended before it was ready: %v\n%s", r.err, r.text())
		default:
		}
		if m := graphqlAt.FindStringSubmatch(r.text()); m != nil && strings.Contains(r.text(), "Ctrl-C") {
			base = m[1]
		}
		return base != ""
	})
	return base
}

func (r *run) ended() {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patient):
		r.t.Fatal("does not end:\n" + r.text())
	}
}

var tokenLine = regexp.MustCompile(`(?m)^  (alice|bob|carol) +(ey\S+)$`)

func (r *run) query(base, query string) string {
	r.t.Helper()
	tokens := tokenLine.FindAllStringSubmatch(r.text(), -1)
	if len(tokens) != 3 {
		r.t.Fatalf("%d tokens printed:\n%s", len(tokens), r.text())
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, base+"/graphql", strings.NewReader(`{"query":"`+query+`"}`))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+tokens[0][2])
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(body)
}

// story is a first run, what a newcomer may do to it, and the runs after.
func story(t *testing.T, data string, who *as) {
	t.Helper()
	first := start(t, data, who)
	base := first.ready()
	if got := first.query(base, `mutation { setPresence(status: busy) { userId } }`); !strings.Contains(got, "000000000001") {
		t.Fatal(got)
	}
	if got := first.query(base+"/v1", `{ myPresence { manualStatus } }`); !strings.Contains(got, `"busy"`) {
		t.Fatal("a client finds nothing where Hasura would be:", got)
	}
	second := start(t, data, who)
	second.ended()
	if second.err == nil || strings.Count(strings.TrimSpace(second.text()), "\n") != 0 || !strings.Contains(second.text(), "running") {
		t.Fatalf("a second run while one runs says %v:\n%s", second.err, second.text())
	}
	_ = syscall.Kill(-first.cmd.Process.Pid, syscall.SIGINT) // Ctrl-C goes to the whole group
	first.ended()
	if first.err != nil {
		t.Fatalf("Ctrl-C: %v\n%s", first.err, first.text())
	}
	within(t, "Ctrl-C leaves nothing", func() bool { return len(first.left()) == 0 })

	third := start(t, data, who)
	if got := third.query(third.ready(), `{ myPresence { manualStatus } }`); !strings.Contains(got, `"busy"`) {
		t.Fatal("the data is gone:", got)
	}
	_ = third.cmd.Process.Kill()
	third.ended()
	within(t, "kill -9 leaves nothing", func() bool { return len(third.left()) == 0 })

	fourth := start(t, data, who)
	if got := fourth.query(fourth.ready(), `{ myPresence { manualStatus } }`); !strings.Contains(got, `"busy"`) {
		t.Fatal("the data is gone after kill -9:", got)
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	story(t, filepath.Join(open(t, 0o755, nil), "data"), nil)
}

func TestDevInAClosedDirectoryAsRoot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := open(t, 0o700, nil)
	r := start(t, filepath.Join(dir, "data"), nil)
	base := r.ready()
	if got := r.query(base, `{ realtimeConfig { idleAfterMs } }`); !strings.Contains(got, "300000") {
		t.Fatal(got)
	}
	// Where another user may not go its data is elsewhere, and said so.
	m := regexp.MustCompile(`(?m)^  data +(\S+)$`).FindStringSubmatch(r.text())
	if m == nil || strings.HasPrefix(m[1], dir) {
		t.Fatalf("data: %v", m)
	}
	r.data = m[1]
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	r.ended()
	within(t, "TERM leaves nothing", func() bool { return len(r.left()) == 0 })
	if err := os.RemoveAll(m[1]); err != nil {
		t.Error(err)
	}
}

func TestDevAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("is one already")
	}
	who := &as{65534, 65534}
	story(t, filepath.Join(open(t, 0o755, who), "data"), who)
}

func TestDevEndsWithAKilledMake(t *testing.T) {
	t.Parallel()
	r := start(t, filepath.Join(open(t, 0o755, nil), "data"), nil, "sh", "-c")
	r.ready()
	_ = r.cmd.Process.Kill() // the shell alone, as kill -9 of make does
	within(t, "nothing is left: "+r.text(), func() bool { return len(r.left()) == 0 })
	r.ended()
}

// open is a directory of the test's, removed with it.
func open(t *testing.T, mode os.FileMode, who *as) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "nchat-dev-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	if who != nil {
		if err := os.Chown(dir, int(who.uid), int(who.gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestServeAndTokenSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the command")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	const dev = `{"type":"HS256","key":"nchat-realtime-development-key-known-to-everybody"}`
	for name, c := range map[string]struct {
		env  []string
		args []string
		says string
		ok   bool
	}{
		"serve without anything": {nil, []string{"serve"}, "HASURA_GRAPHQL_JWT_SECRET must be set", false},
		"serve with the dev key": {[]string{"DATABASE_URL=postgres:///x", "HASURA_GRAPHQL_JWT_SECRET=" + dev}, []string{"serve"}, "development key", false},
		"a wrong value":          {[]string{"IDLE_AFTER=soon"}, []string{"dev"}, "IDLE_AFTER", false},
		"the dev key for others": {[]string{"HOST=0.0.0.0"}, []string{"dev"}, "loopback", false},
		"the dev key, given":     {[]string{"HOST=0.0.0.0", "HASURA_GRAPHQL_JWT_SECRET=" + dev}, []string{"dev"}, "loopback", false},
		"a bad JWT secret":       {[]string{"HASURA_GRAPHQL_JWT_SECRET={}"}, []string{"token", "--user", "bob"}, "HASURA_GRAPHQL_JWT_SECRET", false},
		"a token by name":        {nil, []string{"token", "--user", "Bob"}, "ey", true},
		"a token by id":          {nil, []string{"token", "--user", "00000000-0000-4000-8000-000000000002", "--ttl", "5m"}, "ey", true},
		"a token for nobody":     {nil, []string{"token", "--user", "zoe"}, "--user must be", false},
		"migrate without a url":  {nil, []string{"migrate"}, "DATABASE_URL must be set", false},
		"doctor without a url":   {nil, []string{"doctor"}, "DATABASE_URL must be set", false},
		"help":                   {nil, []string{"--help"}, "OFFLINE_GRACE", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			cmd := exec.CommandContext(ctx, bin, c.args...)
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.env...)
			cmd.Dir = t.TempDir()
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ok || !strings.Contains(string(out), c.says) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
