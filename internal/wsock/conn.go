package wsock

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// goodbye is how long the peer has to answer a close frame.
const goodbye = time.Second

// pings is how many round trips Latency averages.
const pings = 5

type stage int

const (
	fresh   stage = iota // nothing said yet
	initing              // connection_init is being judged
	ready                // acknowledged
)

// Conn is one socket.
type Conn struct {
	t      *Transport
	ws     *websocket.Conn
	exec   graphql.GraphExecutor
	id     uuid.UUID
	header http.Header
	ip     string
	bucket string
	legacy bool
	log    *slog.Logger

	ctx    context.Context //nolint:containedctx // the socket's lifetime, and it ends with it
	cancel context.CancelFunc
	queue  *queue
	ops    sync.WaitGroup // running operations and the judging of init
	began  time.Time
	seen   atomic.Int64 // the last inbound frame, as nanoseconds after began

	mu      sync.Mutex
	stage   stage                 // guarded by mu
	base    context.Context       //nolint:containedctx // guarded by mu: of operations, once ready
	running map[string]*operation // guarded by mu
	user    string                // guarded by mu
	closed  func(CloseInfo)       // guarded by mu
	code    int                   // guarded by mu: of our close; 0: none yet
	expiry  *time.Timer           // guarded by mu
	trips   [pings]time.Duration  // guarded by mu
	tripped int                   // guarded by mu: round trips measured
}

type connKey struct{}

// FromContext is the socket an operation came over.
func FromContext(ctx context.Context) (*Conn, bool) {
	c, ok := ctx.Value(connKey{}).(*Conn)
	return c, ok
}

func newConn(t *Transport, ws *websocket.Conn, r *http.Request, exec graphql.GraphExecutor, ip, bucket string) *Conn {
	c := &Conn{t: t, ws: ws, exec: exec, id: uuid.New(), header: r.Header.Clone(), ip: ip, bucket: bucket,
		legacy: ws.Subprotocol() == LegacyWS, log: t.o.Log, queue: newQueue(t.o.Limits.QueuedFrames, t.o.Limits.QueuedBytes),
		running: map[string]*operation{}, began: time.Now()}
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
func (c *Conn) LastSeen() time.Time { return c.began.Add(time.Duration(c.seen.Load())) }

// arm takes note of a frame: the peer is alive, and has as long again. A socket
// that is closing has a moment only, whatever it still sends.
func (c *Conn) arm() {
	c.seen.Store(int64(time.Since(c.began)))
	_ = c.ws.SetReadDeadline(time.Now().Add(c.t.o.Limits.silence()))
	if c.ctx.Err() != nil {
		_ = c.ws.SetReadDeadline(time.Now().Add(goodbye))
	}
}

// Latency is the average of the last five round trips; false: none yet.
func (c *Conn) Latency() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(c.tripped, pings)
	if n == 0 {
		return 0, false
	}
	var sum time.Duration
	for _, d := range c.trips[:n] {
		sum += d
	}
	return sum / time.Duration(n), true
}

// Extend moves the instant at which the socket is closed for its token's
// expiry; zero: never. Subscriptions go on.
func (c *Conn) Extend(expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extendLocked(expires)
}

func (c *Conn) extendLocked(expires time.Time) {
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	if !expires.IsZero() && c.ctx.Err() == nil {
		c.expiry = time.AfterFunc(time.Until(expires), func() { c.Close(closeForbidden, "Token expired") })
	}
}

// Close ends the socket with a code and a reason. It does not wait; only the
// first one counts.
func (c *Conn) Close(code int, reason string) {
	c.mu.Lock()
	if c.code != 0 {
		c.mu.Unlock()
		return
	}
	c.code = code
	c.mu.Unlock()
	c.cancel() // operations end; what they still say is not sent
	c.queue.close(websocket.FormatCloseMessage(code, cut(reason)))
}

// cut keeps a reason within a control frame's 123 bytes, at a rune's border.
func cut(reason string) string {
	const most = 123
	if len(reason) <= most {
		return reason
	}
	reason = reason[:most]
	for !utf8.ValidString(reason) {
		reason = reason[:len(reason)-1]
	}
	return reason
}

// abort ends the socket without a word.
func (c *Conn) abort(code int) {
	c.mu.Lock()
	if c.code == 0 {
		c.code = code
	}
	c.mu.Unlock()
	c.cancel()
	c.queue.close(nil)
	_ = c.ws.NetConn().Close()
}

