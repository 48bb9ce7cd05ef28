package typing

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
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
	defer s.interest.hear(ctx, r.Channel)()
	list := s.board.typing(roomKey{v.Tenant, r.Channel, r.Thread})
	may, err := s.o.Privacy.Typists(ctx, v, padded(users(list)))
	if err != nil {
		return RoomTyping{}, false, err
	}
	seen := slices.DeleteFunc(users(list), func(u uuid.UUID) bool { _, is := may[u]; return !is })
	people, err := roster.People(ctx, s.o.Pool, v.Tenant, padded(seen))
	if err != nil {
		return RoomTyping{}, false, err
	}
	now, _ := picture(rooms[0], list, may, people)
	return now, true, nil
}

// among is how many the database is asked for at least, and a multiple of how many
// always: one who types and is hidden is not to be found by the time an answer takes.
const among = 8

// padded are ids and some of nobody's.
func padded(ids []uuid.UUID) []uuid.UUID {
	for len(ids) == 0 || len(ids)%among != 0 {
		ids = append(ids, uuid.New())
	}
	return ids
}

func users(list []raw) []uuid.UUID {
	out := make([]uuid.UUID, len(list))
	for i, t := range list {
		out[i] = t.user
	}
	return out
}

// picture is who of list is shown, by when they began, then by id; later: those
// who will be, with their next word.
func picture(r Room, list []raw, may map[uuid.UUID]time.Time, people map[uuid.UUID]roster.Person) (t RoomTyping, later []raw) {
	t.Room = r
	for _, x := range list {
		before, ok := may[x.user]
		if !ok {
			continue
		}
		began, ok := x.after(before)
		if !ok {
			later = append(later, x)
			continue
		}
		p := people[x.user]
		t.all = append(t.all, User{UserID: x.user, DisplayName: p.DisplayName, AvatarURL: p.AvatarURL, StartedAt: began})
	}
	slices.SortFunc(t.all, func(a, b User) int {
		if by := a.StartedAt.Compare(b.StartedAt); by != 0 {
			return by
		}
		return bytes.Compare(a.UserID[:], b.UserID[:])
	})
	return t, later
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
			s.interest.enter(at.Channel)
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
		if _, there := s.streams[at.Channel]; there && len(s.streams[at.Channel]) == 0 {
			delete(s.streams, at.Channel)
			s.interest.leave(at.Channel)
		}
	}
}
