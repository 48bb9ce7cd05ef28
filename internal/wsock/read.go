package wsock

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// reader takes in what the peer sends, no faster than its pace.
type reader struct {
	c        *Conn
	protocol protocol
	spare    *rate.Limiter // of pings, pongs and completes; of all else it is Conn.pace
	init     *time.Timer   // closes a socket that sends no connection_init
}

// What a message takes from the socket's pace, besides one for itself.
const (
	messageBytes = 1 << 10 // one more for each of these
	refusedShare = 5       // these more for an operation refused before it ran: it cost more than reading it
)

// spareShare is how many small pings, pongs and completes there may be for each message
// that counts: they cost nothing, and a flood of them would not either.
const spareShare = 10

func newReader(c *Conn) *reader {
	limits := c.t.o.Limits
	r := &reader{c: c, protocol: protocol{c}, spare: paceOf(limits.MessageRate * spareShare)}
	c.ws.SetReadLimit(limits.FrameBytes)
	c.ws.SetPingHandler(func(data string) error {
		r.heard()
		c.answer(frame{kind: websocket.PongMessage, data: []byte(data)})
		_ = r.spare.Wait(c.ctx)
		return nil
	})
	c.ws.SetPongHandler(func(data string) error {
		r.heard()
		c.pulse.pong(data, limits.silence())
		_ = r.spare.Wait(c.ctx)
		return nil
	})
	echo := c.ws.CloseHandler()
	c.ws.SetCloseHandler(func(code int, text string) error {
		c.out.within(goodbye, func() { _ = echo(code, text) })
		return nil
	})
	return r
}

// begin is what comes before reading.
func (r *reader) begin() {
	c := r.c
	r.heard()
	if c.ws.Subprotocol() == "" {
		c.Close(closeSubprotocol, "Subprotocol not acceptable")
	}
	r.init = time.AfterFunc(c.t.o.Limits.InitTimeout, func() {
		if c.ops.at() == awaited {
			c.Close(closeInitTimeout, "Connection initialisation timeout")
		}
	})
}

// run reads until the socket ends; more: it has not, and there was a message that counts.
func (r *reader) run() (more bool) {
	c := r.c
	for {
		kind, data, err := r.next()
		if err != nil {
			r.failed(err)
			return false
		}
		r.heard()
		if c.ctx.Err() != nil {
			r.rest(data) // closing: only the peer's close frame is waited for
			continue
		}
		if kind != websocket.TextMessage || !utf8.Valid(data) {
			c.Close(closeBadRequest, "Only UTF-8 text frames are understood")
			continue
		}
		// A flood is read no faster than this, and costs nobody else anything.
		if r.handle(data) {
			_ = r.spare.WaitN(c.ctx, costOf(data, r.spare))
			continue
		}
		_ = c.pace.WaitN(c.ctx, costOf(data, c.pace))
		return true
	}
}

// rest has what still comes of a closing socket read no faster than the rest, and no
// longer than restMost at a time: the socket ends by itself.
func (r *reader) rest(data []byte) {
	if wait := r.c.pace.ReserveN(time.Now(), costOf(data, r.c.pace)).Delay(); wait > 0 {
		<-time.After(min(wait, restMost))
	}
}

const restMost = time.Second

// costOf is what a message takes of a pace.
func costOf(data []byte, pace *rate.Limiter) int {
	return min(1+len(data)/messageBytes, pace.Burst())
}

// paceOf is so many a second, past a burst of ten seconds' worth.
func paceOf(each float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(each), max(1, int(each*10)))
}

// refused has the socket read more slowly: something it asked for was not run.
func (c *Conn) refused() { c.pace.ReserveN(time.Now(), min(refusedShare, c.pace.Burst())) }

// heard takes note of a sign of life: the peer has as long again.
func (r *reader) heard() {
	r.c.pulse.beat()
	_ = r.c.ws.SetReadDeadline(time.Now().Add(r.c.t.o.Limits.silence()))
}

// next is the next message. Each part of it that comes is a sign of life: a
// large one may take a slow link longer than a silence may last.
func (r *reader) next() (kind int, data []byte, err error) {
	kind, in, err := r.c.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	data, err = io.ReadAll(&hearing{r: r, in: in})
	return kind, data, err
}

// openingBytes is how much a message may have until the socket is acknowledged: nobody
// knows yet whose it is.
const openingBytes = 64 << 10

// hearing is a message that tells the reader of each part that came, and ends where it is
// larger than it may be by then.
type hearing struct {
	r     *reader
	in    io.Reader
	bytes int
}

func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.in.Read(p)
	if n > 0 {
		h.r.heard()
	}
	if h.bytes += n; h.bytes > openingBytes && h.r.c.ops.at() != ready {
		return n, websocket.ErrReadLimit
	}
	return n, err //nolint:wrapcheck // a reader's errors are the reader's
}

// handle is one message, and whether it is one of those that cost nothing; a bug
// in handling it ends this socket only.
func (r *reader) handle(data []byte) (free bool) {
	defer func() {
		if p := recover(); p != nil {
			r.c.log.ErrorContext(r.c.ctx, "panic in a socket", "panic", p, "stack", string(debug.Stack()))
			r.c.Close(closeInternal, "Internal server error")
		}
	}()
	return r.protocol.handle(data)
}

// failed notes how reading ended.
func (r *reader) failed(err error) {
	closing, isClose := errors.AsType[*websocket.CloseError](err)
	_, isNet := errors.AsType[net.Error](err)
	switch {
	case isClose:
		r.c.note(-closing.Code)
	case errors.Is(err, websocket.ErrReadLimit):
		r.breach(websocket.CloseMessageTooBig)
	case isNet, errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
		r.c.note(-websocket.CloseAbnormalClosure)
	default:
		r.breach(websocket.CloseProtocolError)
	}
}

// breach closes a socket that gorilla can read no further, and throws away what
// else comes: closed with its input unread, the connection would be reset, and
// the peer might never see why.
func (r *reader) breach(code int) {
	r.c.Close(code, "")
	under := r.c.ws.NetConn()
	_ = under.SetReadDeadline(time.Now().Add(goodbye))
	_, _ = io.Copy(io.Discard, under)
}
