package typing

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/roster"
	"github.com/nself-org/nchat-realtime/internal/viewer"
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
	c, err := s.Changes(ctx, v, rooms)
	if err != nil {
		return nil, err
	}
	out := make(chan []RoomTyping)
	go func() {
		defer close(out)
		if err := c.tell(ctx, out); ctx.Err() == nil {
			fail(err)
		}
	}()
	return out, nil
}

// tell tells all that changes, until ctx ends or the viewer may not see a room any
// more, and closes.
func (c *Changes) tell(ctx context.Context, out chan<- []RoomTyping) error {
	defer c.Close()
	for {
		list, err := c.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case out <- list:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
