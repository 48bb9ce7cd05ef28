package wsock_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// pipes is a listener in memory: inside a bubble time passes only while nobody
// has anything to do, so instants are exact.
type pipes struct {
	calls chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// bubble is a rig on pipes, in a bubble.
type bubble struct {
	*rig
	t     *testing.T
	pipes *pipes
}

// inBubble runs a test on a clock of its own, and ends everything after it: a
// goroutine that is left fails the test.
func inBubble(t *testing.T, o wsock.Options, test func(b *bubble)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{rig: &rig{schema: newSchema()}, t: t, pipes: &pipes{calls: make(chan net.Conn), done: make(chan struct{})}}
		o.ClientIP = func(*http.Request) string { return "pipe" }
		b.Transport = wsock.New(b.options(o))
		exec := executor.New(b.schema)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { b.Do(w, q, exec) })}
		go func() { _ = srv.Serve(b.pipes) }()
		defer func() { // also when the test has failed
			b.Drain(context.Background(), 0)
			_ = srv.Close()
			synctest.Wait()
			if n := b.schema.live.Load(); n != 0 {
				t.Errorf("%d streams outlived their sockets", n)
			}
		}()
		test(b)
	})
}

// client is a peer whose messages are read as they come.
type client struct {
	*peer
	got   chan said
	since time.Time
	ended chan struct{}
	err   error         // before ended is closed: why reading ended
	after time.Duration // and how long after the dial
}

func (b *bubble) dial(protocols ...string) (*client, int) {
	b.t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		mine, theirs := net.Pipe()
		select {
		case b.pipes.calls <- theirs:
			return mine, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	ws, resp, err := d.DialContext(b.t.Context(), "ws://pipe/graphql", nil)
	if err != nil {
		status := 0
		if resp != nil {
			status = resp.StatusCode
			_ = resp.Body.Close()
		}
		return nil, status
	}
	b.t.Cleanup(func() { _ = ws.Close() })
	return &client{peer: &peer{t: b.t, ws: ws}, got: make(chan said, 4096), since: time.Now(), ended: make(chan struct{})}, resp.StatusCode
}

// listen starts reading, once the handlers are set.
func (c *client) listen() *client {
	go func() {
		defer close(c.ended)
		for {
			var m said
			if c.err = c.ws.ReadJSON(&m); c.err != nil {
				c.after = time.Since(c.since)
				return
			}
			c.got <- m
		}
	}()
	return c
}

// open is an acknowledged socket.
func (b *bubble) open(prepare ...func(*client)) *client {
	b.t.Helper()
	c, status := b.dial(wsock.TransportWS)
	if c == nil {
		b.t.Fatalf("not upgraded: %d", status)
	}
	for _, f := range prepare {
		f(c)
	}
	c.listen()
	c.send(`{"type":"connection_init"}`)
	if m := <-c.got; m.Type != "connection_ack" {
		b.t.Fatalf("%+v", m)
	}
	return c
}

// endsAt waits for the end, and compares when and with what code it came;
// 1006: without a close frame.
func (c *client) endsAt(want time.Duration, code int) {
	c.t.Helper()
	<-c.ended
	got := websocket.CloseAbnormalClosure
	var e *websocket.CloseError
	if errors.As(c.err, &e) {
		got = e.Code
	}
	if got != code || c.after != want {
		c.t.Errorf("ended %d after %v, want %d after %v (%v)", got, c.after, code, want, c.err)
	}
}

// saidNothing fails if the server said anything.
func (c *client) saidNothing() {
	c.t.Helper()
	select {
	case m := <-c.got:
		c.t.Errorf("said %s %s", m.Type, m.Payload)
	default:
	}
}

// pause lets the bubble's clock go on.
func pause(d time.Duration) { <-time.After(d) }
