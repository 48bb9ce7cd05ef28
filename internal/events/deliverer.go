package events

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	deliverLag = time.Second // a message counts as delivered so long after it was handed over
	ackLimit   = 10 * time.Second
	ackMost    = 30 * time.Second // between tries of what fails, at first firstWait, beside deliverLag
)

// deliverer counts what was handed over as delivered, for one viewer: however many
// of its streams are handed the same, it is acknowledged once. One of them at a time
// does it for all.
type deliverer struct {
	ack  func(context.Context, receipt.Mark) error
	lead chan struct{} // holds a token while one of the streams acknowledges
	wake wait.Flag

	mu      sync.Mutex
	streams map[*handed]struct{} // guarded by mu
}

// handed is what one stream handed over and nobody has acknowledged.
type handed struct {
	*deliverer
	leave   func()                  // forgets it: whether it arrived nobody knows, and the client comes back for it
	pending map[uuid.UUID]delivered // guarded by mu: the newest of each channel
}

// delivered is a message that was handed over, with its number in its channel.
type delivered struct {
	receipt.Mark
	seq int64
}

// delivering has a stream of a viewer's take part in its acknowledging, until it leaves.
func (s *Service) delivering(v viewer.Viewer) *handed {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.delivers[v.Key]
	if d == nil {
		d = newDeliverer(func(ctx context.Context, m receipt.Mark) error {
			_, err := s.o.Receipts.Acknowledge(ctx, v, []receipt.Mark{m}, false)
			return err
		}, s.o.Turn)
		s.delivers[v.Key] = d
	}
	h := d.stream()
	h.leave = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.drop(h) == 0 {
			delete(s.delivers, v.Key)
		}
	}
	return h
}

func newDeliverer(ack func(context.Context, receipt.Mark) error, turn wait.Turn) *deliverer {
	return &deliverer{lead: make(chan struct{}, 1), wake: wait.NewFlag(), streams: map[*handed]struct{}{},
		ack: func(ctx context.Context, m receipt.Mark) error {
			return turn.Do(ctx, func() error {
				ctx, cancel := context.WithTimeout(ctx, ackLimit)
				defer cancel()
				return ack(ctx, m)
			})
		}}
}

// stream begins one that is handed messages.
func (d *deliverer) stream() *handed {
	h := &handed{deliverer: d, pending: map[uuid.UUID]delivered{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams[h] = struct{}{}
	return h
}

// drop ends one, and says how many are left.
func (d *deliverer) drop(h *handed) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, h)
	return len(d.streams)
}

// note says that a message was handed over. It never blocks.
func (h *handed) note(m receipt.Mark, seq int64) {
	h.mu.Lock()
	h.pending[m.Channel] = delivered{m, seq}
	h.mu.Unlock()
	h.wake.Raise()
}

// run acknowledges until ctx ends, whenever no other stream does.
func (d *deliverer) run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case d.lead <- struct{}{}:
	}
	defer func() {
		<-d.lead
		d.wake.Raise() // whoever is next looks what is left
	}()
	var retry <-chan time.Time
	again := firstWait
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-retry:
		}
		if !wait.For(ctx, deliverLag) {
			return
		}
		if retry = nil; d.flush(ctx) {
			again = firstWait
			continue
		}
		retry, again = time.After(again/2+rand.N(again/2)), min(2*again, ackMost) // all viewers of a node must not ask in step
	}
}

// flush acknowledges the newest of each channel, each by itself: a channel left
// meanwhile is no reason against the others. One that is refused is dropped, and what was
// handed over before it is tried; false: something is left, to be tried again.
func (d *deliverer) flush(ctx context.Context) bool {
	all := true
	for _, m := range d.newest() {
		err := d.ack(ctx, m.Mark)
		if ctx.Err() != nil {
			return false // what is left is another stream's to acknowledge
		}
		f, refused := errors.AsType[*fault.Error](err)
		switch refused = refused && !f.Retryable; {
		case err == nil:
			d.settle(m, false)
		case refused:
			all = !d.settle(m, true) && all
		default:
			all = false
		}
	}
	return all
}

// newest are the newest messages of each channel that any stream was handed.
func (d *deliverer) newest() map[uuid.UUID]delivered {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[uuid.UUID]delivered{}
	for h := range d.streams {
		for c, m := range h.pending {
			if most, ok := out[c]; !ok || m.seq > most.seq {
				out[c] = m
			}
		}
	}
	return out
}

// settle takes off what a message covers, or it alone; left: another stream has one of its
// channel still.
func (d *deliverer) settle(m delivered, alone bool) (left bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for h := range d.streams {
		p, ok := h.pending[m.Channel]
		switch {
		case ok && (p == m || !alone && p.seq <= m.seq):
			delete(h.pending, m.Channel)
		case ok:
			left = true
		}
	}
	return left
}
