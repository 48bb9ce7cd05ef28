package pgtest

import (
	"net"
	"sync"
	"testing"
)

// Hole is a TCP link to a server that can be made to swallow everything: no
// answer, no refusal, no end, as when a cable is pulled.
type Hole struct {
	mu   sync.Mutex
	open *sync.Cond
	shut bool // guarded by mu
}

// NewHole is an open link to url's server, and the url by way of it.
func NewHole(t testing.TB, url string) (*Hole, string) {
	t.Helper()
	h := &Hole{}
	h.open = sync.NewCond(&h.mu)
	by := relayTo(t, url, func(to, from net.Conn, _ bool) { carry(to, from, func([]byte) { h.pass() }) })
	t.Cleanup(func() { h.Shut(false) })
	return h, by
}

// Shut makes the link swallow everything, or carry again what it holds.
func (h *Hole) Shut(shut bool) {
	h.mu.Lock()
	h.shut = shut
	h.mu.Unlock()
	h.open.Broadcast()
}

// pass waits while it is shut.
func (h *Hole) pass() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.shut {
		h.open.Wait()
	}
}
