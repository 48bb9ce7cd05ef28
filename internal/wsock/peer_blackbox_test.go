package wsock_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// rig is a transport on a real socket, with a schema of its own.
type rig struct {
	*wsock.Transport
	schema *schema
	url    string
	wide   bool // peers have the system's receive buffers: narrow ones also slow down what they send

	mu     sync.Mutex
	ended  []wsock.CloseInfo // guarded by mu: what Accepted.Closed was told
	closed []int             // guarded by mu: what Observer.Closed was told
}

// letIn accepts everybody as nobody.
func letIn(ctx context.Context, _ wsock.Request) (wsock.Accepted, error) {
	return wsock.Accepted{Context: ctx}, nil
}

// narrow is a listener whose sockets hold little, so that a peer that does not
// read is felt at once.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		err = tcp.SetWriteBuffer(4096)
	}
	return c, err
}

func newRig(t *testing.T, o wsock.Options) *rig {
	t.Helper()
	o.Limits.InitTimeout = cmp.Or(o.Limits.InitTimeout, patience)
	r := &rig{schema: newSchema()}
	return r.serve(t, o, executor.New(r.schema))
}

// serve puts a rig on a port.
func (r *rig) serve(t *testing.T, o wsock.Options, exec graphql.GraphExecutor) *rig {
	t.Helper()
	r.Transport = wsock.New(r.options(o))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !r.Supports(q) {
			http.Error(w, "no upgrade", http.StatusTeapot)
			return
		}
		r.Do(w, q, exec)
	}))
	srv.Listener = narrow{srv.Listener}
	srv.Start()
	r.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.Drain(ctx, 0)
		srv.Close()
		eventually(t, "streams end with their sockets", func() bool { return r.schema.live.Load() == 0 })
		if ctx.Err() != nil {
			t.Error("drain did not end by itself")
		}
	})
	return r
}

// options fills in what a test does not care about, and listens in.
func (r *rig) options(o wsock.Options) wsock.Options {
	init := o.Init
	if init == nil {
		init = letIn
	}
	o.Init = func(ctx context.Context, q wsock.Request) (wsock.Accepted, error) {
		a, err := init(ctx, q)
		told := a.Closed
		a.Closed = func(i wsock.CloseInfo) {
			if told != nil {
				told(i)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, i)
		}
		return a, err
	}
	if o.CheckOrigin == nil {
		o.CheckOrigin = func(*http.Request) bool { return true }
	}
	if o.Recover == nil {
		o.Recover = func(context.Context, any) error { return errors.New("internal error") }
	}
	told := o.Observer.Closed
	o.Observer.Closed = func(code int) {
		if told != nil {
			told(code)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closed = append(r.closed, code)
	}
	return o
}

// endings is what Accepted.Closed was told so far.
func (r *rig) endings() []wsock.CloseInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]wsock.CloseInfo(nil), r.ended...)
}

// ending waits for the first socket's end.
func (r *rig) ending(t *testing.T) wsock.CloseInfo {
	t.Helper()
	eventually(t, "the socket ends", func() bool { return len(r.endings()) > 0 })
	return r.endings()[0]
}

// only is the one socket there is.
func (r *rig) only(t *testing.T) *wsock.Conn {
	t.Helper()
	var all []*wsock.Conn
	r.Each(func(c *wsock.Conn) { all = append(all, c) })
	if len(all) != 1 {
		t.Fatalf("%d sockets, want 1", len(all))
	}
	return all[0]
}

// eventually polls until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	late := time.After(patience)
	for !holds() {
		select {
		case <-poll.C:
		case <-late:
			t.Fatal("did not happen: " + what)
		}
	}
}

// ours is the stacks of goroutines that run this package's code.
func ours() []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var mine []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		for _, owner := range []string{"wsock.(*Conn).", "wsock.(*reader).", "wsock.(*writer).", "wsock.(*handshake).", "wsock.(*operations).", "wsock.(*operation).", "wsock.(*Transport)."} {
			if strings.Contains(stack, owner) {
				mine = append(mine, stack)
				break
			}
		}
	}
	return mine
}

