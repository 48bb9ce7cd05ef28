package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

var pool sync.Pool // write buffers, which an idle socket does not need

// upstream is one socket to Hasura.
type upstream struct {
	l     *Link
	ws    *websocket.Conn
	began time.Time
	seen  atomic.Int64 // the last frame, as nanoseconds after began
	busy  atomic.Bool  // a frame waits for room at the client
	left  atomic.Bool  // it was given up by us
	mute  atomic.Bool  // it said nothing for too long
	pulse *time.Timer  // guarded by l.mu

	ops  map[string]*op // guarded by l.mu; nil: it is over
	next int64          // guarded by l.mu

	wmu sync.Mutex // one writer
}

// refusedError says that Hasura does not let the caller in.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return "refused upstream: " + e.why }

// dial opens a socket to the upstream, and is let in.
func (l *Link) dial() (up *upstream, err error) {
	defer func() {
		result := "ok"
		if _, refused := errors.AsType[*refusedError](err); refused {
			result = "refused"
		} else if err != nil {
			result = "unavailable"
		}
		if l.d.o.Observer.Dialed != nil {
			l.d.o.Observer.Dialed(result)
		}
	}()
	first, header, err := l.initFrame()
	if err != nil {
		return nil, fmt.Errorf("writing connection_init: %w", err)
	}
	d, protocol := l.d.dialer, wsock.TransportWS
	if l.legacy {
		protocol = wsock.LegacyWS
	}
	d.Subprotocols = []string{protocol} // alone: of a list Hasura takes the older
	u := *l.d.base
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.Path = strings.TrimRight(u.Path, "/") + l.path
	ws, res, err := d.DialContext(l.ctx, u.String(), header)
	if res != nil && res.Body != nil {
		defer func() { _ = res.Body.Close() }()
	}
	if err != nil {
		if res != nil && (res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusBadRequest) {
			return nil, &refusedError{fmt.Sprintf("HTTP status %d", res.StatusCode)}
		}
		return nil, fmt.Errorf("dialling upstream: %w", err)
	}
	if ws.Subprotocol() != protocol {
		_ = ws.Close()
		return nil, fmt.Errorf("the upstream answers %q to %s", ws.Subprotocol(), protocol)
	}
	up = &upstream{l: l, ws: ws, began: time.Now(), ops: map[string]*op{}}
	stop := context.AfterFunc(l.ctx, func() { _ = ws.Close() }) // the socket's end ends a handshake too
	defer stop()
	if err := up.open(first); err != nil {
		_ = ws.Close()
		return nil, err
	}
	return up, nil
}

// overlong ends the error of a close frame with a reason of more than 123 bytes, of
// which the library tells no code: only who is refused is closed so before the ack.
const overlong = "len > 125 for control"

// open says connection_init and waits for its answer, past keepalives: those
// come before it.
func (u *upstream) open(first []byte) error {
	u.ws.SetReadLimit(frameBytes)
	_ = u.ws.SetReadDeadline(time.Now().Add(u.l.d.times.dial))
	if err := u.write(first); err != nil {
		return err
	}
	for {
		_, data, err := u.ws.ReadMessage()
		if e, ok := errors.AsType[*websocket.CloseError](err); ok {
			switch e.Code {
			case 4400, 4401, closeForbidden:
				return &refusedError{e.Text}
			}
		}
		if err != nil && strings.HasSuffix(err.Error(), overlong) {
			return &refusedError{"with a reason too long to read"}
		}
		if err != nil {
			return fmt.Errorf("waiting for connection_ack: %w", err)
		}
		f, err := scan(data)
		if err != nil {
			return err
		}
		switch f.kind {
		case "connection_ack":
			u.ws.SetReadLimit(0) // what is larger is nobody's, and its socket goes on
			return u.ws.SetReadDeadline(time.Time{})
		case "connection_error":
			return &refusedError{textOf(f.payload)}
		case "ka", "ping", "pong":
		default:
			return errGarbage
		}
	}
}

