package typing

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestWhatABoardFinds: by channel, by user and by device it finds what looking at all of it
// does, after any words, and keeps nothing of what is over.
func TestWhatABoardFinds(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, b *board) {
		r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's
		id := func(kind byte, n int) uuid.UUID { return uuid.UUID{kind, byte(r.IntN(n) + 1)} }
		for i := range 3000 {
			s := signal{roomKey: roomKey{Tenant: fmt.Sprint(r.IntN(2)), Channel: id(1, 3)}, user: id(2, 4), at: b.clock.Now(), stop: r.IntN(4) == 0, own: r.IntN(2) == 0}
			if r.IntN(2) == 0 {
				s.Thread = id(3, 2)
			}
			if r.IntN(3) > 0 {
				s.session = id(4, 5)
			}
			if s.own {
				b.say(s)
			} else {
				b.apply(s)
			}
			pass(time.Duration(r.IntN(400)) * time.Millisecond)
			user, session, channel := id(2, 4), id(4, 5), id(1, 3)
			for _, c := range []struct{ user, session uuid.UUID }{{user, uuid.Nil}, {uuid.Nil, session}, {user, session}} {
				if got, want := told(b.stopsOf(c.user, c.session)), told(b.allStops(c.user, c.session)); !slices.Equal(got, want) {
					t.Fatalf("%d: %v\n%v", i, got, want)
				}
			}
			in := map[roomKey]int{}
			for at, room := range b.rooms {
				if at.Channel == channel {
					in[at] = len(room)
				}
			}
			if got, want := b.where([]uuid.UUID{user, {9}}), b.allWhere(user); !maps.Equal(got, want) {
				t.Fatalf("%d: %v\n%v", i, got, want)
			}
			found := b.inChannel(channel)
			for at, n := range in {
				if len(found[at]) != n {
					t.Fatalf("%d: %d of %d in %v", i, len(found[at]), n, at)
				}
			}
			if len(found) != len(in) || slices.Contains(b.channels(), channel) != (len(in) > 0) {
				t.Fatalf("%d: %d rooms of %d", i, len(found), len(in))
			}
		}
		pass(2 * Expiry)
		if len(b.rooms)+len(b.index.channels)+len(b.index.typists)+len(b.index.speakers) != 0 {
			t.Error("something is kept")
		}
	})
}

// allWhere is where by looking at all there is.
func (b *board) allWhere(user uuid.UUID) map[roomKey]struct{} {
	out := map[roomKey]struct{}{}
	for at, room := range b.rooms {
		if room[user] != nil {
			out[at] = struct{}{}
		}
	}
	return out
}

// allStops is stopsOf by looking at all there is.
func (b *board) allStops(user, session uuid.UUID) (out []signal) {
	now := b.clock.Now()
	for at, room := range b.rooms {
		for u, t := range room {
			if d, spoke := t.devices[session]; spoke && d.types(now) && (user == uuid.Nil || user == u) {
				out = append(out, signal{roomKey: at, user: u, session: session, at: now, stop: true, own: d.own})
			}
		}
	}
	return out
}

func told(list []signal) (out []string) {
	for _, s := range list {
		out = append(out, fmt.Sprint(s))
	}
	slices.Sort(out)
	return out
}
