package typing

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/roster"
)

// changed are the rooms to be looked at whose picture differs from what was told. On
// an error nothing of it counts as looked at.
func (c *Changes) changed(look func(*shown) (RoomTyping, error)) (out []RoomTyping, err error) {
	for _, x := range c.shown {
		x.next = RoomTyping{}
	}
	for _, x := range c.shown {
		if x.dirty {
			if x.next, err = look(x); err != nil {
				return nil, err
			}
		}
	}
	for _, x := range c.shown {
		if !x.dirty {
			continue
		}
		now := x.next
		x.dirty, x.next = false, RoomTyping{}
		if !x.told.same(now) {
			x.told = now
			out = append(out, now)
		}
	}
	if len(out) > 0 {
		c.rests = time.Now().Add(c.s.o.Batch)
	}
	return out, nil
}

// first is every room as it is when the stream begins, by one read of one shape whoever
// types: that somebody hidden does is not to be told by how long it takes. All stay to be
// looked at, by the gate, when the stream has rested.
func (c *Changes) first(ctx, within context.Context) ([]RoomTyping, error) {
	lists, all := make([][]raw, len(c.shown)), map[uuid.UUID]struct{}{}
	for i, x := range c.shown {
		lists[i] = c.s.board.typing(x.at)
		for _, y := range lists[i] {
			all[y.user] = struct{}{}
		}
	}
	may, err := c.s.o.Privacy.Typists(within, c.v, padded(slices.Collect(maps.Keys(all))))
	if err == nil && len(may) > 0 {
		var people map[uuid.UUID]roster.Person
		if people, err = roster.People(within, c.s.o.Pool, c.v.Tenant, slices.Collect(maps.Keys(may))); err == nil {
			c.people, c.read = people, time.Now()
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil || c.doubt { // nobody types
		may = nil
	}
	out := make([]RoomTyping, len(c.shown))
	for i, x := range c.shown {
		x.told, _ = picture(x.room, lists[i], may, c.people)
		out[i] = x.told
	}
	c.begun, c.rests = true, time.Now().Add(c.s.o.Batch)
	askLater(c)
	return out, nil
}

// still ends the stream when one of its rooms may no longer be seen. While
// that cannot be asked, nobody is shown.
func (c *Changes) still(ctx context.Context) error {
	rooms := make([]Room, 0, len(c.shown))
	for _, x := range c.shown {
		rooms = append(rooms, x.room)
	}
	readable, err := c.s.readable(ctx, c.v, rooms)
	if err == nil && readable == nil {
		return fault.Access()
	}
	c.doubt, c.check = err != nil, false
	return nil
}

// look is a room as it is now. On doubt nobody types, until it can be asked.
func (c *Changes) look(ctx context.Context, x *shown) RoomTyping {
	now, err := c.see(x, func(ids []uuid.UUID) (map[uuid.UUID]time.Time, error) { return c.gate.May(ctx, ids) },
		func(ids []uuid.UUID) error {
			people, err := roster.People(ctx, c.s.o.Pool, c.v.Tenant, ids)
			for id, p := range people {
				c.people[id] = p
			}
			return err
		})
	if err != nil {
		now, x.later = RoomTyping{Room: x.room}, true
	}
	return now
}

// errAsk: somebody who may wait is to ask.
var errAsk = errors.New("to be asked")

// peek is look where that needs nobody to wait; its error: it does.
func (c *Changes) peek(x *shown) (RoomTyping, error) {
	return c.see(x, func(ids []uuid.UUID) (map[uuid.UUID]time.Time, error) {
		if may, ok := c.gate.Peek(ids); ok {
			return may, nil
		}
		return nil, errAsk
	}, func([]uuid.UUID) error { return errAsk })
}

// see is who the viewer sees in a room: whose typing it may see says may, after it is
// known who types; name puts those of them into people that are not there.
func (c *Changes) see(x *shown, may func([]uuid.UUID) (map[uuid.UUID]time.Time, error), name func([]uuid.UUID) error) (RoomTyping, error) {
	if c.doubt {
		return RoomTyping{Room: x.room}, nil
	}
	list := c.s.board.typing(x.at)
	if len(list) == 0 {
		return RoomTyping{Room: x.room}, nil
	}
	ids := users(list)
	visible, err := may(ids)
	if err != nil {
		return RoomTyping{}, err
	}
	if time.Since(c.read) > peopleKept {
		c.people, c.read = map[uuid.UUID]roster.Person{}, time.Now()
	}
	var unknown []uuid.UUID
	for _, u := range ids {
		_, seen := visible[u]
		if _, ok := c.people[u]; !ok && seen {
			unknown = append(unknown, u)
		}
	}
	if len(unknown) > 0 {
		if err := name(unknown); err != nil {
			return RoomTyping{}, err
		}
	}
	now, later := picture(x.room, list, visible, c.people)
	for _, y := range later {
		c.s.board.await(x.at, y)
	}
	return now, nil
}
