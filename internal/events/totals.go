package events

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// totals tells a viewer how much it has to read in all: at once, and where
// something may have changed it, once every while it goes on. One statement each.
type totals struct {
	every time.Duration
	read  func(context.Context) (receipt.Totals, error)
	tell  func(context.Context, receipt.Totals) error
	wake  wait.Flag
}

// heard looks whether entries may have changed the totals: what others do to
// them, and what the viewer has read or muted itself.
func (t *totals) heard(items []feed.Item, user uuid.UUID) {
	if slices.ContainsFunc(items, func(it feed.Item) bool {
		return affects(it, user) || inThread(it, user) || (it.Kind == feed.Mark || it.Kind == feed.Notify) && it.User == user
	}) {
		t.wake.Raise()
	}
}

// restAfter is how long what counts unread messages rests after a count that took so long:
// it takes a tenth of the time, however many there are, and is no more than this late.
func restAfter(took time.Duration) time.Duration { return min(9*took, 30*time.Second) }

// run tells until ctx ends or reading is given up.
func (t *totals) run(ctx context.Context) error {
	last, told := receipt.Totals{}, false
	for {
		asking, took := spending(ctx)
		now, err := t.read(asking)
		rest := max(t.every, restAfter(took()))
		if err != nil {
			return err
		}
		if !told || now != last {
			if err := t.tell(ctx, now); err != nil {
				return err
			}
		}
		last, told = now, true
		if !wait.For(ctx, rest) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		}
	}
}
