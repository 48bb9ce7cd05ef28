package events

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// threads tells a viewer how far it is in the threads it follows, as unread does of
// channels. Which those are is read once, when somebody first writes in a thread; from
// then on the log says what changed of it. So a thread that a viewer does not follow
// costs it nothing, however busy.
type threads struct {
	*unread[receipt.ThreadState]
	list func(context.Context) ([]uuid.UUID, error)

	mu       sync.Mutex
	followed map[uuid.UUID]struct{} // guarded by mu; nil: not read yet
}

func newThreads(every time.Duration, read func(context.Context, []uuid.UUID) ([]receipt.ThreadState, error),
	list func(context.Context) ([]uuid.UUID, error), tell func(context.Context, receipt.ThreadState) error) *threads {
	t := &threads{list: list}
	t.unread = unreadOf(every, func(ctx context.Context, ids []uuid.UUID) ([]receipt.ThreadState, error) {
		states, err := read(ctx, ids)
		t.keep(states)
		return states, err
	}, tell)
	return t
}

// keep takes in which threads are followed as they were read.
func (t *threads) keep(states []receipt.ThreadState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range states {
		switch {
		case t.followed == nil: // the list will say
		case s.Followed:
			t.followed[s.ThreadID] = struct{}{}
		default:
			delete(t.followed, s.ThreadID)
		}
	}
}

// inThread reports whether an entry may change how much others have to read in its thread.
func inThread(it feed.Item, user uuid.UUID) bool {
	return it.Thread != uuid.Nil && it.User != user && (it.Kind == feed.Created || it.Kind == feed.Updated || it.Kind == feed.Deleted)
}

// ofThreads reports whether entries may change how much there is to read in a thread.
func ofThreads(items []feed.Item, user uuid.UUID) bool {
	return slices.ContainsFunc(items, func(it feed.Item) bool { return it.Kind == feed.Opened || inThread(it, user) })
}

// heard notes what others did in threads that the viewer follows, and whatever it
// follows where a channel was opened or emptied.
func (t *threads) heard(ctx context.Context, items []feed.Item, user uuid.UUID) error {
	if !ofThreads(items, user) {
		return nil
	}
	if err := t.begin(ctx); err != nil {
		return err
	}
	anew := slices.IndexFunc(items, func(it feed.Item) bool { return it.Kind == feed.Opened }) // in which channel a thread is, is not kept
	t.mu.Lock()
	defer t.mu.Unlock()
	if anew >= 0 {
		for thread := range t.followed {
			t.changed(thread, items[anew].Pos)
		}
	}
	for _, it := range items {
		if _, follows := t.followed[it.Thread]; follows && inThread(it, user) {
			t.changed(it.Thread, it.Pos)
		}
	}
	return nil
}

// begin reads which threads are followed, if that is not known.
func (t *threads) begin(ctx context.Context) error {
	t.mu.Lock()
	known := t.followed != nil
	t.mu.Unlock()
	if known {
		return nil
	}
	list, err := t.list(ctx)
	if err != nil {
		return err
	}
	t.know(list)
	return nil
}

// know says which threads are followed.
func (t *threads) know(list []uuid.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.followed = make(map[uuid.UUID]struct{}, len(list))
	for _, id := range list {
		t.followed[id] = struct{}{}
	}
}

// anew is unread's, of which are followed too.
func (t *threads) anew(tell func() error) error {
	return t.unread.anew(func() error {
		t.mu.Lock()
		t.followed = nil
		t.mu.Unlock()
		return tell()
	})
}
