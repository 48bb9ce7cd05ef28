package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// target is what an attacker knows: it is handed to the attacker's process as JSON.
type target struct {
	Attack  string
	Base    string   // http://…
	User    string   // the attacker
	General string   // the channel that it shares with everybody
	Room    string   // one of a few, where they write
	Own     []string // channels of its own
	People  []string // the others
	Address int      // its address is 127.0.2.Address
	Turns   int      // how often it does each thing; 0: until it is ended
	Dose    float64  // of connections, operations and bytes; 1: the whole
}

// foe is one ordinary user gone bad, with one address. It keeps to nothing.
type foe struct {
	target
	token string
	from  *net.Dialer
	web   *http.Client
	init  string // what its sockets' connection_init has besides its token

	mu    sync.Mutex
	got   map[string]int // guarded by mu: what it was answered, and how often
	conns []net.Conn     // guarded by mu: what it holds
}

func newFoe(t target) (*foe, error) {
	token, err := mint(t.User)
	if err != nil {
		return nil, err
	}
	f := &foe{target: t, token: token, from: addressed(2, t.Address), got: map[string]int{}}
	f.web = &http.Client{Transport: &http.Transport{DialContext: f.from.DialContext, MaxIdleConnsPerHost: 256}, Timeout: 2 * patience}
	return f, nil
}

// run attacks until it has done all or ctx ends, and says what it was answered.
func (f *foe) run(ctx context.Context) (map[string]int, error) {
	at := find(f.Attack)
	if at == nil {
		return nil, fmt.Errorf("there is no attack %q", f.Attack)
	}
	stop := context.AfterFunc(ctx, f.release) // also what is being written or read is over
	at.run(ctx, f)
	stop()
	f.release()
	f.web.CloseIdleConnections()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got, nil
}

// release closes all that is held.
func (f *foe) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.Close()
	}
}

func (f *foe) count(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got[what]++
}

// dosed is a number of the full dose, scaled; at least 1.
func (f *foe) dosed(n int) int { return max(int(float64(n)*f.Dose), 1) }

// flood has so many workers do something over and over.
func (f *foe) flood(ctx context.Context, workers int, do func(worker, turn int)) {
	var all sync.WaitGroup
	for w := range f.dosed(workers) {
		all.Go(func() {
			for turn := 0; ctx.Err() == nil && (f.Turns == 0 || turn < f.Turns); turn++ {
				do(w, turn)
			}
		})
	}
	all.Wait()
}

// hold keeps what is held, until the attack is ended.
func (f *foe) hold(ctx context.Context) {
	if f.Turns == 0 {
		<-ctx.Done()
	}
}

// ask is one operation over HTTP; what is answered is counted, and returned up to
// some length.
func (f *foe) ask(ctx context.Context, query string, variables any, headers ...string) string {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		panic(err) // ours
	}
	return f.post(ctx, body, headers...)
}

func (f *foe) post(ctx context.Context, body []byte, headers ...string) string {
	return f.request(ctx, http.MethodPost, "/graphql", body, headers...)
}

func (f *foe) request(ctx context.Context, method, path string, body []byte, headers ...string) string {
	req, err := http.NewRequestWithContext(ctx, method, f.Base+path, bytes.NewReader(body))
	if err != nil {
		panic(err) // ours
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+f.token)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := f.web.Do(req)
	if err != nil {
		f.failed(ctx, err)
		return ""
	}
	defer func() { _ = res.Body.Close() }()
	head, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
	}
	switch c := codeOf(head); {
	case err != nil:
		f.failed(ctx, err)
	case c != "":
		f.count(c)
	case res.StatusCode >= http.StatusBadRequest:
		f.count(fmt.Sprintf("HTTP %d", res.StatusCode))
	case bytes.Contains(head, []byte(`"errors"`)):
		f.count("errors")
	default:
		f.count("ok")
	}
	return string(head)
}

// failed counts what ended without an answer, but for our own end.
func (f *foe) failed(ctx context.Context, err error) {
	if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		f.count(reason(err))
	}
}

