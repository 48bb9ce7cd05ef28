package events

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	deliverLag = time.Second // a message counts as delivered so long after it was handed over
	ackLimit   = 10 * time.Second
)

// deliverer counts what was handed over as delivered, for connections that ask
// for it.
type deliverer struct {
	ack  func(context.Context, receipt.Mark) error
	wake wait.Flag

	mu      sync.Mutex
	pending map[uuid.UUID]receipt.Mark // guarded by mu: the newest of each channel
}

func newDeliverer(ack func(context.Context, receipt.Mark) error) *deliverer {
	return &deliverer{ack: ack, wake: wait.NewFlag(), pending: map[uuid.UUID]receipt.Mark{}}
}

// note says that a message was handed over. It never blocks.
func (d *deliverer) note(m receipt.Mark) {
	d.mu.Lock()
	d.pending[m.Channel] = m
	d.mu.Unlock()
	d.wake.Raise()
}

// run acknowledges until ctx ends. What was handed over within the last moment
// is forgotten then: whether it arrived nobody knows, and the client comes back
// for it.
func (d *deliverer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		if !wait.For(ctx, deliverLag) {
			return
		}
		d.flush(ctx)
	}
}

func (d *deliverer) flush(ctx context.Context) {
	d.mu.Lock()
	marks := d.pending
	d.pending = map[uuid.UUID]receipt.Mark{}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	for _, m := range marks { // each by itself: a channel left meanwhile is no reason against the others
		_ = d.ack(ctx, m) // the next message's mark covers it
	}
}
