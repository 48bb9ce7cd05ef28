package feed

import (
	"context"
	"sync"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// own is a stream's place among its viewer's that hold messages read for them alone,
// which nobody shares. It has it from before they are read until they have been told.
type own struct {
	mu   sync.Mutex
	done func() // guarded by mu; nil: it has none
	over bool   // guarded by mu: none is held any more
}

// hold waits for a place; already: it had one. Whoever waits has no turn.
func (o *own) hold(ctx context.Context, place wait.Turn) (already bool, err error) {
	o.mu.Lock()
	already = o.done != nil
	o.mu.Unlock()
	if already || place == nil {
		return true, nil
	}
	done, err := place(ctx)
	if err != nil {
		return false, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		done()
		return false, hub.ErrClosed
	}
	o.done = done
	return false, nil
}

// letGo gives the place back.
func (o *own) letGo() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done != nil {
		o.done()
		o.done = nil
	}
}

// end is letGo for good, by anybody.
func (o *own) end() {
	o.mu.Lock()
	o.over = true
	o.mu.Unlock()
	o.letGo()
}
