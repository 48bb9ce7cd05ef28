package typing

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
)

// typistKey is a user in a room.
type typistKey struct {
	roomKey
	user uuid.UUID
}

// board is who types where, as far as this node was told.
type board struct {
	clock *clock.Clock
	hub   *hub.Hub[roomKey]
	alarm *clock.Alarm[typistKey]

	mu    sync.Mutex
	rooms map[roomKey]map[uuid.UUID]*typist // guarded by mu
	index index                             // guarded by mu
}

func newBoard(c *clock.Clock) *board {
	b := &board{clock: c, hub: hub.New[roomKey](), rooms: map[roomKey]map[uuid.UUID]*typist{}, index: newIndex()}
	b.alarm = clock.NewAlarm(c, b.due)
	return b
}

func (b *board) run(ctx context.Context) { b.alarm.Run(ctx) }

// nearly is how far a device's last word may lie ahead of its next one, as a stop
// does, and be followed all the same: past that it came from a node whose clock is
// ahead, and the next word is the older one.
const nearly = 100 * time.Millisecond

// say takes in a signal that begins here. It is dated after its device's last word,
// which came before it, so that one at once after a stop is not the older one.
func (b *board) say(s signal) (said signal, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.rooms[s.roomKey][s.user]; t != nil {
		if last := t.devices[s.session].at; !s.at.After(last) && last.Sub(s.at) < nearly {
			s.at = last.Truncate(time.Millisecond).Add(time.Millisecond)
		}
	}
	return s, b.applyLocked(s)
}

// apply takes in a signal of another node's, or one's own come back; until is when
// its user stops by itself.
func (b *board) apply(s signal) (until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.applyLocked(s)
}

func (b *board) applyLocked(s signal) (until time.Time) {
	now := b.clock.Now()
	if !s.at.Add(Expiry).After(now) {
		return time.Time{} // over before it came
	}
	room := b.rooms[s.roomKey]
	if room == nil {
		room = map[uuid.UUID]*typist{}
		b.rooms[s.roomKey] = room
		b.index.open(s.roomKey)
	}
	t := room[s.user]
	if t == nil {
		t = &typist{devices: map[uuid.UUID]device{}}
		room[s.user] = t
		b.index.came(typistKey{s.roomKey, s.user})
	}
	if old, ok := t.devices[s.session]; ok && !s.at.After(old.at) {
		return t.until(now) // an older word
	}
	was := t.until(now)
	t.devices[s.session] = device{at: s.at, typing: !s.stop, own: s.own}
	b.index.spoke(typistKey{s.roomKey, s.user}, s.session)
	is := t.until(now)
	if was.IsZero() {
		t.said = nil
	}
	if !s.stop {
		t.say(s.at)
	}
	b.changedLocked(s.roomKey, s.user, t, was.IsZero() && !is.IsZero() || t.awaited && !s.stop)
	t.awaited = t.awaited && s.stop
	return is
}

// changedLocked sets the alarm for whatever ends next, and tells watchers, where they
// were told otherwise last: what ended by itself a moment ago may not have been told,
// and its alarm is moved.
func (b *board) changedLocked(s roomKey, user uuid.UUID, t *typist, tell bool) {
	types := !t.until(b.clock.Now()).IsZero()
	tell, t.told = tell || types != t.told, types
	next := time.Time{}
	for _, d := range t.devices {
		if next.IsZero() || d.ends().Before(next) {
			next = d.ends()
		}
	}
	b.alarm.Set(typistKey{s, user}, next)
	if tell {
		b.hub.Mark(s)
	}
}

// due forgets devices whose time is over.
func (b *board) due(keys []typistKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	for _, k := range keys {
		t := b.rooms[k.roomKey][k.user]
		if t == nil {
			continue
		}
		for session, d := range t.devices {
			if !d.ends().After(now) {
				delete(t.devices, session)
				b.index.forget(k, session)
			}
		}
		if len(t.devices) > 0 {
			b.changedLocked(k.roomKey, k.user, t, false)
			continue
		}
		delete(b.rooms[k.roomKey], k.user)
		b.index.went(k)
		if len(b.rooms[k.roomKey]) == 0 {
			delete(b.rooms, k.roomKey)
			b.index.shut(k.roomKey)
		}
		if t.told {
			b.hub.Mark(k.roomKey)
		}
	}
}

