// Package wsock serves GraphQL over WebSocket: graphql-transport-ws as its
// PROTOCOL.md says, and the older graphql-ws, as a gqlgen transport on
// gorilla/websocket. It decides how a socket lives and ends, owns every socket
// and goroutine it made until Drain, and knows nothing of users: Init decides
// who is let in.
//
// A socket is one reading goroutine, one for each running operation that has to be waited for, and one to
// write while there is something that no operation writes itself. Nobody waits
// for a socket but what belongs to it:
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
	"net/http"
	"strings"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

// Transport is gqlgen's. It owns every socket it accepted until Drain.
type Transport struct {
	o        Options
	upgrader websocket.Upgrader
	runner   runner

	mu       sync.Mutex
	left     *sync.Cond          // on mu: a socket has ended
	conns    map[uuid.UUID]*Conn // guarded by mu
	users    map[string]int      // guarded by mu
	ips      map[string]int      // guarded by mu
	opening  map[string]int      // guarded by mu: of ips, that have not been let in yet
	sockets  int                 // guarded by mu: all
	serving  int                 // guarded by mu: that were let in
	draining bool                // guarded by mu
	drained  bool                // guarded by mu
}

var _ graphql.Transport = (*Transport)(nil)

// New is a transport without sockets.
func New(o Options) *Transport {
	o = o.withDefaults()
	t := &Transport{o: o, conns: map[uuid.UUID]*Conn{}, users: map[string]int{}, ips: map[string]int{}, opening: map[string]int{}}
	t.left = sync.NewCond(&t.mu)
	t.upgrader = websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 4096, // what is read is small; net/http's own buffer would stay with the socket for good
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
	under := &corking{ResponseWriter: w}
	ws, err := t.upgrader.Upgrade(under, r, nil)
	if err != nil { // answered by the upgrader
		t.release(bucket, bye != 0, true)
		return
	}
	c := newConn(t, ws, under.conn, r, exec, ip, bucket)
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
