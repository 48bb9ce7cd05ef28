package pgtest

import (
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Trips counts round trips to Postgres: how often a client sent something and
// had to wait for the answer. A batch is one, however many statements it holds.
type Trips struct{ n atomic.Int64 }

// Count is how many there were so far, on every connection of the pool.
func (tr *Trips) Count() int { return int(tr.n.Load()) }

// During is how many there were while do ran, on behalf of whomever.
func (tr *Trips) During(do func()) int {
	before := tr.Count()
	do()
	return tr.Count() - before
}

// Fewest runs do several times and is how many the run that took fewest took:
// the others opened connections and prepared statements, or something else used
// the pool meanwhile.
func (tr *Trips) Fewest(do func()) int {
	fewest := tr.During(do)
	for range 5 {
		fewest = min(fewest, tr.During(do))
	}
	return fewest
}

// Counted opens a pool as the server does, closed when t ends, and counts what
// it sends. Without TLS, which would hide it.
func Counted(t testing.TB, url string) (*pgxpool.Pool, *Trips) {
	t.Helper()
	cfg := Pool(t, url).Config()
	cfg.ConnConfig.TLSConfig, cfg.ConnConfig.Fallbacks = nil, nil
	trips, dial := &Trips{}, cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &countedConn{Conn: c, trips: trips, sent: messages{have: 1}}, nil
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, trips
}

// countedConn reads along what the client writes.
type countedConn struct {
	net.Conn
	trips *Trips
	sent  messages
}

// Write is one flush of the driver's, however many messages it holds.
func (c *countedConn) Write(p []byte) (int, error) {
	if c.asks(p) {
		c.trips.n.Add(1)
	}
	return c.Conn.Write(p)
}

// asks: p completes a message that makes the server answer all it was sent.
func (c *countedConn) asks(p []byte) (asked bool) {
	c.sent.pass(p, func(kind byte) { asked = asked || kind == 'Q' || kind == 'S' }) // Query, Sync
	return asked
}

// messages reads along what goes one way over a connection: messages of a kind (a byte)
// and a length (four bytes, counting themselves); of a client's the first has no kind.
type messages struct {
	head [5]byte // of the message under way
	have int     // bytes of head
	left int     // bytes of its body that are to come, once head is whole
}

// pass calls each for every message that p completes.
func (m *messages) pass(p []byte, each func(kind byte)) {
	for len(p) > 0 {
		if m.have < len(m.head) {
			n := copy(m.head[m.have:], p)
			m.have, p = m.have+n, p[n:]
			if m.have < len(m.head) {
				break
			}
			m.left = int(binary.BigEndian.Uint32(m.head[1:])) - 4
		}
		n := min(m.left, len(p))
		m.left, p = m.left-n, p[n:]
		if m.left == 0 {
			each(m.head[0])
			m.have = 0
		}
	}
}