// reason is an error in a word or two.
func reason(err error) string {
	nerr, isNet := errors.AsType[net.Error](err)
	uerr, isURL := errors.AsType[*url.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case isNet && nerr.Timeout():
		return "timeout"
	case isURL:
		return uerr.Err.Error()
	}
	return err.Error()
}

// plain is a TCP connection, held until the end.
func (f *foe) plain(ctx context.Context) net.Conn {
	c, err := f.from.DialContext(ctx, "tcp", strings.TrimPrefix(f.Base, "http://"))
	if err != nil {
		f.failed(ctx, err)
		return nil
	}
	f.keep(c)
	return c
}

func (f *foe) keep(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, c)
}

// upgraded is a socket that has said nothing yet; nil: it was not let in.
func (f *foe) upgraded(ctx context.Context, protocol string) *websocket.Conn {
	d := websocket.Dialer{Subprotocols: []string{protocol}, HandshakeTimeout: patience, NetDialContext: f.from.DialContext}
	ws, res, err := d.DialContext(ctx, strings.Replace(f.Base, "http", "ws", 1)+"/graphql", nil)
	if res != nil {
		_ = res.Body.Close()
	}
	switch {
	case err != nil && res != nil:
		f.count(fmt.Sprintf("HTTP %d", res.StatusCode))
	case err != nil:
		f.failed(ctx, err)
	default:
		return ws
	}
	return nil
}

// socket is one that is let in; nil: it was not. Somebody has to read it, or nobody shall.
func (f *foe) socket(ctx context.Context) *websocket.Conn {
	ws := f.upgraded(ctx, "graphql-transport-ws")
	if ws == nil {
		return nil
	}
	f.keep(ws.NetConn())
	if err := f.say(ws, `{"type":"connection_init","payload":{"headers":{"Authorization":"Bearer `+f.token+`"}`+f.init+`}}`); err != nil {
		f.failed(ctx, err)
		return nil
	}
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	_, data, err := ws.ReadMessage()
	switch {
	case err != nil:
		f.ended(ctx, err)
		return nil
	case !bytes.Contains(data, []byte("connection_ack")):
		f.count("no ack")
		return nil
	}
	_ = ws.SetReadDeadline(time.Time{})
	f.count("sockets")
	return ws
}

// ended counts how a socket ended, but for our own end.
func (f *foe) ended(ctx context.Context, err error) {
	if c, ok := errors.AsType[*websocket.CloseError](err); ok {
		f.count(fmt.Sprintf("closed %d", c.Code))
		return
	}
	f.failed(ctx, err)
}

func (f *foe) say(ws *websocket.Conn, text string) error {
	_ = ws.SetWriteDeadline(time.Now().Add(patience))
	return ws.WriteMessage(websocket.TextMessage, []byte(text))
}

// drain reads a socket and counts what is answered, until it ends.
func (f *foe) drain(ctx context.Context, ws *websocket.Conn) {
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			f.ended(ctx, err)
			return
		}
		switch c := codeOf(data); {
		case c != "":
			f.count(c)
		case bytes.Contains(data, []byte(`"type":"next"`)):
			f.count("ok")
		}
	}
}

// sockets opens so many and has each worked on and read at a time; those it holds
// are closed at the end.
func (f *foe) sockets(ctx context.Context, n int, reads bool, do func(i int, ws *websocket.Conn)) {
	var all, reading sync.WaitGroup
	for i := range f.dosed(n) {
		all.Go(func() {
			ws := f.socket(ctx)
			if ws == nil {
				return
			}
			if reads {
				reading.Go(func() { f.drain(ctx, ws) })
			}
			do(i, ws)
		})
	}
	all.Wait()
	f.hold(ctx)
	f.release()
	reading.Wait()
}

// subscribe is a frame that begins an operation.
func subscribe(id int, query string, variables any) string {
	v, err := json.Marshal(variables)
	if err != nil {
		panic(err) // ours
	}
	return fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":%q,"variables":%s}}`, id, query, v)
}

// aliases is a field under so many names.
func aliases(n int, field string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d: %s ", i, field)
	}
	return b.String()
}
