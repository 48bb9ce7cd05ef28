package presence

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/lease"
)

func TestAChangeReachesAWatcherOnAnotherNode(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	bob := r.watch(two, r.connect(two, demo.Bob), demo.Alice)
	if v := next(t, bob); v.Status != Offline {
		t.Fatalf("before: %+v", v)
	}
	alice := r.connect(one, demo.Alice)
	if v := next(t, bob); v.Status != Online {
		t.Fatalf("connected: %+v", v)
	}
	if _, err := one.Edit.SetStatus(t.Context(), alice, Busy, nil); err != nil {
		t.Fatal(err)
	}
	if v := next(t, bob); v.Status != Busy {
		t.Fatalf("busy: %+v", v)
	}
	if _, err := one.Edit.SetCustom(t.Context(), alice, Custom{Text: ptr("in a meeting"), Emoji: ptr("🗓️")}); err != nil {
		t.Fatal(err)
	}
	if v := next(t, bob); v.CustomStatus == nil || *v.CustomStatus.Text != "in a meeting" {
		t.Fatalf("custom: %+v", v)
	}
	one.Sessions.End(alice.Session)
	v := next(t, bob)
	if v.Status != Offline || v.LastSeenAt == nil || v.LastSeenAt.Second() != 0 || v.CustomStatus == nil {
		t.Fatalf("gone: %+v", v)
	}
}

func TestInvisibleIsAnOrdinaryDisconnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	bob := r.watch(n, r.connect(n, demo.Bob), demo.Alice)
	until(t, bob, func(v View) bool { return v.Status == Online })
	began := n.Read.w.now()
	if _, err := n.Edit.SetInvisible(t.Context(), alice, true); err != nil {
		t.Fatal(err)
	}
	written := n.Read.w.now() // a minute may end meanwhile
	v := next(t, bob)
	if v.Status != Offline || v.LastSeenAt == nil || v.LastSeenAt.Before(began.Truncate(time.Minute)) || v.LastSeenAt.After(written) || v.LastSeenAt.Second() != 0 {
		t.Fatalf("not as a disconnection: %+v", v)
	}
	if waited := n.Read.w.now().Sub(began); waited < quick.Grace {
		t.Fatalf("offline after %v, sooner than the grace: nobody disconnects so fast", waited)
	}
	// Whatever alice does now is nobody's to see.
	if _, err := n.Edit.SetCustom(t.Context(), alice, Custom{Text: ptr("hidden")}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Edit.SetStatus(t.Context(), alice, Busy, nil); err != nil {
		t.Fatal(err)
	}
	second := r.connect(n, demo.Alice)
	n.Sessions.End(second.Session)
	if mine, err := n.Read.Mine(t.Context(), alice); err != nil || mine.Status != Busy || !mine.Invisible || mine.ShownStatus != Offline {
		t.Fatalf("alice herself: %+v %v", mine, err)
	}
	if got := r.see(n, as(demo.Bob), demo.Alice); !got.equal(v) {
		t.Fatalf("bob sees %+v, saw %+v", got, v)
	}
	if _, err := n.Edit.SetInvisible(t.Context(), alice, false); err != nil {
		t.Fatal(err)
	}
	if v := next(t, bob); v.Status != Busy || v.CustomStatus == nil || *v.CustomStatus.Text != "hidden" {
		t.Fatalf("visible again: %+v", v)
	}
}

func TestADeadNodesUsersGoOfflineAndNobodyElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	r.connect(one, demo.Carol)
	carol := r.watch(two, r.connect(two, demo.Bob), demo.Carol, demo.Dave)
	r.connect(two, demo.Dave)
	until(t, carol, func(v View) bool { return v.UserID == demo.Dave && v.Status == Online })
	// A node that died without a word: its lease is over. Until that is written, nobody
	// buries it.
	id, _, _ := one.lease.Identity()
	var alive time.Time // when it last said that it was
	if err := pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `select from realtime.nodes where id = $1 for key share`, id); err != nil {
			return err
		}
		one.stop()
		<-one.done
		return tx.QueryRow(t.Context(), `
update realtime.nodes set lease_until = date_trunc('minute', clock_timestamp()) - interval '1 hour' where id = $1 returning lease_until - $2::interval`,
			id, lease.TTL).Scan(&alive)
	}); err != nil {
		t.Fatal(err)
	}
	v := until(t, carol, func(v View) bool { return v.UserID == demo.Carol && v.Status == Offline })
	if v.LastSeenAt == nil || !v.LastSeenAt.Equal(alive.Truncate(time.Minute)) {
		t.Fatalf("a dead node's user was last seen %v, and its node %v", v.LastSeenAt, alive)
	}
	if got := r.see(two, as(demo.Bob), demo.Dave); got.Status != Online {
		t.Fatalf("dave on the living node: %+v", got)
	}
}

