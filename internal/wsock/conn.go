package wsock

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// Conn is one socket: who it is, and how it ends. What comes in is the
// reader's, what goes out the writer's, what runs on it the operations'.
type Conn struct {
	t      *Transport
	ws     *websocket.Conn
	out    *corked // under ws
	exec   graphql.GraphExecutor
	id     uuid.UUID
	header http.Header // of the upgrade, for Init
	ip     string
	bucket string
	legacy bool
	turned bool // upgraded only to be told to go
	// entered: let in; guarded by the transport's mu.
	entered bool
	log     *slog.Logger

	ctx    context.Context //nolint:containedctx // the socket's lifetime, and it ends with it
	cancel context.CancelFunc
	queue  *queue
	writer *writer
	pace   *rate.Limiter // of inbound messages
	pulse  pulse
	ops    operations

	mu     sync.Mutex
	user   string          // guarded by mu
	closed func(CloseInfo) // guarded by mu
	code   int             // guarded by mu: of the close, negative: the peer's; 0: none yet
	told   bool            // guarded by mu: our close frame is out
	kill   *time.Timer     // guarded by mu: ends a close nobody answers
	expiry *time.Timer     // guarded by mu
}

type connKey struct{}

// FromContext is the socket an operation came over.
func FromContext(ctx context.Context) (*Conn, bool) {
	c, ok := ctx.Value(connKey{}).(*Conn)
	return c, ok
}

func newConn(t *Transport, ws *websocket.Conn, out *corked, r *http.Request, exec graphql.GraphExecutor, ip, bucket string) *Conn {
	c := &Conn{t: t, ws: ws, out: out, exec: exec, id: uuid.New(), header: r.Header.Clone(), ip: ip, bucket: bucket,
		legacy: ws.Subprotocol() == LegacyWS, log: t.o.Log, queue: newQueue(t.o.Limits.QueuedFrames, t.o.Limits.QueuedBytes),
		pace:  paceOf(t.o.Limits.MessageRate),
		pulse: pulse{began: time.Now()}}
	c.writer = newWriter(c)
	c.ops = operations{c: c, running: map[string]*operation{}}
	// Detached: the request's context ends when Do returns.
	c.ctx, c.cancel = context.WithCancel(context.WithValue(context.WithoutCancel(r.Context()), connKey{}, c))
	return c
}

// ID names the socket; it is the session's id.
func (c *Conn) ID() uuid.UUID { return c.id }

// RemoteIP is the peer's, by Options.ClientIP.
func (c *Conn) RemoteIP() string { return c.ip }

// Subprotocol is what was agreed on.
func (c *Conn) Subprotocol() string { return c.ws.Subprotocol() }

// LastSeen is when the last frame came in.
func (c *Conn) LastSeen() time.Time { return c.pulse.last() }

// Latency is the average of the last five round trips; false: none yet.
func (c *Conn) Latency() (time.Duration, bool) { return c.pulse.average() }

// Opened is when the socket was upgraded.
func (c *Conn) Opened() time.Time { return c.pulse.began }

// Waiting is what its peer has not taken yet, in frames and bytes.
func (c *Conn) Waiting() (frames, bytes int) { return c.queue.waiting() }

// Extend moves the instant at which the socket is closed for its token's
// expiry; zero: never. Subscriptions go on.
func (c *Conn) Extend(expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	if expires.IsZero() || c.ctx.Err() != nil {
		return
	}
	var mine *time.Timer
	mine = time.AfterFunc(time.Until(expires), func() {
		c.mu.Lock()
		due := c.expiry == mine // not extended just now
		c.mu.Unlock()
		if due {
			c.Close(closeForbidden, "Token expired")
		}
	})
	c.expiry = mine
}

// start runs the socket.
func (c *Conn) start() {
	in := newReader(c)
	c.writer.start()
	in.begin()
	go c.read(in)
}

// read reads until the socket ends. A message that was more than a sign of life has grown
// the goroutine's stack, which it would keep while the socket is idle: another goes on.
func (c *Conn) read(in *reader) {
	if in.run() {
		go c.read(in)
		return
	}
	in.init.Stop()
	c.finish()
}

// answer queues a frame ahead of data. A peer that has left too many of those
// unread is given up.
func (c *Conn) answer(f frame) {
	if !c.queue.urgent(f) {
		c.Close(closeSlow, "Slow consumer")
	}
	c.writer.kick()
}

// put sends an operation's frame, once there is room for it; false: not any more.
func (c *Conn) put(ctx context.Context, f frame) bool {
	ok := c.queue.put(ctx, f)
	if !ok {
		f.over()
	}
	c.writer.write()
	return ok
}

// say queues an operation's frame, whether there is room for it or not, and has
// it written soon.
func (c *Conn) say(f frame) {
	c.queue.add(f)
	if c.queue.claim() {
		c.t.runner.write(c)
	}
}
