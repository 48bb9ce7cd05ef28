package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const (
	secret  = `{"type":"HS256","key":"a-key-of-the-end-to-end-tests-and-of-nobody-else"}`
	admin   = "the-admin-secret-of-the-end-to-end-tests"
	patient = time.Minute // what a test waits at most; never a measurement
)

var binary = sync.OnceValues(func() (string, error) {
	dir := binaryDir()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "nchat-realtime")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/nchat-realtime").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func binaryDir() string { return filepath.Join(os.TempDir(), fmt.Sprintf("nchat-e2e-%d", os.Getpid())) }

func TestMain(m *testing.M) {
	// These tests wait, for leases and graces; they hardly compute.
	flag.Parse()
	if err := flag.Set("test.parallel", fmt.Sprint(max(6, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(binaryDir())
	// Servers ran in this process, through outages too: nothing of them is left.
	end := time.Now().Add(patient)
	for code == 0 {
		left := leftover()
		if left == "" {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, "still running:\n"+left)
			code = 1
		}
		runtime.Gosched()
	}
	os.Exit(code)
}

func leftover() string {
	buf := make([]byte, 4<<20)
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		for _, p := range []string{"app", "auth", "bus", "clock", "hub", "lease", "presence", "typing", "feed", "events", "message", "receipt", "push", "announce", "webhook", "wsock", "gqlhttp", "door"} {
			if strings.Contains(g, "nchat-realtime/internal/"+p+".") {
				return g
			}
		}
		if strings.Contains(g, "lib/pq.") || strings.Contains(g, "nats-io/nats.go.") {
			return g
		}
	}
	return ""
}

// database is one with the demo world, for whole servers.
func database(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts whole servers")
	}
	url := pgtest.NewURL(t)
	if _, err := demo.Load(t.Context(), pgtest.Pool(t, url)); err != nil {
		t.Fatal(err)
	}
	return url
}

// node is a whole server, a process of its own.
type node struct {
	url   string
	t     testing.TB
	cmd   *exec.Cmd
	base  string
	aside string // ADMIN_ADDR
	done  chan struct{}
	stop  context.CancelFunc // of one in this process
	at    time.Time
	mu    sync.Mutex
	log   strings.Builder
}

func (n *node) started() time.Time { return n.at }

func startNode(t *testing.T, url string, env ...string) *node {
	t.Helper()
	return startAs(t, "serve", url, env...)
}

// startAs starts a server as a process, by one of its commands.
func startAs(t *testing.T, command, url string, env ...string) *node {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, url: url, cmd: exec.Command(bin, command), done: make(chan struct{})}
	n.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + url, "HASURA_GRAPHQL_JWT_SECRET=" + secret,
		"HASURA_GRAPHQL_ADMIN_SECRET=" + admin, "HOST=127.0.0.1", "PORT=0", "ADMIN_ADDR=127.0.0.1:0", "DRAIN_TIMEOUT=500ms", "INIT_TIMEOUT=1m"}, env...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := n.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	serving := make(chan [2]string, 1)
	go func() { // Pdeathsig is the forking thread's: this one stays
		started <- n.cmd.Start()
		n.follow(pipe, serving)
		_ = n.cmd.Wait()
		close(n.done)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.cmd.Process.Kill(); <-n.done })
	select {
	case at := <-serving:
		n.base, n.aside = "http://"+at[0], "http://"+at[1]
	case <-n.done:
		t.Fatal("the server ended:\n" + n.said())
	case <-time.After(patient):
		t.Fatal("the server does not serve:\n" + n.said())
	}
	n.ready()
	n.at = time.Now()
	return n
}