// start runs the socket.
func (c *Conn) start() {
	c.ws.SetReadLimit(c.t.o.Limits.FrameBytes)
	c.ws.SetPongHandler(c.pong)
	ping := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error {
		c.arm()
		return ping(data)
	})
	written := make(chan struct{})
	go func() { defer close(written); c.write() }()
	go func() {
		c.read()
		c.finish(written)
	}()
}

// read takes frames in until the socket ends.
func (c *Conn) read() {
	c.arm()
	if c.ws.Subprotocol() == "" {
		c.Close(closeSubprotocol, "Subprotocol not acceptable")
	}
	init := time.AfterFunc(c.t.o.Limits.InitTimeout, func() {
		c.mu.Lock()
		late := c.stage == fresh
		c.mu.Unlock()
		if late {
			c.Close(closeInitTimeout, "Connection initialisation timeout")
		}
	})
	defer init.Stop()
	allowed := rate.NewLimiter(rate.Limit(c.t.o.Limits.MessageRate), int(c.t.o.Limits.MessageRate*10))
	for {
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			c.failed(err)
			return
		}
		c.arm()
		if c.ctx.Err() != nil {
			continue // closing: only the peer's close frame is waited for
		}
		if kind != websocket.TextMessage || !utf8.Valid(data) {
			c.Close(closeBadRequest, "Only UTF-8 text frames are understood")
			continue
		}
		c.handle(data)
		_ = allowed.Wait(c.ctx) // a flood is read no faster than this, and costs nobody else anything
	}
}

// failed notes how reading ended.
func (c *Conn) failed(err error) {
	code := websocket.CloseAbnormalClosure
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		code = e.Code
	} else if errors.Is(err, websocket.ErrReadLimit) {
		code = websocket.CloseMessageTooBig
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code = -code
		if code == websocket.CloseMessageTooBig && errors.Is(err, websocket.ErrReadLimit) {
			c.code = code // gorilla has sent it for us
		}
	}
}

// finish ends everything that belongs to the socket, and says so once.
func (c *Conn) finish(written <-chan struct{}) {
	c.cancel()
	c.queue.close(nil)
	<-written
	_ = c.ws.Close()
	c.ops.Wait()
	c.mu.Lock()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	info := CloseInfo{Code: c.code, LastSeen: c.LastSeen()}
	if info.Code < 0 {
		info.Code, info.ByPeer = -info.Code, true
	}
	user, closed := c.user, c.closed
	c.mu.Unlock()
	if closed != nil {
		closed(info)
	}
	if c.t.o.Observer.Closed != nil {
		c.t.o.Observer.Closed(info.Code)
	}
	c.t.leave(c, user)
}

// write sends what is queued, control before data, until the queue is closed;
// then the close frame, after which the peer has a moment to answer.
func (c *Conn) write() {
	tick := time.NewTicker(c.t.o.Limits.PingEvery)
	defer tick.Stop()
	for {
		f, ok := c.queue.take(tick.C)
		if !ok {
			break
		}
		if f.tick {
			c.ping()
			continue
		}
		if f.op != nil && f.op.cancelled() {
			continue
		}
		_ = c.ws.SetWriteDeadline(time.Now().Add(c.t.o.Limits.WriteTimeout))
		if c.ws.WriteMessage(websocket.TextMessage, f.data) != nil {
			c.abort(closeSlow)
			return
		}
		if c.t.o.Observer.Written != nil {
			c.t.o.Observer.Written(len(f.data))
		}
	}
	if bye := c.queue.last(); bye != nil {
		if c.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(goodbye)) == nil {
			_ = c.ws.SetReadDeadline(time.Now().Add(goodbye))
			return
		}
	}
	_ = c.ws.NetConn().Close()
}

// ping asks the peer for a sign of life. Control frames, which every WebSocket
// answers by itself, so that a frozen page still counts as connected.
func (c *Conn) ping() {
	c.mu.Lock()
	up := c.stage == ready
	c.mu.Unlock()
	if !up {
		return
	}
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(time.Since(c.began)))
	_ = c.ws.WriteControl(websocket.PingMessage, at[:], time.Now().Add(c.t.o.Limits.WriteTimeout))
	if c.legacy {
		c.queue.urgent([]byte(`{"type":"ka"}`))
	}
}

func (c *Conn) pong(data string) error {
	c.arm()
	if len(data) != 8 {
		return nil
	}
	trip := time.Since(c.began) - time.Duration(binary.BigEndian.Uint64([]byte(data)))
	if trip < 0 || trip > c.t.o.Limits.silence() {
		return nil // not an answer to a ping of ours
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trips[c.tripped%pings] = trip
	c.tripped++
	return nil
}
