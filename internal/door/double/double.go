// Package double behaves as Hasura does where the one endpoint meets it: its
// sockets, in both protocols and through its versions, its rules of who asks, and
// live queries that poll a Postgres. What it does was read in Hasura's sources
// and in its users' reports. It is no Hasura, and only tests and measurements use it.
package double

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Era is what differs between Hasura's versions.
type Era struct {
	EarlyKeepAlive bool   // keepalives before the ack
	Refusal        int    // with which an init that is not let in is closed; 0: it stays open
	Reason         string // of that close; "": Hasura's newest
	Payload        Payload
	Echo           string // the subprotocol that is answered, whatever was asked; "": Hasura's choice
}

// Payload is what shape an error has that begins an operation's end.
type Payload int

// The shapes.
const (
	List Payload = iota
	Object
	Text
)

// Newest is the era of the last 2.x.
var Newest = Era{EarlyKeepAlive: true, Refusal: 4403}

// Options of a double.
type Options struct {
	Pool       *pgxpool.Pool // the tables; nil: there are none
	Key        string        // of HS256 tokens
	Admin      string
	Anonymous  string // the unauthorized role; "": nobody without credentials
	Bears      string // the header in which tokens come, bare; "": Authorization
	Era        Era
	Poll       time.Duration // of live queries; 25 ms
	KeepAlive  time.Duration // 5 s
	ReadBuffer int           // of a socket's connection, in bytes; 0: the system's
	Schema     func(query string, variables map[string]any) json.RawMessage
}

// Hasura is a running double: what a test does to it.
type Hasura struct{ *server }

// server is what clients meet.
type server struct {
	o   Options
	srv *httptest.Server

	mu      sync.Mutex
	conns   map[*conn]struct{}                            // guarded by mu
	down    bool                                          // guarded by mu
	status  int                                           // guarded by mu: what upgrades are answered with; 0: they are taken
	noAck   chan struct{}                                 // guarded by mu: acks wait for it; nil: they do not
	gate    chan struct{}                                 // guarded by mu: what is "held" waits for it; nil: it does not
	paths   []string                                      // guarded by mu: of them
	queries []string                                      // guarded by mu: of them
	seen    []http.Header                                 // guarded by mu: of requests and upgrades
	bodies  [][]byte                                      // guarded by mu
	inits   []map[string]any                              // guarded by mu
	refuses func(role string) bool                        // guarded by mu: sessions that are not let in
	next    func(http.ResponseWriter, *http.Request) bool // guarded by mu: answers instead

	Dials  atomic.Int64 // upgrades taken
	Asked  atomic.Int64 // operations begun on sockets
	Doing  atomic.Int64 // operations that run now
	Polled atomic.Int64
}

// New starts one.
func New(o Options) *Hasura {
	if o.Poll == 0 {
		o.Poll = 25 * time.Millisecond
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = 5 * time.Second
	}
	h := &server{o: o, conns: map[*conn]struct{}{}}
	h.srv = httptest.NewServer(http.HandlerFunc(h.serve))
	return &Hasura{h}
}

// URL is where it is.
func (h *Hasura) URL() string { return h.srv.URL }

// Stop ends it and everything of it.
func (h *Hasura) Stop() {
	h.Close(0, "")
	h.srv.CloseClientConnections()
	h.srv.Close()
}

// Down has it refuse connections, as a process that is not there; or be there again.
func (h *Hasura) Down(down bool) {
	h.locked(func() { h.down = down })
	if down {
		h.srv.CloseClientConnections()
		h.Close(0, "")
	}
}

// Answer has upgrades answered with a status; 0: they are taken.
func (h *Hasura) Answer(status int) { h.locked(func() { h.status = status }) }

// Hold keeps acks back until it is called again.
func (h *Hasura) Hold(hold bool) { h.locked(func() { shut(&h.noAck, hold) }) }

// Gate keeps the answers of "held" back until it is called again.
func (h *Hasura) Gate(hold bool) { h.locked(func() { shut(&h.gate, hold) }) }

func shut(c *chan struct{}, hold bool) {
	if *c != nil {
		close(*c)
		*c = nil
	}
	if hold {
		*c = make(chan struct{})
	}
}

// Refuse has sessions of which f is true not be let in; nil: all are.
func (h *Hasura) Refuse(f func(role string) bool) { h.locked(func() { h.refuses = f }) }

// Instead has HTTP requests answered by f, where it is true; nil: as always.
func (h *Hasura) Instead(f func(http.ResponseWriter, *http.Request) bool) {
	h.locked(func() { h.next = f })
}

// Headers are those of all requests and upgrades until now.
func (h *Hasura) Headers() (all []http.Header) {
	h.locked(func() { all = append(all, h.seen...) })
	return all
}

