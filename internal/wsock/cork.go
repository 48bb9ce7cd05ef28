package wsock

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// corkMost is how many bytes leave in one system call.
const corkMost = 64 << 10

// corked is a connection whose writes can be held together for a moment, so that
// frames that have piled up leave in one system call. For whoever has the turn:
// the writer while it writes, and the reader to answer a close frame.
type corked struct {
	net.Conn

	turn chan struct{}
	held *[]byte // what waits; nil: nothing is held
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func newBuffer() *[]byte {
	b, _ := buffers.Get().(*[]byte)
	return b
}

func putBuffer(b *[]byte) {
	if b != nil && cap(*b) <= 2*corkMost {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// cork holds what is written until flush.
func (c *corked) cork() {
	if c.held == nil {
		c.held = newBuffer()
	}
}

// Write is net.Conn's.
func (c *corked) Write(p []byte) (int, error) {
	if c.held != nil {
		*c.held = append(*c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p) //nolint:wrapcheck // it is the connection
}

// waiting is how many bytes are held.
func (c *corked) waiting() int {
	if c.held == nil {
		return 0
	}
	return len(*c.held)
}

// flush writes what was held, within a time, and holds no more.
func (c *corked) flush(within time.Duration) (err error) {
	b := c.held
	if b == nil {
		return nil
	}
	c.held = nil
	if len(*b) > 0 {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(within))
		_, err = c.Conn.Write(*b)
	}
	putBuffer(b)
	return err //nolint:wrapcheck // it is the connection
}

// SetWriteDeadline is net.Conn's; what is held has that of its flush.
func (c *corked) SetWriteDeadline(t time.Time) error {
	if c.held != nil {
		return nil
	}
	return c.Conn.SetWriteDeadline(t) //nolint:wrapcheck // it is the connection
}

// within calls f with the turn, unless that does not come in time.
func (c *corked) within(most time.Duration, f func()) {
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case c.turn <- struct{}{}:
		f()
		<-c.turn
	case <-late.C:
	}
}

// SetLinger is TCP's, where there is TCP below.
func (c *corked) SetLinger(sec int) error {
	if tcp, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		return tcp.SetLinger(sec) //nolint:wrapcheck // it is the connection
	}
	return nil
}

// corking is a response whose connection can be corked.
type corking struct {
	http.ResponseWriter

	conn *corked
}

// Hijack is http.Hijacker's.
func (w *corking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it is the response
	}
	w.conn = &corked{Conn: conn, turn: make(chan struct{}, 1)}
	return w.conn, rw, nil
}
