// Package clock is the one clock of the server: the database's time, estimated
// locally. Nodes whose own clocks disagree still agree on when a status
// expires or a grace is over. Alarm is the one timer queue, run by it.
package clock

import (
	"sync"
	"time"
)

const (
	window = 8                      // samples kept; the one with the shortest round trip counts
	slack  = 100 * time.Millisecond // beyond what the round trips explain, a difference is a step
)

type sample struct {
	offset, trip time.Duration
}

// Clock estimates the database's time by Cristian's method: the answer was
// made half a round trip ago, give or take the other half. The zero value and
// New both read as local time until the first observation.
type Clock struct {
	mu      sync.Mutex
	samples []sample      // guarded by mu, oldest first
	offset  time.Duration // guarded by mu: of the best sample
	told    time.Time     // guarded by mu: the latest instant that Now answered
}

// New is a clock that has observed nothing yet.
func New() *Clock { return &Clock{} }

// Now is the database's time as far as known. A better estimate never takes it
// back, so that what happened later on this node is never earlier: it stands
// until the estimate has caught up. Only a step takes it back.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now().Add(c.offset); now.After(c.told) {
		c.told = now
	}
	return c.told
}

// Until is how long t is away.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Observe takes in that the database said db between two local instants. A
// step of either clock is followed at once; jitter is not, see Now.
func (c *Clock) Observe(sent, received, db time.Time) {
	trip := received.Sub(sent)
	if trip < 0 {
		return
	}
	// Round: the offset is between two wall clocks, whatever the monotonic one did.
	now := sample{offset: db.Sub(sent.Round(0).Add(trip / 2)), trip: trip}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.samples); n > 0 {
		best := c.best()
		if d := now.offset - best.offset; d.Abs() > (now.trip+best.trip)/2+slack {
			c.samples, c.told = nil, time.Time{}
		} else if n == window {
			c.samples = append(c.samples[:0], c.samples[1:]...)
		}
	}
	c.samples = append(c.samples, now)
	c.offset = c.best().offset
}

func (c *Clock) best() sample {
	b := c.samples[0]
	for _, s := range c.samples[1:] {
		if s.trip <= b.trip {
			b = s
		}
	}
	return b
}
