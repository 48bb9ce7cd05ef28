package postgres

import (
	"net"
	"sync"
	"time"
)

// impatientConn ends each read and write that makes no progress within limit.
// A deadline set by the driver (it is how a context's end interrupts a query)
// goes first for as long as it stands.
type impatientConn struct {
	net.Conn
	limit time.Duration

	mu     sync.Mutex // guards driven, and orders our deadlines after the driver's
	driven bool
}

func (c *impatientConn) Read(p []byte) (int, error) {
	if err := c.arm(c.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *impatientConn) Write(p []byte) (int, error) {
	if err := c.arm(c.Conn.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *impatientConn) arm(set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.driven {
		return nil
	}
	return set(time.Now().Add(c.limit))
}

// SetDeadline is the driver's: zero gives the clock back to us.
func (c *impatientConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.driven = !t.IsZero()
	return c.Conn.SetDeadline(t)
}
