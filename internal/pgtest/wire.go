package pgtest

import (
	"net"
	"sync/atomic"
	"testing"
)

// Wire is a TCP link to a server that counts what goes over it, on every connection.
type Wire struct{ statements, rows atomic.Int64 }

// Work is what was asked of a server: statements that were executed, a batch's each for
// itself, and rows that were answered.
type Work struct{ Statements, Rows int64 }

// NewWire is a link to url's server, and the url by way of it.
func NewWire(t testing.TB, url string) (*Wire, string) {
	t.Helper()
	w := &Wire{}
	by := relayTo(t, url, func(to, from net.Conn, sent bool) {
		m := messages{}
		if sent {
			m.have = 1 // the first has no kind
		}
		carry(to, from, func(p []byte) {
			m.pass(p, func(kind byte) {
				switch {
				case sent && (kind == 'Q' || kind == 'B'): // Query, Bind
					w.statements.Add(1)
				case !sent && kind == 'D': // DataRow
					w.rows.Add(1)
				}
			})
		})
	})
	return w, by
}

// During is what there was while do ran, on behalf of whomever.
func (w *Wire) During(do func()) Work {
	statements, rows := w.statements.Load(), w.rows.Load()
	do()
	return Work{w.statements.Load() - statements, w.rows.Load() - rows}
}

// Least is the fewer of each.
func (w Work) Least(o Work) Work {
	return Work{min(w.Statements, o.Statements), min(w.Rows, o.Rows)}
}
