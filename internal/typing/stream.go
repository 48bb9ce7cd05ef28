package typing

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/roster"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	peopleKept = time.Minute // how long a stream remembers what somebody is called
	askAgain   = time.Second // after a read that failed
)

// stream is one viewer's subscription to some rooms.
type stream struct {
	s     *Service
	v     viewer.Viewer
	rooms map[roomKey]Room
	order []roomKey
	gate  Gate
	sub   *hub.Sub[roomKey]
	wake  wait.Flag

	people map[uuid.UUID]roster.Person
	read   time.Time // people: since then
	told   map[roomKey]RoomTyping
	doubt  bool                 // whether the rooms may still be seen could not be asked
	later  map[roomKey]struct{} // who may be seen in them could not be asked

	mu    sync.Mutex
	dirty map[roomKey]struct{} // guarded by mu
	check bool                 // guarded by mu: whether the rooms may still be seen
}

func (st *stream) recheck() {
	st.mu.Lock()
	st.check = true
	st.mu.Unlock()
	st.wake.Raise()
}

func (st *stream) note(keys []roomKey) {
	st.mu.Lock()
	for _, at := range keys {
		st.dirty[at] = struct{}{}
	}
	st.mu.Unlock()
	st.wake.Raise()
}

func (st *stream) run(ctx context.Context, out chan<- []RoomTyping) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer func() {
		st.s.leave(st)
		st.sub.Close()
		st.gate.Close()
	}()
	wg.Go(func() {
		for {
			keys, all, err := st.sub.Next(ctx)
			if err != nil {
				return
			}
			if all {
				keys = st.order
			}
			st.note(keys)
		}
	})
	wg.Go(func() {
		for st.gate.Changed(ctx) == nil {
			st.note(st.order)
		}
	})
	first := true
	var retry <-chan time.Time // of what could not be asked; nil: nothing
	st.note(st.order)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-st.wake:
		case <-retry:
			retry = nil
			st.lookAgain()
		}
		list, err := st.changes(ctx, first)
		if err != nil {
			return err
		}
		if retry == nil && (st.doubt || len(st.later) > 0) {
			retry = time.After(askAgain)
		}
		if len(list) == 0 && !first {
			continue
		}
		select {
		case out <- list:
		case <-ctx.Done():
			return ctx.Err()
		}
		first = false
		if !wait.For(ctx, st.s.o.Batch) {
			return ctx.Err()
		}
	}
}

// lookAgain marks what could not be asked.
func (st *stream) lookAgain() {
	st.mu.Lock()
	defer st.mu.Unlock()
	maps.Copy(st.dirty, st.later)
	clear(st.later)
	st.check = st.check || st.doubt
}

// changes are the rooms whose picture differs from what was told.
func (st *stream) changes(ctx context.Context, first bool) ([]RoomTyping, error) {
	st.mu.Lock()
	dirty, check := st.dirty, st.check
	st.dirty, st.check = map[roomKey]struct{}{}, false
	st.mu.Unlock()
	if check {
		if err := st.still(ctx); err != nil {
			return nil, err
		}
		for _, at := range st.order {
			dirty[at] = struct{}{}
		}
	}
	out := []RoomTyping{}
	for _, at := range st.order {
		if _, ok := dirty[at]; !ok {
			continue
		}
		now, err := st.look(ctx, at)
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			now = RoomTyping{Room: st.rooms[at]} // on doubt nobody types, until it can be asked
			st.later[at] = struct{}{}
		}
		if old := st.told[at]; first || !old.same(now) {
			st.told[at] = now
			out = append(out, now)
		}
	}
	return out, nil
}

// still ends the stream when one of its rooms may no longer be seen. While
// that cannot be asked, nobody is shown.
func (st *stream) still(ctx context.Context) error {
	rooms := make([]Room, 0, len(st.order))
	for _, at := range st.order {
		rooms = append(rooms, st.rooms[at])
	}
	named, err := st.s.readable(ctx, st.v, rooms)
	if err == nil && named == nil {
		return fault.Access()
	}
	st.doubt = err != nil
	return nil
}

func (st *stream) look(ctx context.Context, at roomKey) (RoomTyping, error) {
	if st.doubt {
		return RoomTyping{Room: st.rooms[at]}, nil
	}
	list := st.s.board.typing(at)
	ids := users(list)
	may, err := st.gate.May(ctx, ids)
	if err != nil {
		return RoomTyping{}, err
	}
	if time.Since(st.read) > peopleKept {
		st.people, st.read = map[uuid.UUID]roster.Person{}, time.Now()
	}
	var unknown []uuid.UUID
	for _, u := range ids {
		_, seen := may[u]
		if _, ok := st.people[u]; !ok && seen {
			unknown = append(unknown, u)
		}
	}
	if len(unknown) > 0 {
		people, err := roster.People(ctx, st.s.o.Pool, st.v.Tenant, unknown)
		if err != nil {
			return RoomTyping{}, err
		}
		for id, p := range people {
			st.people[id] = p
		}
	}
	now, later := picture(st.rooms[at], list, may, st.people)
	for _, x := range later {
		st.s.board.await(at, x)
	}
	return now, nil
}
