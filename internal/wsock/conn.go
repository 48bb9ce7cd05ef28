package wsock

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// goodbye is how long a socket that is being closed has: to send the close
// frame, and the peer to answer it.
const goodbye = time.Second

// chunk is how much of a message one write deadline is for: a slow link is not
// a dead one.
const chunk = 32 << 10

// longestReason is what a close frame holds beside its code.
const longestReason = 123

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
	turned bool // upgraded only to be told to go
	log    *slog.Logger
	pace   *rate.Limiter // of inbound frames

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
	held    []*operation          // guarded by mu: that wait for the ack
	user    string                // guarded by mu
	closed  func(CloseInfo)       // guarded by mu
	code    int                   // guarded by mu: of the close, negative: the peer's; 0: none yet
	bidden  bool                  // guarded by mu: our close frame is out
	kill    *time.Timer           // guarded by mu: ends a close nobody answers
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
	burst := max(1, int(t.o.Limits.MessageRate*10))
	c.pace = rate.NewLimiter(rate.Limit(t.o.Limits.MessageRate), burst)
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

// heard takes note of a frame: the peer is alive, and has as long again.
func (c *Conn) heard() {
	c.seen.Store(int64(time.Since(c.began)))
	_ = c.ws.SetReadDeadline(time.Now().Add(c.t.o.Limits.silence()))
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

// Close ends the socket with a code and a reason. It does not wait; only the
// first one counts. A second later the socket is gone, whatever the peer does.
func (c *Conn) Close(code int, reason string) {
	c.mu.Lock()
	if c.code != 0 {
		c.mu.Unlock()
		return
	}
	c.code = code
	c.kill = time.AfterFunc(goodbye, c.sever)
	c.mu.Unlock()
	c.queue.close(websocket.FormatCloseMessage(code, cut(reason, longestReason))) // before the writer can notice the next
	c.cancel()                                                                    // operations end; what they still say is not sent
}

// sever ends the connection under the socket. What the peer has not taken is
// thrown away, unless it is the close frame it has yet to read.
func (c *Conn) sever() {
	c.mu.Lock()
	bidden := c.bidden
	c.mu.Unlock()
	under := c.ws.NetConn()
	if tcp, ok := under.(interface{ SetLinger(sec int) error }); ok && !bidden {
		_ = tcp.SetLinger(0)
	}
	_ = under.Close()
}

// cut makes of a text what a close frame may carry: valid, printable, and no
// longer than most bytes, at a rune's border.
func cut(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= most {
		return text
	}
	for text = text[:most]; !utf8.ValidString(text); {
		text = text[:len(text)-1]
	}
	return text
}

// abort ends the socket without a word.
func (c *Conn) abort(code int) {
	c.mu.Lock()
	if c.code == 0 {
		c.code = code
	}
	c.mu.Unlock()
	c.queue.close(nil)
	c.cancel()
	c.sever()
}

// start runs the socket.
func (c *Conn) start() {
	c.ws.SetReadLimit(c.t.o.Limits.FrameBytes)
	c.ws.SetPongHandler(c.pong)
	c.ws.SetPingHandler(func(data string) error {
		c.heard()
		c.urgently(frame{kind: websocket.PongMessage, data: []byte(data)})
		_ = c.pace.Wait(c.ctx)
		return nil
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
	c.heard()
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
	for {
		kind, data, err := c.next()
		if err != nil {
			c.failed(err)
			return
		}
		c.heard()
		if c.ctx.Err() != nil {
			continue // closing: only the peer's close frame is waited for
		}
		if kind != websocket.TextMessage || !utf8.Valid(data) {
			c.Close(closeBadRequest, "Only UTF-8 text frames are understood")
			continue
		}
		c.mind(data)
		_ = c.pace.Wait(c.ctx) // a flood is read no faster than this, and costs nobody else anything
	}
}

// next is the next message. Each part of it that comes is a sign of life: a
// large one may take a slow link longer than a silence may last.
func (c *Conn) next() (kind int, data []byte, err error) {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	data, err = io.ReadAll(heard{c, r})
	return kind, data, err
}

type heard struct {
	c *Conn
	r io.Reader
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if n > 0 {
		h.c.heard()
	}
	return n, err //nolint:wrapcheck // a reader's errors are the reader's
}

// mind handles a message; a bug in that ends this socket only.
func (c *Conn) mind(data []byte) {
	defer func() {
		if p := recover(); p != nil {
			c.log.ErrorContext(c.ctx, "panic in a socket", "panic", p, "stack", string(debug.Stack()))
			c.Close(closeInternal, "Internal server error")
		}
	}()
	c.handle(data)
}

// failed notes how reading ended.
func (c *Conn) failed(err error) {
	closing, isClose := errors.AsType[*websocket.CloseError](err)
	_, isNet := errors.AsType[net.Error](err)
	switch {
	case isClose:
		c.note(-closing.Code)
	case errors.Is(err, websocket.ErrReadLimit):
		c.breach(websocket.CloseMessageTooBig)
	case isNet, errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
		c.note(-websocket.CloseAbnormalClosure)
	default:
		c.breach(websocket.CloseProtocolError)
	}
}

func (c *Conn) note(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code = code
	}
}

// breach closes a socket that gorilla can read no further, and throws away what
// else comes: closed with its input unread, the connection would be reset, and
// the peer might never see why.
func (c *Conn) breach(code int) {
	c.Close(code, "")
	under := c.ws.NetConn()
	_ = under.SetReadDeadline(time.Now().Add(goodbye))
	_, _ = io.Copy(io.Discard, under)
}

// finish ends everything that belongs to the socket, and says so once.
func (c *Conn) finish(written <-chan struct{}) {
	c.cancel()
	c.queue.close(nil)
	if c.queue.last() == nil {
		_ = c.ws.NetConn().Close() // nothing is left to say, and the writer may be stuck
	}
	<-written
	_ = c.ws.Close()
	c.ops.Wait()
	c.mu.Lock()
	for _, timer := range []*time.Timer{c.expiry, c.kill} {
		if timer != nil {
			timer.Stop()
		}
	}
	info := CloseInfo{Code: c.code, LastSeen: c.LastSeen()}
	if info.Code < 0 {
		info.Code, info.ByPeer = -info.Code, true
	}
	user, closed := c.user, c.closed
	c.mu.Unlock()
	c.tell(closed, info)
	if c.t.o.Observer.Closed != nil {
		c.t.o.Observer.Closed(info.Code)
	}
	c.t.leave(c, user)
}

// tell calls Accepted.Closed; its panic must not keep the socket counted.
func (c *Conn) tell(closed func(CloseInfo), info CloseInfo) {
	defer func() {
		if p := recover(); p != nil {
			c.log.ErrorContext(c.ctx, "panic as a socket ended", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if closed != nil {
		closed(info)
	}
}
