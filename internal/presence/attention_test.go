package presence

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

func (r *rig) attention(n *node, user uuid.UUID) Attention {
	r.t.Helper()
	list, err := n.Read.Attention(r.t.Context(), r.pool, primary, []uuid.UUID{uuid.New(), user})
	if err != nil || len(list) != 2 || list[0] != (Attention{}) {
		r.t.Fatal(list, err)
	}
	return list[1]
}

// TestWhoLooks: a device that is shown and was used a moment ago, of any node or
// of none; not one that is hidden, was left alone, is closed, parked, or does not
// count.
func TestWhoLooks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rules := quick
	rules.Looking = time.Minute
	one, two := r.node(rules), r.node(rules)
	looks := func(what string, user uuid.UUID, want bool) {
		t.Helper()
		eventually(t, what, func() bool { return r.attention(two, user).Looking == want })
	}
	beat := func(n *node, v viewer.Viewer, id *uuid.UUID, a Activity) Session {
		t.Helper()
		s, err := n.Edit.Heartbeat(t.Context(), v, id, a)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	looks("never connected", demo.Bob, false)
	desktop := r.connect(one, demo.Bob)
	looks("just opened", demo.Bob, true)
	beat(one, desktop, nil, Activity{Hidden: ptr(true)})
	looks("hidden", demo.Bob, false)
	beat(one, desktop, nil, Activity{Hidden: ptr(false)})
	looks("shown again", demo.Bob, true)
	if _, err := one.Edit.SetStatus(t.Context(), desktop, Offline, nil); err != nil {
		t.Fatal(err)
	}
	looks("parked", demo.Bob, false)
	beat(one, desktop, nil, Activity{Active: true})
	looks("used again", demo.Bob, true)
	if _, err := one.Edit.SetStatus(t.Context(), desktop, Offline, nil); err != nil {
		t.Fatal(err)
	}
	looks("parked again", demo.Bob, false)
	eventually(t, "used, told elsewhere", func() bool { // that node's clock may be a little behind
		beat(two, as(demo.Bob), &desktop.Session, Activity{Active: true})
		return r.attention(two, demo.Bob).Looking
	})
	one.Sessions.End(desktop.Session)
	looks("closed", demo.Bob, false)

	r.connectAs(one, demo.Carol, newSocket(), false)
	looks("one that does not count", demo.Carol, false)

	phone := beat(two, as(demo.Dave), nil, Activity{Active: true})
	looks("over HTTP", demo.Dave, true)
	beat(two, as(demo.Dave), &phone.SessionID, Activity{Hidden: ptr(true)})
	looks("over HTTP, hidden", demo.Dave, false)
	beat(two, as(demo.Dave), &phone.SessionID, Activity{Active: true, Ago: 2 * time.Minute})
	looks("over HTTP, hidden still: what is told is older", demo.Dave, false)
}

// TestLookingEndsByItself: on the node that holds the socket, by its own timer,
// long before the user is away.
func TestLookingEndsByItself(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rules := quick
	rules.Looking = 300 * time.Millisecond
	one, two := r.node(rules), r.node(quick)
	r.connect(one, demo.Bob)
	eventually(t, "left alone", func() bool { return !r.attention(two, demo.Bob).Looking })
	if got := r.see(two, as(demo.Alice), demo.Bob); got.Status != Online {
		t.Errorf("left alone for a moment, and %s", got.Status)
	}
}

// TestNobodyAsksWhoLooks: where nothing is pushed it is not written down.
func TestNobodyAsksWhoLooks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	r.connect(n, demo.Bob)
	if _, err := n.Edit.Heartbeat(t.Context(), as(demo.Carol), nil, Activity{Active: true}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []uuid.UUID{demo.Bob, demo.Carol} {
		if r.attention(n, user).Looking {
			t.Error("somebody looks")
		}
	}
}

// TestBusyIsKnown: as long as it holds, in hiding as well.
func TestBusyIsKnown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	v := r.connect(n, demo.Bob)
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	if _, err := n.Edit.SetStatus(t.Context(), v, Busy, &later); err != nil {
		t.Fatal(err)
	}
	if a := r.attention(n, demo.Bob); !a.Busy || a.BusyUntil == nil || !a.BusyUntil.Equal(later) {
		t.Errorf("%+v", a)
	}
	if _, err := n.Edit.SetInvisible(t.Context(), v, true); err != nil {
		t.Fatal(err)
	}
	if a := r.attention(n, demo.Bob); !a.Busy {
		t.Errorf("in hiding: %+v", a)
	}
	r.exec(`update realtime.presence set manual_until = clock_timestamp() - interval '1 second'`)
	if a := r.attention(n, demo.Bob); a.Busy || a.BusyUntil != nil {
		t.Errorf("over: %+v", a)
	}
	if _, err := n.Edit.SetStatus(t.Context(), v, Away, nil); err != nil {
		t.Fatal(err)
	}
	if a := r.attention(n, demo.Bob); a.Busy {
		t.Errorf("away: %+v", a)
	}
}

// TestLookingsTime: for as long as it is said after the last activity, and no
// longer; hidden at once not; each change is one to be written, and nothing else is.
func TestLookingsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rules := Rules{IdleAfter: 5 * time.Minute, HiddenAfter: 150 * time.Second, Looking: time.Minute}
		s := newSessions(&world{clock: clock.New(), rules: rules})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.alarm.Run(ctx); close(ended) }()
		id, k := uuid.New(), Key{Tenant: primary, User: demo.Bob}
		within, expire := context.WithCancel(ctx)
		expire()
		s.Begin(within, Opening{ID: id, Key: k, Counts: true, Socket: newSocket()})
		state := func() (looking, idle bool, writes int64) {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.all[id].looking, s.all[id].idle, s.all[id].want
		}
		for _, c := range []struct {
			what          string
			after         time.Duration
			beat          *Activity
			looking, idle bool
			writes        int64
		}{
			{"opened", 0, nil, true, false, 1},
			{"a moment before", time.Minute - time.Millisecond, nil, true, false, 1},
			{"left alone", 2 * time.Millisecond, nil, false, false, 2},
			{"a beat without activity", time.Second, &Activity{}, false, false, 2},
			{"used", time.Second, &Activity{Active: true, Hidden: ptr(false)}, true, false, 3},
			{"used on", 50 * time.Second, &Activity{Active: true}, true, false, 3},
			{"and on", 50 * time.Second, &Activity{Active: true}, true, false, 3},
			{"hidden", time.Second, &Activity{Hidden: ptr(true)}, false, false, 4},
			{"shown", time.Second, &Activity{Hidden: ptr(false)}, true, false, 5},
			{"left", time.Minute, nil, false, false, 6},
			{"away", 5 * time.Minute, nil, false, true, 7},
			{"back", time.Second, &Activity{Active: true}, true, false, 8},
		} {
			<-time.After(c.after)
			if c.beat != nil {
				if _, held := s.report(id, k, *c.beat); !held {
					t.Fatal(c.what, ": not held")
				}
			}
			if looking, idle, writes := state(); looking != c.looking || idle != c.idle || writes != c.writes {
				t.Errorf("%s: looking %v, idle %v after %d writes, want %v, %v, %d", c.what, looking, idle, writes, c.looking, c.idle, c.writes)
			}
		}
		<-time.After(10 * time.Minute)
		if _, err := s.park(within, id, k, false); err == nil { // nobody writes here
			t.Error("it is written")
		}
		if looking, idle, _ := state(); !looking || idle {
			t.Errorf("a status chosen by the idle: looking %v, idle %v", looking, idle)
		}
		cancel()
		<-ended
	})
}