func TestReconnectWithinTheGraceIsNoAbsence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rules := quick
	rules.Grace = time.Hour
	n := r.node(rules)
	first := r.connect(n, demo.Alice)
	bob := r.watch(n, as(demo.Bob), demo.Alice)
	until(t, bob, func(v View) bool { return v.Status == Online })
	n.Sessions.End(first.Session)
	second := r.connect(n, demo.Alice)
	if _, err := n.Edit.SetStatus(t.Context(), second, Busy, nil); err != nil {
		t.Fatal(err)
	}
	if v := next(t, bob); v.Status != Busy {
		t.Fatalf("told of %+v in between", v)
	}
	n.Sessions.mu.Lock()
	long := n.Sessions.w.now().Add(-2 * time.Hour) // the grace has passed
	n.Sessions.all[first.Session].ended = &long
	n.Sessions.changeLocked(n.Sessions.all[first.Session])
	n.Sessions.mu.Unlock()
	eventually(t, "the old session goes", func() bool {
		list, err := n.Read.Sessions(t.Context(), second)
		var rows int
		if err == nil {
			err = r.pool.QueryRow(t.Context(), `select count(*) from realtime.sessions`).Scan(&rows)
		}
		return err == nil && len(list) == 1 && rows == 1
	})
	if got := r.see(n, as(demo.Bob), demo.Alice); got.Status != Busy {
		t.Fatalf("afterwards: %+v", got)
	}
}

func TestIdleAndParkedAndManual(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connectIdle(n, demo.Alice)
	bob := r.watch(n, as(demo.Bob), demo.Alice)
	until(t, bob, func(v View) bool { return v.Status == Away }) // nobody reported activity
	if _, err := n.Edit.Heartbeat(t.Context(), alice, nil, Activity{Active: true}); err != nil {
		t.Fatal(err)
	}
	until(t, bob, func(v View) bool { return v.Status == Online })
	if _, err := n.Edit.SetStatus(t.Context(), alice, Away, nil); err != nil {
		t.Fatal(err)
	}
	until(t, bob, func(v View) bool { return v.Status == Away })
	if _, err := n.Edit.Heartbeat(t.Context(), alice, nil, Activity{Active: true}); err != nil {
		t.Fatal(err)
	}
	if got := r.see(n, as(demo.Bob), demo.Alice); got.Status != Away {
		t.Fatalf("away by hand did not hold: %+v", got)
	}
	if _, err := n.Edit.SetStatus(t.Context(), alice, Offline, nil); err != nil {
		t.Fatal(err)
	}
	if got := r.see(n, as(demo.Bob), demo.Alice); got.Status != Offline || got.LastSeenAt == nil {
		t.Fatalf("offline by hand: %+v", got)
	}
	if _, err := n.Edit.SetStatus(t.Context(), as(demo.Alice), Online, nil); err != nil {
		t.Fatal(err)
	}
	if got := r.see(n, as(demo.Bob), demo.Alice); got.Status == Offline {
		t.Fatalf("online again over HTTP: %+v", got)
	}
}

func TestAWindowOnAChannel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	r.connect(n, demo.Alice)
	bob := r.connect(n, demo.Bob)
	failed := make(chan error, 1)
	w, err := n.Watch.Window(t.Context(), bob, demo.Team, ptr(2), nil, func(err error) { failed <- err })
	if err != nil {
		t.Fatal(err)
	}
	first := next(t, w)
	if !first.Snapshot || len(first.Presences) != 2 || *first.Counts != (Counts{Online: 2, Offline: 1}) {
		t.Fatalf("snapshot: %+v %+v", first, first.Counts)
	}
	r.connect(n, demo.Carol)
	b := next(t, w)
	if b.Snapshot || len(b.Presences) != 0 || *b.Counts != (Counts{Online: 3}) {
		t.Fatalf("carol is off the page but counted: %+v %+v", b, b.Counts)
	}
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Alice)
	n.Watch.Notify("members/" + demo.Team.String())
	b = next(t, w)
	if !b.Snapshot || len(b.Presences) != 2 || b.Presences[0].UserID != demo.Bob || b.Presences[1].UserID != demo.Carol || *b.Counts != (Counts{Online: 2}) {
		t.Fatalf("alice left, carol moves up: %+v %+v", b, b.Counts)
	}
	r.exec(`update public.nchat_channel_members set can_read = false where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	n.Watch.Notify("members/" + demo.Team.String())
	select {
	case err := <-failed:
		if err.Error() != "access-denied: access denied" {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("still watching")
	}
	if _, err := n.Watch.Window(t.Context(), as(demo.Dave), demo.Team, nil, nil, func(error) {}); err == nil {
		t.Fatal("dave watches a private channel")
	}
}

// A stream that begins between a block and its doorbell is told at once what is
// true by then, although its node still holds an older record of the blocker.
func TestARecordOlderThanItsRelationIsReadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	until(t, r.watch(n, as(demo.Bob), demo.Alice), func(v View) bool { return v.Status == Online })
	if err := n.Lists.Block(t.Context(), alice, demo.Dave); err != nil {
		t.Fatal(err)
	}
	tr := n.Watch.mirror.track(as(demo.Dave), []uuid.UUID{demo.Alice})
	defer tr.close()
	var told []View
	err := tr.changes(t.Context(), tr.users, func(v View) bool { told = append(told, v); return true })
	if err != nil || len(told) != 1 || !told[0].equal(neverSeen(demo.Alice)) {
		t.Fatalf("%+v, %v", told, err)
	}
}