// textOf is what a connection_error says: a text, or an object with one.
func textOf(payload json.RawMessage) string {
	var s string
	if json.Unmarshal(payload, &s) == nil {
		return s
	}
	var m struct{ Message, Error string }
	_ = json.Unmarshal(payload, &m) //nolint:errcheck // then it says nothing
	return m.Message + m.Error
}

// read passes on what comes, until nothing more does.
func (u *upstream) read() {
	why := "closed"
	u.ws.SetPongHandler(func(string) error { u.heard(); return nil })
	u.ws.SetPingHandler(func(data string) error { u.control(websocket.PongMessage, []byte(data)); return nil })
	defer func() {
		if p := recover(); p != nil {
			u.l.d.o.Log.ErrorContext(u.l.ctx, "panic in an upstream socket", "panic", p)
		}
		_ = u.ws.Close()
		if u.mute.Load() {
			why = "silent"
		}
		if u.l.d.o.Observer.Upstream != nil {
			u.l.d.o.Observer.Upstream(-1)
		}
		u.l.lost(u, why)
	}()
	for {
		kind, in, err := u.ws.NextReader()
		if err != nil {
			return
		}
		data, err := io.ReadAll(io.LimitReader(hearing{u, in}, int64(u.l.d.frame)+1))
		if err != nil {
			return
		}
		if len(data) > u.l.d.frame {
			if u.large(data) != nil {
				why = "garbage"
				return
			}
			if _, err := io.Copy(io.Discard, hearing{u, in}); err != nil {
				return
			}
			continue
		}
		u.busy.Store(true)
		f, err := scan(data)
		if err == nil && kind == websocket.TextMessage {
			err = u.handle(f)
		}
		u.heard()
		u.busy.Store(false)
		if errors.Is(err, errGarbage) || kind != websocket.TextMessage {
			why = "garbage"
		}
		if err != nil || kind != websocket.TextMessage {
			return
		}
	}
}

// hearing is a frame of which each part that comes is a sign of life: a large
// one may take longer than a silence may last.
type hearing struct {
	u  *upstream
	in io.Reader
}

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.in.Read(p)
	if n > 0 {
		h.u.heard()
	}
	return n, err //nolint:wrapcheck // a reader's errors are the reader's
}

func (u *upstream) heard() { u.seen.Store(int64(time.Since(u.began))) }

// handle is one frame.
func (u *upstream) handle(f frame) error {
	switch f.kind {
	case "ka", "pong", "connection_ack":
	case "ping":
		answer := []byte(`{"type":"pong"}`)
		if f.payload != nil {
			answer = append(append([]byte(`{"type":"pong","payload":`), f.payload...), '}')
		}
		_ = u.write(answer) //nolint:errcheck // what it said before it went is heard all the same
	case "next", "data":
		if f.payload == nil {
			return errGarbage
		}
		if o := u.find(f.id); o != nil {
			if err := o.next(u, f.payload); err != nil {
				u.giveUp(o, f.id, err)
			}
		}
	case "error":
		if o := u.take(f.id); o != nil {
			o.end(wsock.End{Payload: errorsOf(f.payload, u.l.legacy)})
		}
	case "complete":
		if o := u.take(f.id); o != nil {
			o.end(wsock.End{})
		}
	default:
		return errGarbage
	}
	return nil
}

func (u *upstream) find(id string) *op {
	u.l.mu.Lock()
	defer u.l.mu.Unlock()
	return u.ops[id]
}

// take takes out an operation that the upstream ended.
func (u *upstream) take(id string) *op {
	u.l.mu.Lock()
	o := u.ops[id]
	if o != nil {
		u.forgetLocked(o)
	}
	done := u.left.Load() && len(u.ops) == 0
	u.l.mu.Unlock()
	if done {
		u.bye()
	}
	return o
}

