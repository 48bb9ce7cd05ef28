package wsock

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// trips is how many round trips the latency averages.
const trips = 5

// pulse is what a socket knows of its peer being alive: when it was last
// heard, and how long pings take. Pings carry the time at which they were sent.
type pulse struct {
	began time.Time
	seen  atomic.Int64 // the last inbound frame, as nanoseconds after began

	mu    sync.Mutex
	took  [trips]time.Duration // guarded by mu
	count int                  // guarded by mu: of round trips measured
}

// beat takes note of a frame that came in.
func (p *pulse) beat() { p.seen.Store(int64(time.Since(p.began))) }

func (p *pulse) last() time.Time { return p.began.Add(time.Duration(p.seen.Load())) }

// ping is the payload of one sent now.
func (p *pulse) ping() []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(time.Since(p.began))) //nolint:gosec // not negative
}

// pong takes the payload of one that came; beyond most it answers no ping of ours.
func (p *pulse) pong(payload string, most time.Duration) {
	if len(payload) != 8 {
		return
	}
	trip := time.Since(p.began) - time.Duration(binary.BigEndian.Uint64([]byte(payload)))
	if trip < 0 || trip > most {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took[p.count%trips] = trip
	p.count++
}

// average is that of the last round trips; false: none yet.
func (p *pulse) average() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(p.count, trips)
	if n == 0 {
		return 0, false
	}
	var sum time.Duration
	for _, d := range p.took[:n] {
		sum += d
	}
	return sum / time.Duration(n), true
}
