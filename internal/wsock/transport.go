// Package wsock serves GraphQL over WebSocket: graphql-transport-ws as its
// PROTOCOL.md says, and the older graphql-ws, as a gqlgen transport on
// gorilla/websocket. It decides how a socket lives and ends, owns every socket
// and goroutine it made until Drain, and knows nothing of users: Init decides
// who is let in.
//
// A socket is one reading and one writing goroutine, and one for each running
// operation. Nobody waits for a socket but what belongs to it:
//
//   - An operation whose frames find the socket's queue full waits before it
//     takes its next response. A stream of state coalesces meanwhile, and its
//     reader gets the latest value, however slow it is; a stream of a log reads
//     on from where it was. Closing at the first overflow would instead cost a
//     phone in a tunnel its socket for a burst of presence that is stale anyway.
//   - A peer that asks and does not read what it is answered (pongs, refusals)
//     is closed once those answers fill a queue of their own.
//   - A socket that took nothing at all for the write deadline is cut off, and
//     counted as 4499. Its peer cannot be told and sees 1006; clients retry
//     both. Large messages go out in fragments, each with that deadline, and
//     with pings between them: slow is not dead.
//
// Answers to the peer's own messages go ahead of data. An operation's own
// messages keep their order, and its id is its own until its last message is
// handed to the network: a message that waits is dropped if the peer gave the
// id up or to another operation.
//
// What the peer does wrong ends its own socket, with the protocol's own code;
// what panics ends its own operation. Where a socket is one too many the code
// is 1013, and 1012 in a drain, after the upgrade: clients come back after
// those, while 4429 and an HTTP status mean to them never to try again.
package wsock

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

// The subprotocols, the preferred first.
const (
	TransportWS = "graphql-transport-ws"
	LegacyWS    = "graphql-ws"
)

// Limits of a socket. Zero takes the default.
type Limits struct {
	Operations     int           // at a time on one socket; 64
	SocketsPerUser int           // 20
	SocketsPerIP   int           // 200; as many again are told to try later, beyond that HTTP 429
	FrameBytes     int64         // inbound; 1 MiB
	QueuedFrames   int           // outbound; 256
	QueuedBytes    int           // outbound; 1 MiB
	MessageRate    float64       // inbound messages a second, past a burst of ten seconds' worth; slower reading beyond; 50
	InitTimeout    time.Duration // 10 s
	PingEvery      time.Duration // 25 s
	WriteTimeout   time.Duration // 10 s
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Operations, 64)
	def(&l.SocketsPerUser, 20)
	def(&l.SocketsPerIP, 200)
	def(&l.QueuedFrames, 256)
	def(&l.QueuedBytes, 1<<20)
	if l.FrameBytes == 0 {
		l.FrameBytes = 1 << 20
	}
	if l.MessageRate == 0 {
		l.MessageRate = 50
	}
	dur(&l.InitTimeout, 10*time.Second)
	dur(&l.PingEvery, 25*time.Second)
	dur(&l.WriteTimeout, 10*time.Second)
	return l
}

// silence is how long a peer may send nothing at all before it is given up: a
// ping unanswered and then some.
func (l Limits) silence() time.Duration { return l.PingEvery + l.PingEvery*4/5 }

// Request is a connection_init.
type Request struct {
	Header   http.Header    // of the upgrade
	RemoteIP string         // by Options.ClientIP
	Payload  map[string]any // of connection_init; nil: none
	Conn     *Conn
}

// Accepted is what Init answers for a socket it lets in.
type Accepted struct {
	Context   context.Context           //nolint:containedctx // of every operation; derived from Init's, and not ended by its maker
	Ack       map[string]any            // the payload of connection_ack
	UserKey   string                    // counted against SocketsPerUser; empty: not counted
	ExpiresAt time.Time                 // the socket is closed then (4403) unless extended; zero: never
	Begin     func(ctx context.Context) // called when the socket is in and before the ack; not for one refused for its number
	Closed    func(CloseInfo)           // called once, when the socket has ended
}

// CloseInfo is how a socket ended.
type CloseInfo struct {
	Code     int // ours, or the peer's; 1006: it just broke
	ByPeer   bool
	LastSeen time.Time // the last frame that came in
}

// Observer is told what a metric may count. Nil fields are not called.
type Observer struct {
	Opened     func(subprotocol string)
	Closed     func(code int)
	Subscribed func()
	Written    func(bytes int)
}

// Options are what a transport needs; Init is the one without a default.
type Options struct {
	Init        func(ctx context.Context, r Request) (Accepted, error)
	Operation   func(ctx context.Context, c *Conn) context.Context // the context of each operation as it starts
	CheckOrigin func(*http.Request) bool                           // false: HTTP 403; nil: nobody gets in
	ClientIP    func(*http.Request) string
	IPBucket    func(ip string) string // what SocketsPerIP is counted by
	Recover     graphql.RecoverFunc    // makes an error of what panicked outside gqlgen's own recovery
	Limits      Limits
	Observer    Observer
	Log         *slog.Logger
}

