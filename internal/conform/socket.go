package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// The subprotocols of GraphQL over WebSocket.
const (
	modern = "graphql-transport-ws"
	legacy = "graphql-ws"
)

// heldFrames is how many frames may wait to be looked at.
const heldFrames = 4096

// message is what a server says.
type message struct {
	ID      *string         `json:"id"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

func (m message) String() string {
	id := ""
	if m.ID != nil {
		id = " " + *m.ID
	}
	return m.Type + id + " " + string(m.Payload)
}

// socket is one WebSocket. What is not a stream's waits in in.
type socket struct {
	ws      *websocket.Conn
	in      chan message
	pong    chan string   // the data of a control pong
	stop    chan struct{} // closed by close
	once    sync.Once
	done    chan struct{} // closed once nothing more comes
	code    int           // why; written before done is closed
	reason  string
	ack     value
	mu      sync.Mutex
	n       int                     // guarded by mu
	streams map[string]chan message // guarded by mu
}

// dial opens a socket that offers these subprotocols and says nothing yet.
func (e *env) dial(ctx context.Context, header http.Header, offers ...string) (*socket, error) {
	d := websocket.Dialer{Subprotocols: offers, HandshakeTimeout: e.timeout}
	ws, res, err := d.DialContext(ctx, e.ws, header)
	if res != nil {
		_ = res.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	s := &socket{ws: ws, pong: make(chan string, 1), in: make(chan message, heldFrames), stop: make(chan struct{}), done: make(chan struct{}), streams: map[string]chan message{}}
	ws.SetPongHandler(func(data string) error {
		select {
		case s.pong <- data:
		default:
		}
		return nil
	})
	go s.read()
	return s, nil
}

// read takes in frames until the socket ends, or close is called.
func (s *socket) read() {
	defer close(s.done)
	for {
		kind, data, err := s.ws.ReadMessage()
		if err != nil {
			s.code, s.reason = websocket.CloseAbnormalClosure, err.Error()
			if e, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // gorilla's own
				s.code, s.reason = e.Code, e.Text
			}
			return
		}
		var m message
		if kind != websocket.TextMessage || json.Unmarshal(data, &m) != nil {
			m = message{Type: "not a message: " + brief(string(data))}
		}
		to := s.in
		if m.Type == "ping" {
			_ = s.say(`{"type":"pong"}`)
			continue
		}
		if m.ID != nil {
			s.mu.Lock()
			if c := s.streams[*m.ID]; c != nil {
				to = c
			}
			s.mu.Unlock()
		}
		select {
		case to <- m:
		case <-s.stop:
			return
		}
	}
}

func (s *socket) say(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// close ends the socket as a client does that leaves.
func (s *socket) close() {
	s.once.Do(func() {
		close(s.stop)
		s.mu.Lock()
		_ = s.ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
		s.mu.Unlock()
		_ = s.ws.Close()
		<-s.done
	})
}

// initOf is the connection_init of a token.
func initOf(token string, more map[string]any) string {
	payload := map[string]any{"headers": map[string]string{"Authorization": "Bearer " + token}}
	for k, v := range more {
		payload[k] = v
	}
	b, err := json.Marshal(map[string]any{"type": "connection_init", "payload": payload})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// raw opens a socket of its own for a check; it says nothing yet.
func (c *C) raw(offers ...string) *socket {
	s, err := c.e.dial(c.ctx, nil, offers...)
	if err != nil {
		c.failf("%v", err)
	}
	c.cleanup(func(*C) { s.close() })
	return s
}

// unseen keeps a socket from making its user appear online.
var unseen = map[string]any{"presence": false}

// socket opens one of a user's, acknowledged, that does not count for its presence.
func (c *C) socket(u *user) *socket { return c.enter(u, unseen) }

func (c *C) enter(u *user, more map[string]any) *socket {
	s := c.raw(modern)
	s.say(initOf(u.token, more)) //nolint:errcheck,gosec // what is not said is not answered
	s.ack = c.expect(s, "connection_ack").payload(c)
	return s
}

func (m message) payload(c *C) value {
	if m.Payload == nil {
		return value{}
	}
	v, err := parse(m.Payload)
	if err != nil {
		c.failf("%v", err)
	}
	return v
}

// says writes a frame.
func (c *C) says(s *socket, text string) {
	if err := s.say(text); err != nil {
		c.failf("%v", err)
	}
}

// expect is the next frame that is no stream's; it must be of this type.
func (c *C) expect(s *socket, kind string) message {
	m := c.frame(s, s.in, kind)
	if m.Type != kind {
		c.failf("want %s, got %s", kind, brief(m.String()))
	}
	return m
}

func (c *C) frame(s *socket, from <-chan message, what string) message {
	select {
	case m := <-from:
		return m
	default:
	}
	select {
	case m := <-from:
		return m
	case <-s.done:
		select {
		case m := <-from: // that came before the end
			return m
		default:
		}
		c.failf("the socket was closed with %d %q while waiting for %s", s.code, s.reason, what)
	case <-c.ctx.Done():
		c.failf("nothing came while waiting for %s", what)
	}
	return message{}
}

// closes waits for the server to close the socket with one of these codes.
func (s *socket) closes(c *C, codes ...int) {
	select {
	case <-s.done:
	case <-c.ctx.Done():
		c.failf("the socket was not closed; want %v", codes)
	}
	if slices.Contains(codes, s.code) {
		return
	}
	c.failf("closed with %d %q; want %v", s.code, s.reason, codes)
}

// alive asks a ping, whose pong comes after all that was said before it.
func (c *C) alive(s *socket) {
	c.says(s, `{"type":"ping","payload":{"after":"all"}}`)
	m := c.expect(s, "pong")
	if got := m.payload(c).at("after").String(); got != "all" {
		c.failf("a pong without the payload of its ping: %s", m)
	}
}

// subscribeOf is a subscribe message, or a start.
func subscribeOf(kind, id, query string) string {
	b, err := json.Marshal(map[string]any{"id": id, "type": kind, "payload": map[string]any{"query": query}})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// stream is an operation on a socket.
type stream struct {
	s         *socket
	id, query string
	in        chan message
}

// start begins an operation.
func (c *C) start(s *socket, format string, args ...any) *stream {
	query := format
	if len(args) > 0 {
		query = fmt.Sprintf(format, args...)
	}
	s.mu.Lock()
	s.n++
	st := &stream{s: s, id: fmt.Sprintf("op-%d", s.n), query: query, in: make(chan message, heldFrames)}
	s.streams[st.id] = st.in
	s.mu.Unlock()
	c.says(s, subscribeOf("subscribe", st.id, query))
	return st
}

// watch begins a subscription on a socket of its own.
func (c *C) watch(u *user, format string, args ...any) *stream {
	return c.start(c.socket(u), format, args...)
}

// next is the next event's data.
func (st *stream) next(c *C, what string) value {
	m := c.frame(st.s, st.in, what)
	v := m.payload(c)
	if m.Type != "next" || !v.at("errors").null() {
		c.failf("%s: waiting for %s, got %s", brief(st.query), what, brief(m.String()))
	}
	return v.at("data")
}

// until reads on to an event that is as asked, and hands on what came before.
func (st *stream) until(c *C, what string, is func(value) bool) (found value, before []value) {
	for {
		v := st.next(c, what)
		if is(v) {
			return v, before
		}
		before = append(before, v)
	}
}

// ends is the error the operation must end with.
func (st *stream) ends(c *C, code string) problem {
	m := c.frame(st.s, st.in, "an error")
	var all []problem
	if m.Type != "error" || json.Unmarshal(m.Payload, &all) != nil || len(all) == 0 || all[0].code() != code {
		c.failf("%s: want an error %s, got %s", brief(st.query), code, brief(m.String()))
	}
	return all[0]
}

// listening waits until a stream runs that tells nothing as it begins: what it
// tells of is done again and again until it is told.
func (st *stream) listening(c *C, provoke func()) { st.provoked(c, provoke, 10*again) }

// provoked is the next event's data, which something brings about: once more
// where it did not within a time.
func (st *stream) provoked(c *C, provoke func(), within time.Duration) value {
	for {
		provoke()
		timer := time.NewTimer(within)
		select {
		case m := <-st.in:
			timer.Stop()
			c.that(m.Type == "next", "%s: %s", brief(st.query), brief(m.String()))
			return m.payload(c).at("data")
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			c.failf("%s: told of nothing", brief(st.query))
		}
	}
}

// deadline is when the check has to be over.
func deadline(c *C) time.Time { at, _ := c.ctx.Deadline(); return at }