// takeLocked takes an operation in, to be sent.
func (u *upstream) takeLocked(o *op) {
	u.next++
	if o.serie == 0 {
		o.serie = u.next
	}
	o.id = strconv.FormatInt(u.next, 10)
	o.wrote.Store(false)
	o.up.Store(u)
	if u.ops != nil {
		u.ops[o.id] = o
	}
}

func (u *upstream) forgetLocked(o *op) {
	delete(u.ops, o.id)
	u.l.restLocked(u)
}

// send subscribes, unless the operation is not this upstream's any more.
func (u *upstream) send(o *op) {
	u.wmu.Lock()
	defer u.wmu.Unlock()
	u.l.mu.Lock()
	id, mine := o.id, u.ops[o.id] == o
	if mine {
		o.wrote.Store(true)
	}
	u.l.mu.Unlock()
	if !mine {
		return
	}
	kind := "subscribe"
	if u.l.legacy {
		kind = "start"
	}
	b := make([]byte, 0, len(o.sent)+64)
	b = append(append(append(append(b, `{"id":"`...), id...), `","type":"`...), kind...)
	b = append(append(append(b, `","payload":`...), o.sent...), '}')
	u.writeLocked(b) //nolint:errcheck // the reader ends with the socket
}

// stop ends an operation upstream that was sent there.
func (u *upstream) stop(o *op, id string) {
	u.wmu.Lock()
	defer u.wmu.Unlock()
	if !o.wrote.Load() && o.up.Load() == u {
		return
	}
	kind := "complete"
	if u.l.legacy {
		kind = "stop"
	}
	u.writeLocked([]byte(`{"id":"` + id + `","type":"` + kind + `"}`)) //nolint:errcheck // the reader ends with the socket
	u.l.mu.Lock()
	done := u.left.Load() && len(u.ops) == 0
	u.l.mu.Unlock()
	if done {
		u.leave()
	}
}

func (u *upstream) write(b []byte) error {
	u.wmu.Lock()
	defer u.wmu.Unlock()
	return u.writeLocked(b)
}

func (u *upstream) writeLocked(b []byte) error {
	_ = u.ws.SetWriteDeadline(time.Now().Add(u.l.d.o.WriteTimeout))
	err := u.ws.WriteMessage(websocket.TextMessage, b)
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		_ = u.ws.Close()
	} else if err != nil { // it has gone, and its last words may not have been read
		_ = u.ws.SetReadDeadline(time.Now().Add(u.l.d.o.WriteTimeout))
	}
	return err
}

// control writes a ping or a pong, in as much time as anything has: after one that came
// too late the library writes nothing more.
func (u *upstream) control(kind int, data []byte) {
	_ = u.ws.WriteControl(kind, data, time.Now().Add(u.l.d.o.WriteTimeout))
}

// beatLocked looks after the upstream: whoever says nothing is asked, and whoever says
// nothing for long is lost. Hasura's keepalives are its own thread's; its pongs
// wait behind a slow query.
func (u *upstream) beatLocked() {
	u.pulse = time.AfterFunc(u.l.d.times.pulse, func() {
		quiet := time.Since(u.began) - time.Duration(u.seen.Load())
		switch {
		case u.busy.Load():
		case quiet >= u.l.d.times.silence:
			u.mute.Store(true)
			_ = u.ws.Close()
			return
		case quiet >= u.l.d.times.pulse:
			u.control(websocket.PingMessage, nil)
		}
		u.l.mu.Lock()
		defer u.l.mu.Unlock()
		if u.ops != nil {
			u.pulse.Reset(u.l.d.times.pulse)
		}
	})
}

// bye closes the upstream in words.
func (u *upstream) bye() {
	u.left.Store(true)
	u.leave()
}

func (u *upstream) leave() {
	_ = u.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(250*time.Millisecond))
	_ = u.ws.Close()
}
