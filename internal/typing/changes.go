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

const (
	peopleKept = time.Minute // how long a stream remembers what somebody is called
	askAgain   = time.Second // after a read that failed
	// askMost is how long all is asked that a picture needs. Past that it is doubtful, and
	// nobody types: whoever does not any more is not to be shown until an answer comes.
	askMost = 900 * time.Millisecond
)

// Changes is Service.Watch for one who asks, instead of a channel: each room first,
// then those whose picture changed for this viewer, as they are when they are asked
// for. Its methods are for one goroutine at a time, but for Close.
type Changes struct {
	stream

	s *Service
	v viewer.Viewer

	mine  sync.Mutex // held by who reads, also while it waits; taken before any other
	gate  Gate       // guarded by mine, but for Woken
	sub   *hub.Sub[roomKey]
	shown []*shown    // guarded by mine
	begun bool        // guarded by mine: every room was told once
	check bool        // guarded by mine: whether the rooms may still be seen is to be asked
	doubt bool        // guarded by mine: that could not be asked
	rests time.Time   // guarded by mine: nothing more is told before
	retry time.Time   // guarded by mine: when what could not be asked is asked again; zero: there is nothing
	alarm *time.Timer // guarded by mine: wakes at one of these; nil: nothing waits for its time

	people map[uuid.UUID]roster.Person // guarded by mine
	read   time.Time                   // guarded by mine: people: since then
}

// shown is a room as the viewer was shown it.
type shown struct {
	at    roomKey
	room  Room
	told  RoomTyping
	next  RoomTyping // what it is to be shown as, while others are looked at too
	dirty bool       // to be looked at
	later bool       // who may be seen in it could not be asked
}

// Changes begins what Watch streams. Errors: access-denied where one of the rooms may
// not be seen, or is none.
func (s *Service) Changes(ctx context.Context, v viewer.Viewer, rooms []Room) (*Changes, error) {
	c := newChanges(s, v, rooms)
	s.enter(&c.stream) // before it is asked what may be seen: a change meanwhile has it asked again
	named, err := s.readable(ctx, v, rooms)
	if err == nil && named == nil {
		err = fault.Access()
	}
	if err != nil {
		s.leave(&c.stream)
		return nil, err
	}
	for _, r := range named {
		c.rooms[roomKey{v.Tenant, r.Channel, r.Thread}] = r
	}
	c.begin()
	return c, nil
}

func newChanges(s *Service, v viewer.Viewer, rooms []Room) *Changes {
	c := &Changes{s: s, v: v, stream: stream{rooms: make(map[roomKey]Room, len(rooms))}}
	for _, r := range rooms {
		at := roomKey{v.Tenant, r.Channel, r.Thread}
		if _, twice := c.rooms[at]; !twice {
			c.shown = append(c.shown, &shown{at: at})
		}
		c.rooms[at] = r
	}
	return c
}

// begin listens, and has every room looked at.
func (c *Changes) begin() {
	keys := make([]roomKey, len(c.shown))
	for i, x := range c.shown {
		x.room, x.dirty, keys[i] = c.rooms[x.at], true, x.at
	}
	c.sub = c.s.board.hub.Subscribe(keys...)
	c.gate = c.s.o.Privacy.Gate(c.v)
	c.sub.Woken(c.raise)
	c.gate.Woken(c.raise)
	c.gate.Keep(func() []uuid.UUID { return append(seenIn(c.shown), c.s.board.typists(maps.Keys(c.rooms))...) })
}

// Woken has f called whenever there may be more. f must not block.
func (c *Changes) Woken(f func()) { c.woken(f) }

// Close ends it; a Next that waits returns.
func (c *Changes) Close() {
	if !c.end() {
		return
	}
	c.mine.Lock()
	defer c.mine.Unlock()
	c.s.leave(&c.stream)
	c.sub.Close()
	c.gate.Close()
	c.wakeAt(time.Time{})
}

// Now is what changed, without waiting for anything: what memory has, and is sure of.
// Neither: nothing has changed, and what does wakes. ok false: Look is to be asked,
// which loses nothing by it.
func (c *Changes) Now() (list []RoomTyping, ok bool) {
	c.mine.Lock()
	defer c.mine.Unlock()
	if c.over() || !c.begun {
		return nil, false
	}
	for c.due() { // which has what is due later wake then
		if c.check { // that has to be read
			return nil, false
		}
		if list, err := c.changed(c.peek); err != nil || len(list) > 0 {
			return list, err == nil
		}
	}
	return nil, true
}

