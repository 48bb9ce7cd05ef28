package postgres

import (
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Close closes pools, and waits at most so long until that is done: to a server that
// does not answer the driver says good-bye for 15 s, and whoever ends need not wait for it.
func Close(most time.Duration, pools ...*pgxpool.Pool) {
	closed := make(chan struct{}, len(pools))
	for _, p := range pools {
		go func() { p.Close(); closed <- struct{}{} }()
	}
	late := time.NewTimer(most)
	defer late.Stop()
	for range pools {
		select {
		case <-closed:
		case <-late.C:
			return
		}
	}
}

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
