package presence

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestWhoIsAwayStaysAway: a new socket or session of somebody who has done nothing for
// long, as its client says, is not seen online by anybody, not for a moment.
func TestWhoIsAwayStaysAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	seen := r.watch(two, as(demo.Bob), demo.Alice)
	is := func(want Status) {
		t.Helper()
		if v := next(t, seen); v.Status != want {
			t.Fatalf("%s instead of %s", v.Status, want)
		}
	}
	is(Offline)
	v := viewer.Viewer{Key: Key{Tenant: primary, User: demo.Alice}, Session: uuid.New()}
	socket := Opening{ID: v.Session, Key: v.Key, Counts: true, Device: DeviceWeb, Socket: newSocket(), Ago: 2 * time.Hour}
	one.Sessions.Begin(t.Context(), socket)
	is(Away)
	beat := func(n *node, v viewer.Viewer, a Activity) Session {
		t.Helper()
		s, err := n.Edit.Heartbeat(t.Context(), v, nil, a)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	beat(one, v, Activity{Active: true})
	is(Online)
	beat(one, v, Activity{Ago: 2 * time.Hour}) // there was input since, of which the server knows
	beat(two, v, Activity{Ago: 2 * time.Hour})
	if s := beat(one, v, Activity{}); s.Idle {
		t.Fatal("what was done is taken back")
	}
	// The same of one that says so only after it has begun, and whose row is written again.
	carol := r.watch(two, as(demo.Bob), demo.Carol)
	until(t, carol, func(v View) bool { return v.Status == Offline })
	v = r.connect(one, demo.Carol)
	until(t, carol, func(v View) bool { return v.Status == Online })
	beat(one, v, Activity{Ago: 2 * time.Hour})
	until(t, carol, func(v View) bool { return v.Status == Away })
	beat(two, v, Activity{Ago: 2 * time.Hour}) // has one look at the row
	one.Sessions.Reassert()
	if s := beat(one, v, Activity{DeviceID: ptr("d")}); !s.Idle || s.ConnectedAt.Sub(s.LastActiveAt) < time.Hour {
		t.Fatalf("active again: %+v", s)
	}
	eventually(t, "written", func() bool {
		var idle, before bool
		var device *string
		if err := r.pool.QueryRow(t.Context(), `select idle, last_active_at < connected_at, device_id from realtime.sessions where id = $1`, v.Session).Scan(&idle, &before, &device); err != nil {
			t.Fatal(err)
		}
		if !idle || !before {
			t.Fatal("the row says otherwise")
		}
		return device != nil
	})
	// What was done by way of another node meanwhile, while this one was thought dead, is not.
	v = r.connect(one, demo.Erin)
	r.exec(`delete from realtime.sessions where id = $1`, v.Session)
	beat(two, v, Activity{Active: true})
	row := func() (active time.Time, held bool) {
		t.Helper()
		if err := r.pool.QueryRow(t.Context(), `select last_active_at, node_id is not null from realtime.sessions where id = $1`, v.Session).Scan(&active, &held); err != nil {
			t.Fatal(err)
		}
		return active, held
	}
	active, _ := row()
	one.Sessions.Reassert()
	eventually(t, "this node's again", func() bool { _, held := row(); return held })
	if now, _ := row(); now.Before(active) {
		t.Errorf("active at %v, and then at %v", active, now)
	}
	// And without a socket.
	dave := viewer.Viewer{Key: Key{Tenant: primary, User: demo.Dave}}
	if s := beat(two, dave, Activity{Ago: 2 * time.Hour}); !s.Idle || r.see(one, as(demo.Bob), demo.Dave).Status != Away {
		t.Fatalf("%+v", s)
	}
}

// TestAHiddenPagesSocket counts as hidden from its beginning.
func TestAHiddenPagesSocket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rules := quick
	rules.HiddenAfter = 0
	n := r.node(rules)
	seen := r.watch(n, as(demo.Bob), demo.Alice)
	until(t, seen, func(v View) bool { return v.Status == Offline })
	n.Sessions.Begin(t.Context(), Opening{ID: uuid.New(), Key: Key{Tenant: primary, User: demo.Alice}, Counts: true, Device: DeviceWeb, Socket: newSocket(), Hidden: true})
	if v := next(t, seen); v.Status != Away {
		t.Fatal(v.Status)
	}
}

// TestThatASocketBeganIsNoActivity, whoever reads it in its row: what its client said of
// its user's last input stands, also where that changes nothing yet.
func TestThatASocketBeganIsNoActivity(t *testing.T) {
	t.Parallel()
	s := newSessions(&world{clock: clock.New(), rules: quick})
	id, k := uuid.New(), Key{Tenant: primary, User: demo.Bob}
	gone, expire := context.WithCancel(t.Context())
	expire()
	s.Begin(gone, Opening{ID: id, Key: k, Counts: true, Socket: newSocket()})
	began := s.all[id].connected
	said, _ := s.report(id, k, Activity{Ago: time.Minute})
	s.obey(id, false, nil, nil, began)
	if now, _ := s.report(id, k, Activity{}); !now.LastActiveAt.Equal(said.LastActiveAt) || !now.LastActiveAt.Before(began) {
		t.Errorf("last active %v before it began, then %v", began.Sub(said.LastActiveAt), began.Sub(now.LastActiveAt))
	}
	s.obey(id, false, nil, nil, began.Add(time.Second))
	if now, _ := s.report(id, k, Activity{}); !now.LastActiveAt.Equal(began.Add(time.Second)) {
		t.Error("what was done by way of another node is not known")
	}
}