// silence stops every device of a user in a room that typed by an instant.
func (b *board) silence(s roomKey, user uuid.UUID, by time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.rooms[s][user]
	if t == nil {
		return
	}
	for session, d := range t.devices {
		if !d.at.After(by) {
			t.devices[session] = device{at: by, own: d.own}
		}
	}
	b.changedLocked(s, user, t, false)
}

// stopsIn takes back all that a user's devices said in a room.
func (b *board) stopsIn(s roomKey, user uuid.UUID) []signal {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.rooms[s][user]
	if t == nil {
		return nil
	}
	now := b.clock.Now()
	var out []signal
	for session, d := range t.devices {
		if d.types(now) {
			out = append(out, signal{roomKey: s, user: user, session: session, at: now, stop: true})
		}
	}
	return out
}

// stopsOf takes back all that a session said, in every room; of what was said over
// HTTP, which has none, all that a user did.
func (b *board) stopsOf(user, session uuid.UUID) []signal {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	var out []signal
	for k := range b.index.speakers[speakerOf(user, session)] {
		if user != uuid.Nil && user != k.user {
			continue
		}
		if d := b.rooms[k.roomKey][k.user].devices[session]; d.types(now) {
			out = append(out, signal{roomKey: k.roomKey, user: k.user, session: session, at: now, stop: true, own: d.own})
		}
	}
	return out
}

// raw is somebody typing, before any viewer.
type raw struct {
	user uuid.UUID
	said []time.Time
}

// after is when somebody began, as far as it is told who may know of what was
// typed past an instant only; false: nothing was.
func (r raw) after(before time.Time) (time.Time, bool) {
	for _, at := range r.said {
		if at.After(before) {
			return at, true
		}
	}
	return time.Time{}, false
}

// typing is who types in a room.
func (b *board) typing(s roomKey) []raw {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	var out []raw
	for u, t := range b.rooms[s] {
		if !t.until(now).IsZero() {
			out = append(out, raw{u, slices.Clone(t.said)})
		}
	}
	return out
}

// await has watchers told of somebody's next word, though it goes on typing: of
// those before, known as x, somebody may not know. One that has come meanwhile is
// told at once.
func (b *board) await(s roomKey, x raw) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.rooms[s][x.user]
	switch {
	case t == nil:
	case len(t.said) > 0 && t.said[len(t.said)-1].After(x.said[len(x.said)-1]):
		b.hub.Mark(s)
	default:
		t.awaited = true
	}
}

// until is when a user stops by itself in a room; zero: it does not type.
func (b *board) until(s roomKey, user uuid.UUID) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.rooms[s][user]; t != nil {
		return t.until(b.clock.Now())
	}
	return time.Time{}
}

// types reports whether a user's device types in a room.
func (b *board) types(s roomKey, user, session uuid.UUID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.rooms[s][user]
	return t != nil && t.devices[session].types(b.clock.Now())
}

// inChannel is who types in a channel and its threads.
func (b *board) inChannel(channel uuid.UUID) map[roomKey][]uuid.UUID {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[roomKey][]uuid.UUID{}
	for s := range b.index.channels[channel] {
		out[s] = slices.Collect(maps.Keys(b.rooms[s]))
	}
	return out
}

// channels are those where somebody types.
func (b *board) channels() []uuid.UUID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.index.channels))
}

// where are the rooms in which any of some users types, or did until a moment ago.
func (b *board) where(users []uuid.UUID) map[roomKey]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[roomKey]struct{}{}
	for _, u := range users {
		maps.Copy(out, b.index.typists[u])
	}
	return out
}

// typists are who types in some rooms, or did until a moment ago; in two of them: twice.
func (b *board) typists(rooms iter.Seq[roomKey]) (users []uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for at := range rooms {
		users = slices.AppendSeq(users, maps.Keys(b.rooms[at]))
	}
	return users
}