// Look is Now, and asks the database where that is needed. Errors: access-denied when
// a room may no longer be seen, ctx's, and hub.ErrClosed after Close.
func (c *Changes) Look(ctx context.Context) ([]RoomTyping, error) {
	c.mine.Lock()
	defer c.mine.Unlock()
	return c.ask(ctx)
}

// Next waits until something has changed. Errors: as Look. It is for one who does
// not ask to be woken.
func (c *Changes) Next(ctx context.Context) ([]RoomTyping, error) {
	c.mine.Lock()
	defer c.mine.Unlock()
	news := wait.NewFlag()
	c.woken(news.Raise)
	defer c.woken(nil)
	for {
		list, err := c.ask(ctx)
		if err != nil || len(list) > 0 {
			return list, err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ask is what changed, after all that is to be looked at now has been.
func (c *Changes) ask(ctx context.Context) ([]RoomTyping, error) {
	if c.over() {
		return nil, hub.ErrClosed
	}
	for c.due() {
		list, err := c.askOnce(ctx)
		if err != nil || len(list) > 0 {
			return list, err
		}
	}
	return nil, nil
}

// askOnce looks at all that is due, for askMost.
func (c *Changes) askOnce(ctx context.Context) ([]RoomTyping, error) {
	within, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	if c.check {
		err := c.still(within)
		if ctx.Err() != nil {
			c.check = true // nobody has asked
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		mark(c.shown)
	}
	if !c.begun {
		return c.first(ctx, within)
	}
	list, err := c.changed(func(x *shown) (RoomTyping, error) { return c.look(within, x), ctx.Err() })
	askLater(c)
	return list, err
}

// seenIn is who is shown in any of some rooms, or is about to be.
func seenIn(rooms []*shown) (list []uuid.UUID) {
	for _, x := range rooms {
		for _, u := range slices.Concat(x.told.all, x.next.all) {
			list = append(list, u.UserID)
		}
	}
	return list
}

// askLater has what could not be asked asked again.
func askLater(c *Changes) {
	if c.retry.IsZero() && c.unsure() {
		c.retry = time.Now().Add(askAgain)
	}
}

// mark has rooms looked at.
func mark(rooms []*shown) {
	for _, x := range rooms {
		x.dirty = true
	}
}

// due takes note of what came, and reports whether something is to be looked at: now,
// and not when the stream has rested or a read that failed may be tried again. What
// is not due wakes when it is.
func (c *Changes) due() bool {
	c.gather()
	at := c.retry
	if c.waits() {
		if !time.Now().Before(c.rests) {
			return true
		}
		at = c.rests
	}
	c.wakeAt(at)
	return false
}

// gather marks what is to be looked at.
func (c *Changes) gather() {
	if c.checks() {
		c.check = true
	}
	if !c.retry.IsZero() && !time.Now().Before(c.retry) {
		c.retry = time.Time{}
		c.check = c.check || c.doubt
		for _, x := range c.shown {
			x.dirty, x.later = x.dirty || x.later, false
		}
	}
	rooms, all := c.sub.Take()
	users, anybody := c.gate.Stale()
	if all || anybody {
		mark(c.shown)
		return
	}
	if len(rooms) > 0 || len(users) > 0 {
		where := c.s.board.where(users)
		for _, at := range rooms {
			where[at] = struct{}{}
		}
		concern(c.shown, where, users)
	}
}

// concern marks, of some rooms, those where something happened, as who changed types there
// and is not shown, and those in which who changed is shown. The others look as before.
func concern(rooms []*shown, where map[roomKey]struct{}, changed []uuid.UUID) {
	users := make(map[uuid.UUID]struct{}, len(changed))
	for _, u := range changed {
		users[u] = struct{}{}
	}
	for _, x := range rooms {
		_, here := where[x.at]
		x.dirty = x.dirty || here || x.told.shows(users)
	}
}

// waits reports whether something is to be looked at.
func (c *Changes) waits() bool {
	for _, x := range c.shown {
		if x.dirty {
			return true
		}
	}
	return c.check
}

// unsure reports whether something could not be asked.
func (c *Changes) unsure() bool {
	for _, x := range c.shown {
		if x.later {
			return true
		}
	}
	return c.doubt
}

// wakeAt wakes at an instant and no other; zero: at none.
func (c *Changes) wakeAt(at time.Time) {
	switch {
	case at.IsZero():
		if c.alarm != nil {
			c.alarm.Stop()
			c.alarm = nil
		}
	case c.alarm == nil:
		c.alarm = time.AfterFunc(time.Until(at), c.raise)
	default:
		c.alarm.Reset(time.Until(at))
	}
}