// Paths are those of all requests and upgrades until now.
func (h *Hasura) Paths() (all []string) {
	h.locked(func() { all = append(all, h.paths...) })
	return all
}

// Queries are what stood behind the paths of all requests and upgrades until now.
func (h *Hasura) Queries() (all []string) {
	h.locked(func() { all = append(all, h.queries...) })
	return all
}

// Bodies are those of all requests until now.
func (h *Hasura) Bodies() (all [][]byte) {
	h.locked(func() { all = append(all, h.bodies...) })
	return all
}

// Inits are the payloads of all connection_inits until now.
func (h *Hasura) Inits() (all []map[string]any) {
	h.locked(func() { all = append(all, h.inits...) })
	return all
}

// Sockets is how many there are.
func (h *Hasura) Sockets() (n int) {
	h.locked(func() { n = len(h.conns) })
	return n
}

// Close closes every socket with a code, as a change of metadata does; 0: the
// connection just ends; -1: it is reset.
func (h *Hasura) Close(code int, reason string) {
	for _, c := range h.all() {
		c.end(code, reason)
	}
}

// Silence has every socket say nothing more, without ending.
func (h *Hasura) Silence() {
	h.locked(func() {
		for c := range h.conns {
			c.mute.Store(true)
		}
	})
}

// Say sends frames as they are on every socket, all at once.
func (h *Hasura) Say(texts ...string) {
	var b []byte
	for _, text := range texts {
		b = append(b, frame(0x81, []byte(text))...)
	}
	for _, c := range h.all() {
		if !c.mute.Load() {
			c.raw(b)
		}
	}
}

func (h *server) all() (all []*conn) {
	h.locked(func() { all = slices.Collect(maps.Keys(h.conns)) })
	return all
}

func (h *server) locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *server) serve(w http.ResponseWriter, r *http.Request) {
	var down bool
	var status int
	var instead func(http.ResponseWriter, *http.Request) bool
	h.locked(func() {
		h.seen, h.paths, h.queries = append(h.seen, r.Header.Clone()), append(h.paths, r.URL.Path), append(h.queries, r.URL.RawQuery)
		down, status, instead = h.down, h.status, h.next
	})
	if down {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = c.Close()
		}
		return
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		if status != 0 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(status)
			return
		}
		h.upgrade(w, r)
		return
	}
	if instead != nil && instead(w, r) {
		return
	}
	h.http(w, r)
}

// http answers what is no socket: GraphQL at its paths, the rest with what it is.
func (h *server) http(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	h.locked(func() { h.bodies = append(h.bodies, body) })
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Credentials", "true")
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Request-Id", r.Header.Get("X-Request-Id"))
	if p := r.URL.Path; p != "/v1/graphql" && p != "/v1beta1/relay" && p != "/v1alpha1/graphql" {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": "not-found", "error": "resource does not exist", "path": "$", "at": p}) //nolint:errchkjson // plain
		return
	}
	vars, why := h.session(r.Header, nil)
	if why != "" {
		_, _ = w.Write(refused("invalid-jwt", why))
		return
	}
	if trimmed := strings.TrimSpace(string(body)); strings.HasPrefix(trimmed, "[") {
		var list []json.RawMessage
		_ = json.Unmarshal(body, &list) //nolint:errcheck // then it is empty
		out := []string{}
		for _, one := range list {
			out = append(out, string(h.once(r.Context(), one, vars)))
		}
		_, _ = io.WriteString(w, "["+strings.Join(out, ",")+"]")
		return
	}
	_, _ = w.Write(h.once(r.Context(), body, vars))
}

func refused(code, message string) []byte {
	b, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{"message": message, "extensions": map[string]any{"path": "$", "code": code}}}}) //nolint:errchkjson // plain
	return b
}

func (h *server) upgrade(w http.ResponseWriter, r *http.Request) {
	// Hasura compares the whole header.
	asked, echo := r.Header.Get("Sec-WebSocket-Protocol"), "graphql-ws"
	if asked == "graphql-transport-ws" {
		echo = asked
	}
	answer := echo
	if h.o.Era.Echo != "" {
		answer = h.o.Era.Echo
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := up.Upgrade(w, r, http.Header{"Sec-WebSocket-Protocol": {answer}})
	if err != nil {
		return
	}
	if tcp, ok := ws.NetConn().(*net.TCPConn); ok && h.o.ReadBuffer > 0 {
		_ = tcp.SetReadBuffer(h.o.ReadBuffer)
	}
	h.Dials.Add(1)
	c := newConn(h, ws, r.Header.Clone(), echo == "graphql-ws")
	h.locked(func() { h.conns[c] = struct{}{} })
	c.run() //nolint:contextcheck // a socket outlives its request
	h.locked(func() { delete(h.conns, c) })
}