// ready waits until the server says that it is: before its LISTEN stands, a
// doorbell passes it by.
func (n *node) ready() {
	n.t.Helper()
	eventually(n.t, "ready", func() bool {
		req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.base+"/readyz", nil)
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

func (n *node) follow(pipe io.Reader, serving chan<- [2]string) {
	s := bufio.NewScanner(pipe)
	for s.Scan() {
		n.mu.Lock()
		n.log.WriteString(s.Text() + "\n")
		n.mu.Unlock()
		var line struct{ Msg, Public, Admin string }
		if json.Unmarshal(s.Bytes(), &line) == nil && line.Msg == "serving" {
			serving <- [2]string{line.Public, line.Admin}
		}
	}
}

func (n *node) said() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// stacks ends a node that does wrong, and is all that it said, the last being where its
// goroutines were.
func (n *node) stacks() string {
	_ = n.cmd.Process.Signal(syscall.SIGQUIT)
	<-n.done
	return n.said()
}

func token(t testing.TB, user uuid.UUID, change ...func(*auth.Claims)) string {
	t.Helper()
	c, err := auth.ParseJWTConfig(secret)
	if err != nil {
		t.Fatal(err)
	}
	cl := auth.Claims{User: user, Role: "user", TTL: time.Hour}
	for _, f := range change {
		f(&cl)
	}
	s, err := auth.Mint(c, cl)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// result is an operation's response.
type result struct {
	Data   json.RawMessage `json:"data"`
	Errors []struct {
		Message    string
		Extensions map[string]any
	} `json:"errors"`
}

func (r result) String() string { b, _ := json.Marshal(r); return string(b) } //nolint:errchkjson // for a message

// post sends an operation over HTTP.
func (n *node) post(query string, header http.Header) result {
	n.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query})
	if err != nil {
		n.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.base+"/graphql", strings.NewReader(string(body)))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var r result
	if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
		n.t.Fatal(err)
	}
	return r
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// sock is a graphql-transport-ws client of a few lines.
type sock struct {
	t      testing.TB
	ws     *websocket.Conn
	ack    map[string]any
	mu     sync.Mutex
	next   int
	subs   map[string]chan result
	over   map[<-chan result]bool // guarded by mu: completed by the server
	closed chan *websocket.CloseError
}

func (n *node) dial(tok string, extra ...map[string]any) *sock {
	n.t.Helper()
	return n.dialAt("/graphql", tok, extra...)
}

func (n *node) dialAt(path, tok string, extra ...map[string]any) *sock {
	n.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: patient}
	ws, res, err := d.DialContext(n.t.Context(), strings.Replace(n.base, "http", "ws", 1)+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = res.Body.Close()
	s := &sock{t: n.t, ws: ws, subs: map[string]chan result{}, over: map[<-chan result]bool{}, closed: make(chan *websocket.CloseError, 1)}
	n.t.Cleanup(func() { _ = ws.Close() })
	payload := map[string]any{"headers": map[string]string{"Authorization": "Bearer " + tok}}
	for _, m := range extra {
		for k, v := range m {
			payload[k] = v
		}
	}
	s.write(map[string]any{"type": "connection_init", "payload": payload})
	acked := make(chan map[string]any, 1)
	go s.read(acked)
	select {
	case s.ack = <-acked:
	case e := <-s.closed:
		s.closed <- e
	case <-time.After(patient):
		n.t.Fatal("no connection_ack")
	}
	return s
}

func (s *sock) write(m map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ws.WriteJSON(m); err != nil {
		s.t.Logf("write: %v", err)
	}
}

func (s *sock) read(acked chan<- map[string]any) {
	for {
		var m struct {
			ID, Type string
			Payload  json.RawMessage
		}
		if err := s.ws.ReadJSON(&m); err != nil {
			e, ok := err.(*websocket.CloseError) //nolint:errorlint // gorilla's own
			if !ok {
				e = &websocket.CloseError{Code: websocket.CloseAbnormalClosure, Text: err.Error()}
			}
			s.closed <- e
			return
		}
		switch m.Type {
		case "connection_ack":
			var ack map[string]any
			_ = json.Unmarshal(m.Payload, &ack)
			acked <- ack
		case "next", "error":
			var r result
			if m.Type == "next" {
				_ = json.Unmarshal(m.Payload, &r)
			} else {
				_ = json.Unmarshal(m.Payload, &r.Errors)
			}
			s.mu.Lock()
			c := s.subs[m.ID]
			s.mu.Unlock()
			c <- r
		case "complete":
			s.mu.Lock()
			s.over[s.subs[m.ID]] = true
			s.mu.Unlock()
		}
	}
}

// ended says whether the server has completed an operation.
func (s *sock) ended(sub <-chan result) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over[sub]
}

// start runs an operation; its responses come on the channel.
func (s *sock) start(query string) <-chan result { return s.startWith(query, nil) }

func (s *sock) startWith(query string, variables map[string]any) <-chan result {
	s.mu.Lock()
	s.next++
	id := fmt.Sprint(s.next)
	c := make(chan result, 1024)
	s.subs[id] = c
	s.mu.Unlock()
	s.write(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": query, "variables": variables}})
	return c
}

func (s *sock) run(query string) result {
	s.t.Helper()
	return next(s.t, s.start(query))
}

func (s *sock) session() string { id, _ := s.ack["sessionId"].(string); return id }

// end waits for the socket's close.
func (s *sock) end() *websocket.CloseError {
	s.t.Helper()
	select {
	case e := <-s.closed:
		return e
	case <-time.After(patient):
		s.t.Fatal("the socket is not closed")
	}
	panic("unreachable")
}

func next(t testing.TB, c <-chan result) result {
	t.Helper()
	select {
	case r := <-c:
		return r
	case <-time.After(patient):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

// until reads on until a response contains text.
func until(t testing.TB, c <-chan result, text string) result {
	t.Helper()
	for {
		if r := next(t, c); strings.Contains(r.String(), text) {
			return r
		}
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
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

func watch(users ...uuid.UUID) string {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = `"` + u.String() + `"`
	}
	return `subscription { presenceChanged(userIds: [` + strings.Join(ids, ",") + `]) { userId status lastSeenAt customStatus { text } } }`
}

// operator is what a node says at a path of ADMIN_ADDR.
func (n *node) operator(path string) string {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.aside+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	_, _, text := n.ask(req)
	return string(text)
}

// ask is what a request is answered.
func (n *node) ask(req *http.Request) (status int, header http.Header, text []byte) {
	n.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if text, err = io.ReadAll(res.Body); err != nil {
		n.t.Fatal(err)
	}
	return res.StatusCode, res.Header, text
}
