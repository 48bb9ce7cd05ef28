package typing

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/roster"
)

// TestAPictureHasWhoMayBeSeen: whom presence does not name is not in it, nor what
// was typed before the viewer might know.
func TestAPictureHasWhoMayBeSeen(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	seen, hidden, late, next := uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}, uuid.UUID{4}
	list := []raw{{hidden, []time.Time{at}}, {late, []time.Time{at, at.Add(3 * time.Second)}}, {seen, []time.Time{at}}, {next, []time.Time{at}}}
	may := map[uuid.UUID]time.Time{seen: {}, late: at, next: at}
	p, later := picture(Room{Channel: uuid.UUID{9}}, list, may, nil)
	if users := p.Users(9); p.TotalCount() != 2 || users[0].UserID != seen || users[1].UserID != late {
		t.Fatalf("%+v", p)
	} else if !users[1].StartedAt.Equal(at.Add(3 * time.Second)) {
		t.Errorf("it began at %v", users[1].StartedAt)
	}
	if len(later) != 1 || later[0].user != next {
		t.Errorf("with their next word: %+v", later)
	}
}

// TestDirectIsAWordForDirect: a channel is no direct conversation for being called one.
func TestDirectIsAWordForDirect(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	for room, want := range map[Room]bool{{Channel: demo.Team}: true, {Channel: demo.Team, Direct: true}: false, {Channel: demo.AliceBob, Direct: true}: true} {
		if _, ok, err := r.Room(t.Context(), bob, room); err != nil || ok != want {
			t.Errorf("%+v: %t, %v", room, ok, err)
		}
	}
	if _, err := r.Watch(t.Context(), bob, []Room{{Channel: demo.Team, Direct: true}}, nil); !denied(err) {
		t.Errorf("watched: %v", err)
	}
}

// TestSignalsAreHeldBack: one too many in a room, or over all rooms, is acknowledged
// and rings nobody.
func TestSignalsAreHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		start := func(channel byte) bool {
			t.Helper()
			at := Room{Channel: uuid.UUID{channel}}
			k := typistKey{roomKey{alice.Tenant, at.Channel, uuid.Nil}, alice.User}
			r.rights.known.Add(k, grant{roster.Access{Allowed: true}, time.Now()})
			rung := len(r.rung)
			ack, err := r.Start(t.Context(), alice, at)
			if err != nil || ack.NextAllowedAt == nil || ack.Accepted != (len(r.rung) > rung) {
				t.Fatalf("%+v, rung %q, %v", ack, r.rung[rung:], err)
			}
			return ack.Accepted
		}
		if first, second, third := start(1), start(1), start(1); !first || !second || third {
			t.Error("three at once in one room")
		}
		for c := range byte(burstPerUser - 2) {
			if !start(c + 2) {
				t.Errorf("room %d is refused", c+2)
			}
		}
		if start(100) {
			t.Error("in every room at once")
		}
	})
}

// TestAReadAsksForAsManyWhoeverTypes: somebody hidden who types makes no difference to
// what is asked of the database, nor to what is answered.
func TestAReadAsksForAsManyWhoeverTypes(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	look := func(want int) {
		t.Helper()
		if now, ok, err := r.Room(t.Context(), bob, team); err != nil || !ok || now.TotalCount() != want {
			t.Fatal(now, ok, err)
		}
	}
	look(0)
	r.hidden = demo.Alice
	r.board.apply(signal{roomKey: roomKey{alice.Tenant, demo.Team, uuid.Nil}, user: demo.Alice, session: uuid.New(), at: r.o.Clock.Now()})
	look(0)
	r.board.apply(signal{roomKey: roomKey{alice.Tenant, demo.Team, uuid.Nil}, user: demo.Carol, session: uuid.New(), at: r.o.Clock.Now()})
	look(1)
	if !slices.Equal(r.asked, []int{8, 8, 8}) {
		t.Error("asked for", r.asked)
	}
	if n := len(padded(make([]uuid.UUID, 9))); n != 16 {
		t.Error(n)
	}
}
