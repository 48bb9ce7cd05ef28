package presence

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// countedRig is a rig whose nodes' round trips are counted, those of their
// leases left out.
func countedRig(t *testing.T) (*rig, *pgtest.Trips) {
	t.Helper()
	url := pgtest.NewURL(t)
	r := newRigOn(t, pgtest.Pool(t, url))
	var trips *pgtest.Trips
	r.nodes, trips = pgtest.Counted(t, url)
	return r, trips
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	r, trips := countedRig(t)
	n, ctx := r.node(quick), t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	socket, http := r.connect(n, demo.Alice), viewer.Of(primary, demo.Bob)
	status := func(v viewer.Viewer, s Status) {
		_, err := n.Edit.SetStatus(ctx, v, s, nil)
		ok(err)
	}
	beat, err := n.Edit.Heartbeat(ctx, http, nil, Activity{Active: true})
	ok(err)
	on := true
	for _, c := range []struct {
		what string
		most int
		do   func()
	}{
		{"a connection", 1, func() { r.connect(n, demo.Carol) }},
		{"a status over a socket", 2, func() { status(socket, Busy) }},
		{"offline, and online again", 5, func() { status(socket, Offline); status(socket, Online) }},
		{"a status over HTTP", 2, func() { status(http, Away) }},
		{"offline over HTTP, and online again", 4, func() { status(http, Offline); status(http, Online) }},
		{"a line", 2, func() { _, err := n.Edit.SetCustom(ctx, socket, Custom{Text: ptr(time.Now().String())}); ok(err) }},
		{"a changed setting", 4, func() {
			on = !on
			_, err := n.Edit.UpdateSettings(ctx, socket, Change{ShowLastSeen: ptr(on)}, nil)
			ok(err)
		}},
		{"to become invisible, or visible again", 4, func() {
			on = !on
			_, err := n.Edit.SetInvisible(ctx, socket, on)
			ok(err)
		}},
		{"a heartbeat over a socket", 0, func() { _, err := n.Edit.Heartbeat(ctx, socket, nil, Activity{Active: true}); ok(err) }},
		{"a heartbeat over HTTP", 4, func() { _, err := n.Edit.Heartbeat(ctx, http, &beat.SessionID, Activity{Active: true}); ok(err) }},
		{"the first over HTTP", 4, func() { _, err := n.Edit.Heartbeat(ctx, http, nil, Activity{Active: true}); ok(err) }},
		{"five users' presence", 1, func() {
			_, err := n.Read.Presences(ctx, http, []uuid.UUID{demo.Alice, demo.Carol, demo.Dave, demo.Erin, demo.Frank})
			ok(err)
		}},
	} {
		if got := trips.Fewest(c.do); got > c.most {
			t.Errorf("%s: %d round trips, want at most %d", c.what, got, c.most)
		}
	}
	many := make([]uuid.UUID, 2500)
	for i := range many {
		many[i] = uuid.New()
	}
	many[1800] = demo.Carol
	if got := trips.Fewest(func() {
		views, err := n.Read.Presences(ctx, http, many)
		ok(err)
		for i := range views {
			if len(views) != len(many) || views[i].UserID != many[i] || (views[i].Status == Offline) != (i != 1800) {
				t.Fatalf("%d views, the %dth %+v", len(views), i, views[i])
			}
		}
	}); got < 3 { // what the node reads meanwhile counts too
		t.Errorf("%d users' presence: %d round trips, want one for each thousand: no more records are held at a time", len(many), got)
	}
}

// A node hears its own doorbells like everybody's: a change is read when they
// come round, and not before that as well.
func TestAChangeIsReadOnceOnItsWritersNode(t *testing.T) {
	t.Parallel()
	r, trips := countedRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	bob := r.watch(n, viewer.Of(primary, demo.Bob), demo.Alice)
	until(t, bob, func(v View) bool { return v.Status == Online })
	next := map[Status]Status{Online: Busy, Busy: Away, Away: Busy}
	status := Online
	got := trips.Fewest(func() {
		status = next[status]
		r.holdBack()
		if _, err := n.Edit.SetStatus(t.Context(), alice, status, nil); err != nil {
			t.Fatal(err)
		}
		if !awaits(n, alice.Key) {
			t.Error("nobody waits for the doorbell")
		}
		r.release()
		until(t, bob, func(v View) bool { return v.Status == status })
		n.Watch.mirror.catchUp(t.Context(), alice.Key)
	})
	if got != 3 {
		t.Errorf("%d round trips, want 3: written, answered, read for those who watch", got)
	}
}

// awaits: what is known of a user is older than a doorbell that is on its way.
func awaits(n *node, k Key) bool {
	m := n.Watch.mirror
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[k].read < m.entries[k].marks
}

// What a mutation has answered, a stream that begins afterwards begins with,
// although its node had other streams of the same user before.
func TestAStreamBeginsWithWhatItsReaderKnows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	before := r.watch(n, viewer.Of(primary, demo.Bob), demo.Alice)
	until(t, before, func(v View) bool { return v.Status == Online })
	for range 10 {
		for _, status := range []Status{Busy, Away} {
			r.holdBack()
			if _, err := n.Edit.SetStatus(t.Context(), alice, status, nil); err != nil {
				t.Fatal(err)
			}
			own, err := n.Watch.Mine(t.Context(), alice)
			if err != nil {
				t.Fatal(err)
			}
			r.release()
			if m := next(t, own); m.Status != status {
				t.Fatalf("chose %s, and the stream begins with %s", status, m.Status)
			}
		}
	}
}
