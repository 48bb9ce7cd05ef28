package typing

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/roster"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Room is who the viewer sees typing in one room, now; false: a room it may
// not see.
func (s *Service) Room(ctx context.Context, v viewer.Viewer, r Room) (RoomTyping, bool, error) {
	rooms, err := s.readable(ctx, v, []Room{r})
	if err != nil || rooms == nil {
		return RoomTyping{}, false, err
	}
	list := s.board.typing(roomKey{v.Tenant, r.Channel, r.Thread})
	may, err := s.o.Privacy.Typists(ctx, v, users(list))
	if err != nil {
		return RoomTyping{}, false, err
	}
	people, err := roster.People(ctx, s.o.Pool, v.Tenant, users(list))
	if err != nil {
		return RoomTyping{}, false, err
	}
	return picture(rooms[0], list, may, people), true, nil
}

func users(list []raw) []uuid.UUID {
	out := make([]uuid.UUID, len(list))
	for i, t := range list {
		out[i] = t.user
	}
	return out
}

func picture(r Room, list []raw, may map[uuid.UUID]bool, people map[uuid.UUID]roster.Person) RoomTyping {
	t := RoomTyping{Room: r}
	for _, x := range list {
		if may[x.user] {
			p := people[x.user]
			t.all = append(t.all, User{UserID: x.user, DisplayName: p.DisplayName, AvatarURL: p.AvatarURL, StartedAt: x.started})
		}
	}
	return t
}

// readable are rooms as the viewer may read them, each with its own word
// (a direct conversation named as a channel is one all the same); nil: there is
// one it may not see, or that does not exist.
func (s *Service) readable(ctx context.Context, v viewer.Viewer, rooms []Room) ([]Room, error) {
	if v.Denied() != nil {
		return nil, nil
	}
	places := make([]roster.Place, len(rooms))
	for i, r := range rooms {
		places[i] = r.place()
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rights, err := roster.Readable(ctx, s.o.Pool, v.Tenant, v.User, places)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(rooms)
	for i, a := range rights {
		if !a.Allowed || rooms[i].Direct && !a.Direct {
			return nil, nil
		}
		out[i].Direct = a.Direct && out[i].Thread == uuid.Nil
	}
	return out, nil
}

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

// Watch streams who types in rooms: first each, then those whose picture
// changed for this viewer, the first change at once and further ones together.
// It ends with an error when a room may no longer be seen; fail gets it.
func (s *Service) Watch(ctx context.Context, v viewer.Viewer, rooms []Room, fail func(error)) (<-chan []RoomTyping, error) {
	st := &stream{s: s, v: v, rooms: map[roomKey]Room{}, wake: wait.NewFlag(), told: map[roomKey]RoomTyping{},
		later: map[roomKey]struct{}{}, dirty: map[roomKey]struct{}{}}
	for _, r := range rooms {
		at := roomKey{v.Tenant, r.Channel, r.Thread}
		if _, twice := st.rooms[at]; !twice {
			st.order = append(st.order, at)
		}
		st.rooms[at] = r
	}
	s.enter(st) // before it is asked what may be seen: a change meanwhile has it asked again
	named, err := s.readable(ctx, v, rooms)
	if err == nil && named == nil {
		err = fault.Access()
	}
	if err != nil {
		s.leave(st)
		return nil, err
	}
	for _, r := range named {
		st.rooms[roomKey{v.Tenant, r.Channel, r.Thread}] = r
	}
	st.sub = s.board.hub.Subscribe(st.order...)
	st.gate = s.o.Privacy.Gate(v)
	out := make(chan []RoomTyping)
	go func() {
		defer close(out)
		if err := st.run(ctx, out); err != nil && ctx.Err() == nil {
			fail(err)
		}
	}()
	return out, nil
}

func (s *Service) enter(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range st.rooms {
		if s.streams[at.Channel] == nil {
			s.streams[at.Channel] = map[*stream]struct{}{}
		}
		s.streams[at.Channel][st] = struct{}{}
	}
}

func (s *Service) leave(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range st.rooms {
		delete(s.streams[at.Channel], st)
		if len(s.streams[at.Channel]) == 0 {
			delete(s.streams, at.Channel)
		}
	}
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
		if _, ok := st.people[u]; !ok && may[u] {
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
	return picture(st.rooms[at], list, may, st.people), nil
}