// peer is a client that minds nothing by itself.
type peer struct {
	t  *testing.T
	ws *websocket.Conn
}

// said is a message of the server's.
type said struct {
	ID      *string         `json:"id"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

func (r *rig) dial(t *testing.T, protocols ...string) *peer {
	t.Helper()
	p, status, err := r.try(t, nil, protocols...)
	if err != nil {
		t.Fatalf("dial: %v, status %d", err, status)
	}
	return p
}

func (r *rig) try(t *testing.T, header http.Header, protocols ...string) (*peer, int, error) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: patience, WriteBufferSize: 4096,
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if tcp, ok := c.(*net.TCPConn); ok && err == nil && !r.wide {
				err = tcp.SetReadBuffer(4096)
			}
			return c, err
		}}
	ws, resp, err := d.DialContext(t.Context(), r.url, header)
	status := 0
	if resp != nil {
		status = resp.StatusCode
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, status, err
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &peer{t: t, ws: ws}, status, nil
}

// modern is an acknowledged graphql-transport-ws socket.
func (r *rig) modern(t *testing.T) *peer {
	t.Helper()
	p := r.dial(t, wsock.TransportWS)
	p.send(`{"type":"connection_init"}`)
	p.want("connection_ack")
	return p
}

// legacy is an acknowledged graphql-ws socket.
func (r *rig) legacy(t *testing.T) *peer {
	t.Helper()
	p := r.dial(t, wsock.LegacyWS)
	p.send(`{"type":"connection_init"}`)
	p.want("connection_ack")
	p.want("ka")
	return p
}

func (p *peer) send(text string) {
	p.t.Helper()
	_ = p.ws.SetWriteDeadline(time.Now().Add(patience))
	if err := p.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		p.t.Fatalf("send %.80s: %v", text, err)
	}
}

// subscribe starts an operation, by either protocol.
func (p *peer) subscribe(id, query string) {
	p.t.Helper()
	kind := "subscribe"
	if p.ws.Subprotocol() == wsock.LegacyWS {
		kind = "start"
	}
	b, err := json.Marshal(map[string]any{"id": id, "type": kind, "payload": map[string]any{"query": query}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(string(b))
}

func (p *peer) read() (said, error) {
	_ = p.ws.SetReadDeadline(time.Now().Add(patience))
	_, data, err := p.ws.ReadMessage()
	if err != nil {
		return said{}, err
	}
	var m said
	return m, json.Unmarshal(data, &m)
}

// next is the next message, whatever it is.
func (p *peer) next() said {
	p.t.Helper()
	m, err := p.read()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return m
}

// want is the next message, which must be of a type.
func (p *peer) want(kind string) said {
	p.t.Helper()
	m := p.next()
	if m.Type != kind {
		p.t.Fatalf("got %s %s, want %s", m.Type, m.Payload, kind)
	}
	return m
}

// wantOf is the next message, which must be an operation's.
func (p *peer) wantOf(id, kind string) said {
	p.t.Helper()
	m := p.want(kind)
	if m.ID == nil || *m.ID != id {
		p.t.Fatalf("%s is not of %s: %s", kind, id, m.Payload)
	}
	return m
}

// settle waits until the server has dealt with what was sent, and fails if it
// says anything meanwhile.
func (p *peer) settle() {
	p.t.Helper()
	p.send(`{"type":"ping","payload":{"settled":true}}`)
	if m := p.want("pong"); string(m.Payload) != `{"settled":true}` {
		p.t.Fatalf("pong %s", m.Payload)
	}
}

// wantClose reads until the close frame, which must have a code and a reason.
func (p *peer) wantClose(code int, reason string) {
	p.t.Helper()
	for {
		_, err := p.read()
		if err == nil {
			continue
		}
		var e *websocket.CloseError
		if !errors.As(err, &e) {
			p.t.Fatalf("no close frame but %v, want %d", err, code)
		}
		if e.Code != code || reason != "" && e.Text != reason {
			p.t.Fatalf("closed %d %q, want %d %q", e.Code, e.Text, code, reason)
		}
		return
	}
}
