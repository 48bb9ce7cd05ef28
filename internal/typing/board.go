package typing

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
)

// Expiry is how long an accepted signal shows.
const Expiry = 5 * time.Second

// spot is a room of a tenant.
type spot struct {
	Tenant  string
	Channel uuid.UUID
	Thread  uuid.UUID
}

// signal is one session's word that it types, or no longer does.
type signal struct {
	spot
	user    uuid.UUID
	session uuid.UUID // uuid.Nil: over HTTP
	at      time.Time
	stop    bool
}

// hand is one device of a typist. It keeps the time of its last word also
// after a stop, so that words that overtake each other on the way are told apart.
type hand struct {
	at     time.Time
	typing bool
}

func (h hand) ends() time.Time { return h.at.Add(Expiry) }

// types reports whether the word still holds.
func (h hand) types(now time.Time) bool { return h.typing && h.ends().After(now) }

type typist struct {
	started time.Time
	hands   map[uuid.UUID]hand
}

// until is when the typist stops by itself; zero: it does not type.
func (t *typist) until(now time.Time) time.Time {
	var last time.Time
	for _, h := range t.hands {
		if h.types(now) && h.ends().After(last) {
			last = h.ends()
		}
	}
	return last
}

type mark struct {
	spot
	user uuid.UUID
}

// board is who types where, as far as this node was told.
type board struct {
	clock *clock.Clock
	hub   *hub.Hub[spot]
	alarm *clock.Alarm[mark]

	mu    sync.Mutex
	rooms map[spot]map[uuid.UUID]*typist // guarded by mu
}

func newBoard(c *clock.Clock) *board {
	b := &board{clock: c, hub: hub.New[spot](), rooms: map[spot]map[uuid.UUID]*typist{}}
	b.alarm = clock.NewAlarm(c, b.due)
	return b
}

func (b *board) run(ctx context.Context) { b.alarm.Run(ctx) }

// apply takes a signal in; until is when its user stops by itself.
func (b *board) apply(s signal) (until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	if !s.at.Add(Expiry).After(now) {
		return time.Time{} // over before it came
	}
	room := b.rooms[s.spot]
	if room == nil {
		room = map[uuid.UUID]*typist{}
		b.rooms[s.spot] = room
	}
	t := room[s.user]
	if t == nil {
		t = &typist{hands: map[uuid.UUID]hand{}}
		room[s.user] = t
	}
	if old, ok := t.hands[s.session]; ok && !s.at.After(old.at) {
		return t.until(now) // an older word
	}
	was := t.until(now)
	t.hands[s.session] = hand{at: s.at, typing: !s.stop}
	is := t.until(now)
	if was.IsZero() && !is.IsZero() {
		t.started = s.at
	}
	b.changedLocked(s.spot, s.user, t, was.IsZero() != is.IsZero())
	return is
}

// changedLocked sets the alarm for whatever ends next, and tells watchers.
func (b *board) changedLocked(s spot, user uuid.UUID, t *typist, tell bool) {
	next := time.Time{}
	for _, h := range t.hands {
		if next.IsZero() || h.ends().Before(next) {
			next = h.ends()
		}
	}
	b.alarm.Set(mark{s, user}, next)
	if tell {
		b.hub.Mark(s)
	}
}

// due forgets hands whose time is over.
func (b *board) due(marks []mark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	for _, m := range marks {
		t := b.rooms[m.spot][m.user]
		if t == nil {
			continue
		}
		gone := false
		for session, h := range t.hands {
			if !h.ends().After(now) {
				gone = gone || h.typing
				delete(t.hands, session)
			}
		}
		if len(t.hands) > 0 {
			b.changedLocked(m.spot, m.user, t, gone && t.until(now).IsZero())
			continue
		}
		delete(b.rooms[m.spot], m.user)
		if len(b.rooms[m.spot]) == 0 {
			delete(b.rooms, m.spot)
		}
		if gone {
			b.hub.Mark(m.spot)
		}
	}
}

// silence stops every device of a user in a room that typed by an instant.
func (b *board) silence(s spot, user uuid.UUID, by time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.rooms[s][user]
	if t == nil {
		return
	}
	now := b.clock.Now()
	was := t.until(now)
	for session, h := range t.hands {
		if !h.at.After(by) {
			t.hands[session] = hand{at: by}
		}
	}
	b.changedLocked(s, user, t, was.IsZero() != t.until(now).IsZero())
}

// words takes back all that a user's devices said in a room.
func (b *board) words(s spot, user uuid.UUID) []signal {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.rooms[s][user]
	if t == nil {
		return nil
	}
	now := b.clock.Now()
	var out []signal
	for session, h := range t.hands {
		if h.types(now) {
			out = append(out, signal{spot: s, user: user, session: session, at: now, stop: true})
		}
	}
	return out
}

// of takes back all that a session said, in every room.
func (b *board) of(user *uuid.UUID, session uuid.UUID) []signal {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	var out []signal
	for s, room := range b.rooms {
		for u, t := range room {
			if h, ok := t.hands[session]; ok && h.types(now) && (user == nil || *user == u) {
				out = append(out, signal{spot: s, user: u, session: session, at: now, stop: true})
			}
		}
	}
	return out
}

// raw is somebody typing, before any viewer.
type raw struct {
	user    uuid.UUID
	started time.Time
}

// typing is who types in a room, by when they began, then by id.
func (b *board) typing(s spot) []raw {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	var out []raw
	for u, t := range b.rooms[s] {
		if !t.until(now).IsZero() {
			out = append(out, raw{u, t.started})
		}
	}
	slices.SortFunc(out, func(a, c raw) int {
		if d := a.started.Compare(c.started); d != 0 {
			return d
		}
		return bytes.Compare(a.user[:], c.user[:])
	})
	return out
}

// until is when a user stops by itself in a room; zero: it does not type.
func (b *board) until(s spot, user uuid.UUID) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.rooms[s][user]; t != nil {
		return t.until(b.clock.Now())
	}
	return time.Time{}
}

// inChannel is who types in a channel and its threads.
func (b *board) inChannel(channel uuid.UUID) map[spot][]uuid.UUID {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[spot][]uuid.UUID{}
	for s, room := range b.rooms {
		if s.Channel != channel {
			continue
		}
		for u := range room {
			out[s] = append(out[s], u)
		}
	}
	return out
}

// channels are those where somebody types.
func (b *board) channels() []uuid.UUID {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[uuid.UUID]struct{}{}
	for s := range b.rooms {
		seen[s.Channel] = struct{}{}
	}
	return slices.Collect(maps.Keys(seen))
}
