package double

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// conn is one socket. Its messages are handled one after the other, a query to
// its end; keepalives are another thread's.
type conn struct {
	h      *server
	ws     *websocket.Conn
	header http.Header
	legacy bool
	ctx    context.Context //nolint:containedctx // the socket's lifetime
	cancel context.CancelFunc
	mute   atomic.Bool
	all    sync.WaitGroup

	wmu sync.Mutex

	mu   sync.Mutex
	vars map[string]string             // guarded by mu: of the session; nil: none yet
	bad  string                        // guarded by mu: why it was not let in
	ops  map[string]context.CancelFunc // guarded by mu
}

func newConn(h *server, ws *websocket.Conn, header http.Header, legacy bool) *conn {
	c := &conn{h: h, ws: ws, header: header, legacy: legacy, ops: map[string]context.CancelFunc{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *conn) run() {
	defer c.all.Wait()
	defer c.cancel()
	defer func() { _ = c.ws.Close() }()
	if c.h.o.Era.EarlyKeepAlive {
		c.keepAlive()
	}
	c.all.Go(func() {
		tick := time.NewTicker(c.h.o.KeepAlive)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.keepAlive()
			case <-c.ctx.Done():
				return
			}
		}
	})
	pong := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error {
		if c.mute.Load() {
			return nil
		}
		return pong(data)
	})
	for {
		_, data, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		var m struct {
			ID, Type string
			Payload  json.RawMessage
		}
		if json.Unmarshal(data, &m) != nil {
			c.end(4400, "Invalid message")
			return
		}
		switch m.Type {
		case "connection_init":
			c.init(m.Payload)
		case "subscribe", "start":
			c.start(m.ID, m.Payload)
		case "complete", "stop":
			c.mu.Lock()
			stop := c.ops[m.ID]
			delete(c.ops, m.ID)
			c.mu.Unlock()
			if stop != nil {
				stop()
			}
		case "ping":
			c.write([]byte(`{"type":"pong"}`))
		case "connection_terminate":
			c.end(1000, "GQL_CONNECTION_TERMINATE received")
			return
		}
	}
}

func (c *conn) keepAlive() {
	if c.legacy {
		c.write([]byte(`{"type":"ka"}`))
		return
	}
	c.write([]byte(`{"type":"ping","payload":{"message":"keepalive"}}`))
}

func (c *conn) init(raw json.RawMessage) {
	var payload struct{ Headers map[string]string }
	_ = json.Unmarshal(raw, &payload) //nolint:errcheck // then there are none
	var whole map[string]any
	_ = json.Unmarshal(raw, &whole) //nolint:errcheck // as above
	var wait chan struct{}
	var refuses func(string) bool
	c.h.locked(func() {
		c.h.inits = append(c.h.inits, whole)
		wait, refuses = c.h.noAck, c.h.refuses
	})
	vars, why := c.h.session(c.header, payload.Headers)
	if why == "" && refuses != nil && refuses(vars["x-hasura-role"]) {
		why = "Could not verify JWT: JWTExpired"
	}
	if wait != nil {
		select {
		case <-wait:
		case <-c.ctx.Done():
			return
		}
	}
	if why != "" {
		c.refuse(why)
		return
	}
	c.mu.Lock()
	c.vars = vars
	c.mu.Unlock()
	c.write([]byte(`{"type":"connection_ack"}`))
	c.keepAlive()
}

func (c *conn) refuse(why string) {
	c.mu.Lock()
	c.bad = why
	c.mu.Unlock()
	if c.legacy {
		b, _ := json.Marshal(map[string]string{"type": "connection_error", "payload": why}) //nolint:errchkjson // plain
		c.write(b)
	}
	code, reason := c.h.o.Era.Refusal, `{"server_error_msg":"4403: Forbidden"}`
	if code == 4403 && c.legacy {
		code, reason = 4400, why
	}
	if c.h.o.Era.Reason != "" {
		reason = c.h.o.Era.Reason
	}
	if code != 0 {
		c.end(code, reason)
	}
}

// start begins an operation.
func (c *conn) start(id string, payload json.RawMessage) {
	c.h.Asked.Add(1)
	c.mu.Lock()
	vars, _, taken := c.vars, c.bad, c.ops[id] != nil
	if vars == nil || taken {
		c.mu.Unlock()
		c.failed(id, `{"path":"$","error":"an operation already exists with this id: `+id+`","code":"start-failed"}`)
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	c.ops[id] = cancel
	c.mu.Unlock()
	c.h.Doing.Add(1)
	end := func() {
		cancel()
		c.mu.Lock()
		delete(c.ops, id)
		c.mu.Unlock()
		c.h.Doing.Add(-1)
	}
	if !isSubscription(payload) {
		defer end()
		c.answer(ctx, id, payload, vars)
		return
	}
	c.all.Go(func() {
		defer end()
		c.subscribed(ctx, id, payload, vars)
	})
}

// failed ends an operation that did not begin: the error's payload is as the era
// has it, and a complete follows.
func (c *conn) failed(id, object string) {
	payload := object
	switch {
	case c.h.o.Era.Payload == Text:
		payload = `"it failed"`
	case c.legacy:
		payload = `{"errors":[` + object + `]}`
	case c.h.o.Era.Payload == List:
		payload = `[` + object + `]`
	}
	c.say(id, "error", json.RawMessage(payload))
	c.say(id, "complete", nil)
}

func (c *conn) result(id string, r json.RawMessage) {
	if c.legacy {
		c.say(id, "data", r)
		return
	}
	c.say(id, "next", r)
}

func (c *conn) say(id, kind string, payload json.RawMessage) {
	quoted, _ := json.Marshal(id) //nolint:errchkjson // plain
	b := `{"type":"` + kind + `","id":` + string(quoted)
	if payload != nil {
		b += `,"payload":` + string(payload)
	}
	c.write([]byte(b + "}"))
}

func (c *conn) write(b []byte) {
	if c.mute.Load() {
		return
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_ = c.ws.WriteMessage(websocket.TextMessage, b)
}

// frame is a whole one, of less than 64 KiB; first is its first byte.
func frame(first byte, body []byte) []byte {
	head := []byte{first, byte(len(body))}
	if len(body) > 125 {
		head = []byte{first, 126, byte(len(body) >> 8), byte(len(body))}
	}
	return append(head, body...)
}

// raw writes frames that are whole.
func (c *conn) raw(frames []byte) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_, _ = c.ws.NetConn().Write(frames)
}

// end ends the socket: with a close frame, with nothing, or with a reset. A
// reason may be longer than a close frame holds: Hasura's are.
func (c *conn) end(code int, reason string) {
	under := c.ws.NetConn()
	switch {
	case code > 0 && len(reason) > 123:
		c.raw(frame(0x88, websocket.FormatCloseMessage(code, reason)))
	case code > 0:
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	case code < 0:
		if tcp, ok := under.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	c.cancel()
	_ = under.Close()
}
