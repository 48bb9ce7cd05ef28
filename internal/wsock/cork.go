package wsock

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// corkMost is how many bytes leave in one system call.
const corkMost = chunk

// corked is a connection whose writes can be held together for a moment, so that
// frames that have piled up leave in one system call. Whoever has the turn corks
// and flushes: the writer while it writes. The reader takes it to answer a close
// frame, which must be out before the connection ends; what gorilla says itself
// of a breach keeps its place among what is held.
type corked struct {
	net.Conn

	turn chan struct{}
	raw  syscall.RawConn // to write without waiting; nil: it cannot be

	mu   sync.Mutex
	held *[]byte // guarded by mu: what waits; nil: nothing is held
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = newBuffer()
	}
}

// Write is net.Conn's.
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.held != nil {
		*c.held = append(*c.held, p...)
		c.mu.Unlock()
		return len(p), nil
	}
	c.mu.Unlock()
	return c.Conn.Write(p) //nolint:wrapcheck // it is the connection
}

// waiting is how many bytes are held.
func (c *corked) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return 0
	}
	return len(*c.held)
}

// swap takes what is held, and goes on holding while that is written: whoever
// writes meanwhile waits its turn there. nil: nothing is held any more.
func (c *corked) swap() *[]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.held
	if b == nil || len(*b) == 0 {
		c.held = nil
		putBuffer(b)
		return nil
	}
	c.held = newBuffer()
	return b
}

// flush writes what was held, each time within a time, and holds no more.
func (c *corked) flush(within time.Duration) error {
	for b := c.swap(); b != nil; b = c.swap() {
		var err error
		for rest := *b; err == nil && len(rest) > 0; { // a slow link is not a dead one
			n := min(chunk, len(rest))
			_ = c.Conn.SetWriteDeadline(time.Now().Add(within))
			_, err = c.Conn.Write(rest[:n])
			rest = rest[n:]
		}
		putBuffer(b)
		_ = c.Conn.SetWriteDeadline(time.Time{}) // an attempt after it has none
		if err != nil {
			c.mu.Lock()
			c.held = nil
			c.mu.Unlock()
			return err //nolint:wrapcheck // it is the connection
		}
	}
	return nil
}

// attempt writes what is held as far as the network takes it at once; true: all of
// it, and nothing is held any more. What is left, or fails, is flush's.
func (c *corked) attempt() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return true
	}
	n := 0
	_ = c.raw.Write(func(fd uintptr) bool {
		n = writeAtOnce(fd, *c.held)
		return true
	})
	if n < len(*c.held) {
		*c.held = append((*c.held)[:0], (*c.held)[n:]...)
		return false
	}
	putBuffer(c.held)
	c.held = nil
	return true
}

// SetWriteDeadline is net.Conn's; what is held has that of its flush.
func (c *corked) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	held := c.held != nil
	c.mu.Unlock()
	if held {
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
	if under, ok := conn.(syscall.Conn); ok && attempts {
		if raw, err := under.SyscallConn(); err == nil {
			w.conn.raw = raw
		}
	}
	return w.conn, rw, nil
}
