package feed

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	kept     = 8192     // newest entries every stream reads from memory, at least; at most twice as many
	held     = 16 << 20 // bytes of messages among them, at least; at most twice as many and what one read brings, as many at most
	tailRead = 1000
	pollTail = time.Second // should no doorbell come
)

// tail is the newest part of the log, read once for all streams of this node.
type tail struct {
	wake wait.Flag
	hub  *hub.Hub[topic]

	mu    sync.Mutex
	ready chan struct{} // guarded by mu: closed once state is known
	state state         // guarded by mu: its pos and mark are those of the last entry here
	items []Item        // guarded by mu: dense, up to state.pos
	bytes int           // guarded by mu: of the messages in items
	index index         // guarded by mu: of items
}

func newTail() *tail {
	return &tail{wake: wait.NewFlag(), hub: hub.New[topic](), index: index{}, ready: make(chan struct{})}
}

// follow reads the log as it grows, until ctx ends.
func (s *Service) follow(ctx context.Context) {
	tick := time.NewTicker(pollTail)
	defer tick.Stop()
	said := false // that it cannot be read, which no outage explains
	for {
		for {
			more, err := s.readOn(ctx)
			level := slog.LevelDebug
			if broken := postgres.Broken(err); broken != said {
				if said = broken; broken {
					level = slog.LevelError
				}
			}
			if err != nil && ctx.Err() == nil {
				s.o.Log.Log(ctx, level, "reading the log", "error", err)
			}
			if !more || err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.tail.wake:
		}
	}
}

// readOn takes the next entries into the tail, and tells whose they are. All is
// read of one server: with the entries of one and the messages of another, which
// may lack some, those would be told as deleted.
func (s *Service) readOn(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	db, release, err := oneOf(ctx, s.o.Vital)
	if err != nil {
		return false, fmt.Errorf("reading the log: %w", err)
	}
	defer release()
	last, mark := s.tail.end()
	now, list, err := loadTail(ctx, db, last, mark, tailRead)
	if err != nil {
		return false, err
	}
	if known := s.tail.enter(now); !known || len(list) == 0 {
		return false, nil
	}
	items, err := s.fill(ctx, db, list, held, func(e Entry) bool { return s.tail.hub.Watched(topic{id: e.Channel}) })
	if err != nil {
		return false, err
	}
	s.tail.push(items)
	if s.o.Created != nil {
		for _, e := range list {
			if e.Kind == Created {
				s.o.Created(e)
			}
		}
	}
	return len(list) == tailRead, nil
}

// end is the last entry here, and its mark.
func (t *tail) end() (pos, mark int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.pos, t.state.mark
}

// enter compares the database's state with ours, as it is read for where the
// tail ends. A history that is another one, or has lost what we have, starts
// the tail anew.
func (t *tail) enter(now state) (known bool) {
	t.mu.Lock()
	first := false
	select {
	case <-t.ready:
	default:
		first = true
		close(t.ready)
	}
	same := !first && now.epoch == t.state.epoch && now.pos >= t.state.pos && now.standing == t.state.mark
	forgotten := !first && now.epoch == t.state.epoch && now.floor > t.state.pos // streams find that out by the table
	if same {
		t.state.floor, t.state.secret = now.floor, now.secret
	} else {
		now.turn = t.state.turn
		if !first && !forgotten {
			now.turn++
		}
		t.state, t.items, t.bytes, t.index = now, nil, 0, index{}
	}
	if !same && !first { // with the lock: whoever looks has been told
		t.hub.MarkAll()
	}
	t.mu.Unlock()
	return same
}

// push appends entries and says whose they are, both at once: whoever looks
// has been told of all that is here.
func (t *tail) push(items []Item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.items)+len(items) > 2*kept || t.bytes > 2*held {
		t.shrinkLocked()
	}
	t.items = append(t.items, items...)
	marked := map[topic]struct{}{}
	for _, it := range items {
		t.bytes += it.size
		it.concerns(func(k topic) {
			t.index.add(k, it.Pos)
			if _, twice := marked[k]; !twice {
				marked[k] = struct{}{}
				t.hub.Mark(k)
			}
		})
	}
	t.state.pos, t.state.mark = items[len(items)-1].Pos, items[len(items)-1].Mark
}

// shrinkLocked leaves the newest entries, and the messages of the newest of
// those. Streams still read the old ones: these move, and seldom.
func (t *tail) shrinkLocked() {
	t.items = append(make([]Item, 0, 2*kept), t.items[max(0, len(t.items)-kept):]...)
	t.bytes = 0
	for i := len(t.items) - 1; i >= 0; i-- {
		if it := &t.items[i]; t.bytes+it.size <= held {
			t.bytes += it.size
		} else {
			it.Body, it.loaded, it.size, it.memo = nil, false, 0, nil
		}
	}
	t.index.shrink(t.state.pos-int64(len(t.items)), t.hub.Watched)
}

// since is what came after pos; ok false: the tail does not reach
// back so far.
func (t *tail) since(pos int64) (items []Item, st state, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.state.pos - int64(len(t.items)) // the position before the first kept
	if pos < first {
		return nil, t.state, false
	}
	if pos > t.state.pos {
		return nil, t.state, true
	}
	return t.items[pos-first:], t.state, true
}

// news is what came after pos and concerns a subscription, by what was told it:
// whatever else came, it has no part in. all: it was told to look at everything.
// ok false: the tail does not reach back so far.
func (t *tail) news(sub *hub.Sub[topic], dirty map[topic]struct{}, pos int64) (items []Item, st state, all, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own, all, ok := t.newsLocked(sub, dirty, pos)
	for _, it := range own {
		items = append(items, *it)
	}
	return items, t.state, all, ok
}

// latest is news of which the items are the tail's own: nobody changes them.
func (t *tail) latest(sub *hub.Sub[topic], dirty map[topic]struct{}, pos int64) (items []*Item, st state, all, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	items, all, ok = t.newsLocked(sub, dirty, pos)
	return items, t.state, all, ok
}

func (t *tail) newsLocked(sub *hub.Sub[topic], dirty map[topic]struct{}, pos int64) (items []*Item, all, ok bool) {
	told, all := sub.Take()
	for _, k := range told {
		dirty[k] = struct{}{}
	}
	if all {
		return nil, true, true
	}
	at, ok := t.index.since(dirty, pos)
	first := t.state.pos - int64(len(t.items))
	if len(at) > 0 {
		items = make([]*Item, len(at))
	}
	for i, p := range at {
		items[i] = &t.items[p-first-1]
	}
	return items, false, ok
}

// turns is how often the database turned out to be another than before.
func (t *tail) turns() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.turn
}

// known waits for the first look at the database.
func (t *tail) known(ctx context.Context) (state, error) {
	t.mu.Lock()
	ready := t.ready
	t.mu.Unlock()
	select {
	case <-ready:
	case <-ctx.Done():
		return state{}, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, nil
}
