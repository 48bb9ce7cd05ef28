package wsock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/gorilla/websocket"
)

// calls is a listener in memory.
type calls chan net.Conn

func (c calls) Accept() (net.Conn, error) {
	conn, ok := <-c
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (c calls) Close() error   { return nil }
func (c calls) Addr() net.Addr { return &net.TCPAddr{} }

// noted is a log that several write.
type noted struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (n *noted) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *noted) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.b.Reset()
	return n.b.String()
}

// masked is a client's frame, under a mask of nothing: its text stands as it is.
func masked(kind byte, text string) []byte {
	b := []byte{0x80 | kind}
	if n := len(text); n < 126 {
		b = append(b, 0x80|byte(n))
	} else {
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	}
	return append(append(b, 0, 0, 0, 0), text...)
}

// FuzzFrames writes any bytes behind the upgrade: the socket ends, all that comes
// from it are frames of JSON, nothing of it panics, and nothing is left of it.
func FuzzFrames(f *testing.F) {
	hello := masked(1, `{"type":"connection_init"}`)
	f.Add(hello)
	f.Add(append(hello[:len(hello):len(hello)], masked(1, `{"id":"1","type":"subscribe","payload":{"query":"subscription { ticks(n: 3) }"}}`)...))
	f.Add(append(hello[:len(hello):len(hello)], masked(1, `{"id":"1","type":"subscribe","payload":{"query":"{ hello }","variables":{"a":[1]}}}`)...))
	f.Add(append(masked(1, `{"type":"ping","payload":{"a":1}}`), masked(8, "\x03\xe8bye")...))
	f.Add(append(masked(9, "ping"), masked(10, "pong")...))
	f.Add(masked(2, "binary"))
	f.Add([]byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})                                        // a frame of all there is
	f.Add([]byte{0x01, 0x82, 0, 0, 0, 0, '{', '"', 0x00, 0x81, 0, 0, 0, 0, 'a', 0x89, 0x80, 0, 0, 0, 0, 0x80, 0x80, 0, 0, 0, 0}) // in pieces
	f.Add([]byte{0xf1, 0x00, 0x88, 0x81, 0, 0, 0, 0, 1})
	var log noted
	r := &rig{engine: newEngine()}
	r.tr = New(Options{Limits: Limits{SocketsPerIP: 1000, FrameBytes: 4096, MessageRate: 1e6}, CheckOrigin: func(*http.Request) bool { return true }, Init: r.init,
		ClientIP: func(*http.Request) string { return "pipe" }, Recover: func(context.Context, any) error { return errors.New("internal error") },
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	exec, in, over := executor.New(r.engine), make(calls), make(chan struct{}, 1)
	srv := &http.Server{ReadHeaderTimeout: patient, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		defer func() { over <- struct{}{} }()
		r.tr.Do(w, q, exec)
	})}
	go func() { _ = srv.Serve(in) }()
	f.Cleanup(func() { close(in); _ = srv.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		mine, theirs := net.Pipe()
		d := websocket.Dialer{Subprotocols: []string{TransportWS}, NetDialContext: func(context.Context, string, string) (net.Conn, error) {
			in <- theirs
			return mine, nil
		}}
		ws, res, err := d.DialContext(t.Context(), "ws://pipe/graphql", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		go func() {
			_, _ = mine.Write(data)
			_, _ = mine.Write(masked(8, "\x03\xe8"))
			_ = mine.Close()
		}()
		for {
			_, said, err := ws.ReadMessage()
			if err != nil {
				break
			}
			if !json.Valid(said) {
				t.Fatalf("%q is answered with %q", data, said)
			}
		}
		_ = mine.Close()
		select {
		case <-over:
		case <-time.After(patient):
			t.Fatalf("%q: it never ends", data)
		}
		eventually(t, "its subscriptions end", func() bool { return r.engine.running.Load() == 0 })
		if text := log.take(); strings.Contains(text, "panic in a socket") {
			t.Fatalf("%q: %s", data, text)
		}
	})
}