// Transport is gqlgen's. It owns every socket it accepted until Drain.
type Transport struct {
	o        Options
	upgrader websocket.Upgrader

	mu       sync.Mutex
	left     *sync.Cond          // on mu: a socket has ended
	conns    map[uuid.UUID]*Conn // guarded by mu
	users    map[string]int      // guarded by mu
	ips      map[string]int      // guarded by mu
	sockets  int                 // guarded by mu: all
	serving  int                 // guarded by mu: that were let in
	draining bool                // guarded by mu
	drained  bool                // guarded by mu
}

var _ graphql.Transport = (*Transport)(nil)

// New is a transport without sockets.
func New(o Options) *Transport {
	o.Limits = o.Limits.withDefaults()
	if o.CheckOrigin == nil {
		o.CheckOrigin = func(*http.Request) bool { return false }
	}
	if o.ClientIP == nil {
		o.ClientIP = func(r *http.Request) string {
			host, _, err := net.SplitHostPort(r.RemoteAddr)
			if err != nil {
				return r.RemoteAddr
			}
			return host
		}
	}
	if o.IPBucket == nil {
		o.IPBucket = func(ip string) string { return ip }
	}
	if o.Operation == nil {
		o.Operation = func(ctx context.Context, _ *Conn) context.Context { return ctx }
	}
	if o.Recover == nil {
		o.Recover = graphql.DefaultRecover
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := &Transport{o: o, conns: map[uuid.UUID]*Conn{}, users: map[string]int{}, ips: map[string]int{}}
	t.left = sync.NewCond(&t.mu)
	t.upgrader = websocket.Upgrader{
		ReadBufferSize: 4096, WriteBufferSize: 4096, // net/http's own would stay with the socket for good
		WriteBufferPool: &sync.Pool{}, Subprotocols: []string{TransportWS, LegacyWS},
		HandshakeTimeout: o.Limits.WriteTimeout,
		CheckOrigin:      func(*http.Request) bool { return true }, // asked before, to answer in our words
		Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
			w.Header().Set("Sec-WebSocket-Version", "13") // RFC 6455, 4.4
			http.Error(w, http.StatusText(status), status)
		},
	}
	return t
}

// Supports is gqlgen's: a request to upgrade.
func (t *Transport) Supports(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// Do is gqlgen's. It returns once the socket stands; the socket's goroutines
// are the transport's.
func (t *Transport) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	if !t.o.CheckOrigin(r) {
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	ip := t.o.ClientIP(r)
	bucket := t.o.IPBucket(ip)
	bye, status := t.reserve(bucket)
	if status != 0 {
		w.Header().Set("Retry-After", "1")
		http.Error(w, http.StatusText(status), status)
		return
	}
	ws, err := t.upgrader.Upgrade(w, r, nil)
	if err != nil { // answered by the upgrader
		t.release(bucket, bye != 0)
		return
	}
	c := newConn(t, ws, r, exec, ip, bucket)
	if c.turned = bye != 0; !c.turned {
		bye = t.enlist(c)
	}
	if t.o.Observer.Opened != nil {
		t.o.Observer.Opened(ws.Subprotocol())
	}
	switch bye {
	case websocket.CloseServiceRestart:
		c.Close(bye, "Service restart")
	case closeTryAgain:
		c.Close(bye, "Too many sockets")
	}
	c.start()
}

// reserve counts a socket in. A close code says that it is to be upgraded and
// told to go; an HTTP status, that it is not even that.
func (t *Transport) reserve(bucket string) (bye, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	most := t.o.Limits.SocketsPerIP
	switch {
	case t.drained:
		return 0, http.StatusServiceUnavailable
	case t.ips[bucket] >= 2*most:
		return 0, http.StatusTooManyRequests
	case t.draining:
		bye = websocket.CloseServiceRestart
	case t.ips[bucket] >= most:
		bye = closeTryAgain
	}
	t.ips[bucket]++
	t.sockets++
	if bye == 0 {
		t.serving++
	}
	return bye, 0
}

// enlist makes a socket known; a close code, if a drain began meanwhile.
func (t *Transport) enlist(c *Conn) (bye int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[c.id] = c
	if t.draining {
		return websocket.CloseServiceRestart
	}
	return 0
}

func (t *Transport) release(bucket string, turned bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ips[bucket]--; t.ips[bucket] == 0 {
		delete(t.ips, bucket)
	}
	t.sockets--
	if !turned {
		t.serving--
	}
	t.left.Broadcast()
}

// enter counts an accepted socket for its user; false: one too many.
func (t *Transport) enter(user string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if user == "" {
		return true
	}
	if t.users[user] >= t.o.Limits.SocketsPerUser {
		return false
	}
	t.users[user]++
	return true
}

func (t *Transport) leave(c *Conn, user string) {
	t.mu.Lock()
	delete(t.conns, c.id)
	if user != "" {
		if t.users[user]--; t.users[user] == 0 {
			delete(t.users, user)
		}
	}
	t.mu.Unlock()
	t.release(c.bucket, c.turned)
}

// Conn is a live socket by its id.
func (t *Transport) Conn(id uuid.UUID) (*Conn, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.conns[id]
	return c, ok
}

// Each calls f for every live socket.
func (t *Transport) Each(f func(*Conn)) {
	for _, c := range t.list() {
		f(c)
	}
}

func (t *Transport) list() []*Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*Conn, 0, len(t.conns))
	for _, c := range t.conns {
		all = append(all, c)
	}
	return all
}

// Len is how many sockets there are.
func (t *Transport) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}
