package feed

import (
	"sync"
	"time"
)

// meter tells load: changes within the last whole second. The zero value has seen none.
type meter struct {
	mu        sync.Mutex
	since     time.Time // guarded by mu, as all here
	now, last int
	until     time.Time // as long this node has promised to look by itself
}

func (m *meter) add(at time.Time, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.Sub(m.since) >= time.Second {
		m.last = m.now
		if at.Sub(m.since) >= 2*time.Second {
			m.last = 0
		}
		m.since, m.now = at, 0
	}
	m.now += n
}

// busy reports whether there is so much that it is cheaper to wait for more of it.
func (m *meter) busy(at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.busyLocked(at)
}

func (m *meter) busyLocked(at time.Time) bool {
	return at.Sub(m.since) < 2*time.Second && max(m.now, m.last) >= hotLoad
}

// promise is a promise to look, where that costs less than being rung for; false: it does not.
func (m *meter) promise(at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	busy := m.busyLocked(at)
	if busy {
		m.until = at.Add(promise)
	}
	return busy
}

// promised reports whether a promise to look holds.
func (m *meter) promised(at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return at.Before(m.until)
}
