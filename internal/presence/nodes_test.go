package presence

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

func TestASessionIsSteeredFromAnotherNode(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	s := newSocket()
	alice := r.connectAs(one, demo.Alice, s, true)
	ctx := t.Context()

	at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	for _, fresh := range []Token{{ID: "t2", IssuedAt: at.Add(-time.Hour), ExpiresAt: at}, {ID: "t3", ExpiresAt: at}} { // the same expiry, another token
		if ok, err := two.Edit.Renew(ctx, as(demo.Alice), alice.Session, fresh); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if got := next(t, s.renewed); !got.equal(fresh) {
			t.Fatalf("renewed to %+v, want %+v", got, fresh)
		}
		eventually(t, "it counts as a session of that token", func() bool {
			n, err := two.Read.CountLive(ctx, alice.Key, &fresh.ID)
			return err == nil && n == 1
		})
	}
	if ok, err := two.Edit.Renew(ctx, as(demo.Bob), alice.Session, Token{ExpiresAt: at}); ok || err != nil {
		t.Fatal("bob renews alice's socket:", ok, err)
	}

	// Offline by hand over HTTP, on a node that has no socket of hers.
	bob := r.watch(two, as(demo.Bob), demo.Alice)
	until(t, bob, func(v View) bool { return v.Status == Online })
	if _, err := two.Edit.SetStatus(ctx, as(demo.Alice), Offline, nil); err != nil {
		t.Fatal(err)
	}
	until(t, bob, func(v View) bool { return v.Status == Offline && v.LastSeenAt != nil })
	if _, err := one.Edit.Heartbeat(ctx, alice, nil, Activity{Active: false}); err != nil {
		t.Fatal(err)
	}
	if got := r.see(two, as(demo.Bob), demo.Alice); got.Status != Offline {
		t.Fatalf("counted again without activity: %+v", got)
	}
	eventually(t, "activity counts her again", func() bool {
		_, err := one.Edit.Heartbeat(ctx, alice, nil, Activity{Active: true})
		return err == nil && r.see(two, as(demo.Bob), demo.Alice).Status == Online
	})

	if ok, err := two.Edit.SignOut(ctx, as(demo.Bob), alice.Session); ok || err != nil {
		t.Fatal("bob signs alice out:", ok, err)
	}
	if ok, err := two.Edit.SignOut(ctx, as(demo.Alice), alice.Session); !ok || err != nil {
		t.Fatal(ok, err)
	}
	next(t, s.out)
}

func TestHTTPOnlySessions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rules := quick
	rules.HTTPLapse = 20 * time.Second // after an outage, which a slow machine may take its slowness for, it begins anew
	n := r.node(rules)
	ctx, alice := t.Context(), as(demo.Alice)
	bob := r.watch(n, as(demo.Bob), demo.Alice)
	first, err := n.Edit.Heartbeat(ctx, alice, nil, Activity{Active: true, Device: ptr(DeviceDesktop), Name: ptr("cli")})
	if err != nil || !first.Current || first.Device != DeviceDesktop {
		t.Fatal(first, err)
	}
	until(t, bob, func(v View) bool { return v.Status == Online })
	again, err := n.Edit.Heartbeat(ctx, alice, &first.SessionID, Activity{Active: true})
	if err != nil || again.SessionID != first.SessionID || !again.ConnectedAt.Equal(first.ConnectedAt) || *again.Name != "cli" {
		t.Fatal(again, err)
	}
	if _, err := n.Edit.Heartbeat(ctx, as(demo.Bob), &first.SessionID, Activity{}); err == nil {
		t.Fatal("bob beats for alice")
	}
	r.exec(`update realtime.sessions set lapses_at = clock_timestamp() + interval '0.3 seconds'`)
	n.Watch.Notify(presenceTopic(alice.Key))
	v := until(t, bob, func(v View) bool { return v.Status == Offline })
	if v.LastSeenAt == nil {
		t.Fatalf("lapsed and never seen: %+v", v)
	}
	eventually(t, "the lapsed session goes", func() bool {
		var rows int
		err := r.pool.QueryRow(ctx, `select count(*) from realtime.sessions`).Scan(&rows)
		return err == nil && rows == 0
	})
}

func TestTooManyHTTPOnlySessions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	for range MaxHTTPSessions {
		if _, err := n.Edit.Heartbeat(t.Context(), as(demo.Alice), nil, Activity{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := n.Edit.Heartbeat(t.Context(), as(demo.Alice), nil, Activity{})
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.RateLimited || !f.Retryable {
		t.Fatal(err)
	}
	if _, err := n.Edit.Heartbeat(t.Context(), as(demo.Bob), nil, Activity{}); err != nil {
		t.Fatal("bob pays for alice:", err)
	}
}

func TestAHeartbeatThatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	stamp := func() (s string) {
		err := r.pool.QueryRow(t.Context(), `
select (select string_agg(xmin::text || ctid::text, ',') from realtime.sessions) || '/' || (select string_agg(xmin::text || ctid::text, ',') from realtime.presence)`).Scan(&s)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := stamp()
	for range 20 {
		if _, err := n.Edit.Heartbeat(t.Context(), alice, nil, Activity{Active: true}); err != nil {
			t.Fatal(err)
		}
	}
	// Whatever those would have written would be written before this is.
	r.connect(n, demo.Bob)
	r.exec(`delete from realtime.sessions where user_id = $1`, demo.Bob)
	r.exec(`delete from realtime.presence where user_id = $1`, demo.Bob)
	if after := stamp(); after != before {
		t.Fatalf("written: %s, before %s", after, before)
	}
}

func TestSessionsSurviveWhatTheDatabaseForgets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	alice, carol, dave := r.connect(one, demo.Alice), r.connect(one, demo.Carol), r.connect(one, demo.Dave)
	if _, err := one.Edit.SetInvisible(t.Context(), carol, true); err != nil {
		t.Fatal(err)
	}
	one.Sessions.End(dave.Session)
	// Carol hides, and Dave is gone: whatever happens, Bob is told the same of both.
	others := map[uuid.UUID]View{}
	alike := func(when string) {
		t.Helper()
		for _, user := range []uuid.UUID{demo.Carol, demo.Dave} {
			was, known := others[user]
			if others[user] = r.see(two, as(demo.Bob), user); others[user].Status != Offline || known && !others[user].equal(was) {
				t.Fatalf("%s %s is %+v, before %+v", when, user, others[user], was)
			}
		}
	}
	eventually(t, "both are offline", func() bool {
		return r.see(two, as(demo.Bob), demo.Carol).Status == Offline && r.see(two, as(demo.Bob), demo.Dave).Status == Offline
	})
	alike("before")
	bob, hidden := r.watch(two, as(demo.Bob), demo.Alice), r.watch(two, as(demo.Bob), demo.Carol, demo.Dave)
	until(t, bob, func(v View) bool { return v.Status == Online })
	for range others { // as they are; whatever is told next is told of Carol's return
		if v := next(t, hidden); !v.equal(others[v.UserID]) {
			t.Fatalf("%+v", v)
		}
	}
	// As recovery from a crash leaves it: unlogged tables empty.
	r.exec(`truncate realtime.sessions, realtime.boot`)
	if got := r.see(two, as(demo.Bob), demo.Alice); got.Status != Online {
		t.Fatalf("absent because the database forgot: %+v", got)
	}
	alike("as the database forgets")
	two.Watch.Resync()
	eventually(t, "asserted again", func() bool {
		list, err := one.Read.Sessions(t.Context(), alice)
		return err == nil && len(list) == 1 && list[0].SessionID == alice.Session
	})
	var crashed bool
	if err := r.pool.QueryRow(t.Context(), `select crashed from realtime.boot`).Scan(&crashed); err != nil || !crashed {
		t.Error("nobody holds it for a crash:", err)
	}
	// A node thought dead, which is not: it takes another epoch.
	r.exec(`delete from realtime.nodes`)
	eventually(t, "asserted under a new epoch", func() bool {
		list, err := one.Read.Sessions(t.Context(), alice)
		return err == nil && len(list) == 1
	})
	if _, err := one.Edit.SetStatus(t.Context(), alice, Busy, nil); err != nil {
		t.Fatal(err)
	}
	until(t, bob, func(v View) bool { return v.Status == Busy })
	alike("afterwards")
	if _, err := one.Edit.SetInvisible(t.Context(), carol, false); err != nil {
		t.Fatal(err)
	}
	if v := next(t, hidden); v.UserID != demo.Carol || v.Status != Online {
		t.Fatalf("of those who were not there it was told %+v", v)
	}
}

func TestOrphansOfACrashGoOfflineWhenNobodyClaimsThem(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	bob := r.watch(n, as(demo.Bob), demo.Alice, demo.Carol)
	r.connect(n, demo.Carol)
	r.exec(`update realtime.boot set since = clock_timestamp() + interval '1 hour'`) // however long this takes
	r.exec(`insert into realtime.presence (tenant, user_id, active) values ('primary', $1, true)`, demo.Alice)
	n.Watch.Notify(presenceTopic(Key{Tenant: primary, User: demo.Alice}))
	until(t, bob, func(v View) bool { return v.UserID == demo.Alice && v.Status == Online }) // her node may yet come back
	r.exec(`update realtime.boot set since = clock_timestamp() - interval '1 minute'`)
	v := until(t, bob, func(v View) bool { return v.UserID == demo.Alice && v.Status == Offline })
	if v.LastSeenAt == nil {
		t.Fatalf("%+v", v)
	}
	if got := r.see(n, as(demo.Bob), demo.Carol); got.Status != Online {
		t.Fatalf("carol: %+v", got)
	}
}

func TestSocketsThatMustNotCount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	silent := r.connectAs(n, demo.Alice, newSocket(), false)
	if got := r.see(n, as(demo.Bob), demo.Alice); !got.equal(neverSeen(demo.Alice)) {
		t.Fatalf("%+v", got)
	}
	if list, err := n.Read.Sessions(t.Context(), silent); err != nil || len(list) != 1 || !list[0].Current {
		t.Fatal(list, err)
	}
}

func TestMyPresenceOnAllDevices(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	phone := r.connect(one, demo.Alice)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	mine, err := one.Watch.Mine(ctx, phone)
	if err != nil {
		t.Fatal(err)
	}
	until(t, mine, func(m Mine) bool {
		return len(m.Sessions) == 1 && m.Sessions[0].Current && *m.Sessions[0].LatencyMs == 42 && m.Sessions[0].ConnectionQuality() == Excellent
	})
	laptop := r.connect(two, demo.Alice)
	until(t, mine, func(m Mine) bool { return len(m.Sessions) == 2 })
	until2 := time.Now().Add(time.Hour)
	if _, err := two.Edit.SetStatus(ctx, laptop, Busy, &until2); err != nil {
		t.Fatal(err)
	}
	until(t, mine, func(m Mine) bool {
		return m.Status == Busy && m.ManualStatus != nil && m.ManualUntil != nil && m.ShownStatus == Busy
	})
	two.Sessions.End(laptop.Session)
	until(t, mine, func(m Mine) bool { return len(m.Sessions) == 1 && m.Status == Busy })
}

func TestTenantsNeverMeet(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	other := uuid.New()
	r.exec(`insert into public.nchat_users (id, source_account_id, email, display_name) values ($1, 'acme', 'x@acme.example', 'X')`, other)
	r.connect(n, demo.Alice)
	acme := viewer.Of("acme", other)
	if got := r.see(n, acme, demo.Alice); !got.equal(neverSeen(demo.Alice)) {
		t.Fatalf("%+v", got)
	}
	if _, ok, err := n.Read.Channel(t.Context(), acme, demo.General, nil, nil, nil); ok || err != nil {
		t.Fatal("a public channel of another tenant is open", err)
	}
	// The same user id, claimed in another tenant, is somebody else.
	if got := r.see(n, viewer.Of("acme", demo.Bob), demo.Alice); !got.equal(neverSeen(demo.Alice)) {
		t.Fatalf("%+v", got)
	}
	if err := n.Lists.Block(t.Context(), viewer.Of("acme", demo.Alice), demo.Bob); err != nil {
		t.Fatal(err)
	}
	if got := r.see(n, as(demo.Bob), demo.Alice); got.Status != Online {
		t.Fatalf("a block made in another tenant counts here: %+v", got)
	}
}

func TestReciprocity(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rules := quick
	rules.Reciprocity = true
	n := r.node(rules)
	r.connect(n, demo.Alice)
	bob := r.watch(n, as(demo.Bob), demo.Alice)
	until(t, bob, func(v View) bool { return v.Status == Online })
	if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Bob), Change{ShowOnlineStatus: ptr(false)}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, bob, func(v View) bool { return v.Status == Offline })
	if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Bob), Change{ShowOnlineStatus: ptr(true)}, nil); err != nil {
		t.Fatal(err)
	}
	if got := r.see(n, as(demo.Bob), demo.Alice); got.Status != Offline {
		t.Fatalf("a glance shows: %+v", got)
	}
	r.exec(`update realtime.presence_settings set status_shared_since = status_shared_since - interval '25 hours'`)
	if got := r.see(n, as(demo.Bob), demo.Alice); got.Status != Online {
		t.Fatalf("a day later: %+v", got)
	}
}

// A row made elsewhere under a socket's id, while its node was thought dead,
// must not keep that node from writing anybody's sessions.
func TestOneSessionsRowHoldsUpNobodyElses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	alice := r.connect(one, demo.Alice)
	r.exec(`delete from realtime.sessions`)
	if _, err := two.Edit.Heartbeat(t.Context(), as(demo.Alice), &alice.Session, Activity{Active: true}); err != nil {
		t.Fatal(err)
	}
	one.Sessions.Reassert()
	r.connect(one, demo.Bob) // fails where it is not written
	eventually(t, "alice's socket has its row again", func() bool {
		var node *uuid.UUID
		err := r.pool.QueryRow(t.Context(), `select node_id from realtime.sessions where id = $1`, alice.Session).Scan(&node)
		return err == nil && node != nil
	})
	// A value that no database takes costs its own session and no other.
	bad := viewer.Viewer{Key: Key{Tenant: primary, User: demo.Carol}, Session: uuid.New()}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	one.Sessions.mu.Lock() // so that both are in one transaction
	go one.Sessions.Begin(ctx, Opening{ID: bad.Session, Key: bad.Key, Counts: true, Device: DeviceWeb, TokenID: "a\x00b", Socket: newSocket()})
	go one.Sessions.Begin(ctx, Opening{ID: uuid.New(), Key: Key{Tenant: primary, User: demo.Dave}, Counts: true, Device: DeviceWeb, Socket: newSocket()})
	one.Sessions.mu.Unlock()
	eventually(t, "dave is seen", func() bool { return r.see(two, as(demo.Bob), demo.Dave).Status == Online })
}

// Contacts by having written end and begin with the message that makes them,
// on live streams too, whatever else stands in the conversation.
func TestContactsByMessagesAreNeverStale(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	if _, err := n.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: ptr(Contacts)}, nil); err != nil {
		t.Fatal(err)
	}
	dave := r.watch(n, as(demo.Dave), demo.Alice)
	if v := next(t, dave); v.Status != Offline {
		t.Fatal(v)
	}
	bell := func() { // as the log's and the triggers' doorbells
		r.exec(`select realtime.sequence(1000, false)`)
		n.Watch.Notify("audience/" + demo.Alice.String())
	}
	const write = `insert into public.nchat_messages (channel_id, user_id, content, type) values ($1, $2, 'x', $3)`
	r.exec(write, demo.DaveAlice, demo.Alice, "system")
	r.exec(write, demo.DaveAlice, demo.Alice, "text")
	bell()
	if v := next(t, dave); v.Status != Online {
		t.Fatalf("wrote after a system message: %+v", v)
	}
	r.exec(`delete from public.nchat_messages where channel_id = $1 and user_id = $2 and type = 'text'`, demo.DaveAlice, demo.Alice)
	bell()
	if v := next(t, dave); v.Status != Offline {
		t.Fatalf("the only word is taken back: %+v", v)
	}
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content) select $1, $2, 'x' from generate_series(1, 2)`, demo.DaveAlice, demo.Alice)
	bell()
	if v := next(t, dave); v.Status != Online {
		t.Fatalf("two words at once: %+v", v)
	}
	r.exec(`update public.nchat_messages set type = 'system' where channel_id = $1 and user_id = $2`, demo.DaveAlice, demo.Alice)
	bell()
	if v := next(t, dave); v.Status != Offline {
		t.Fatalf("the words became the system's: %+v", v)
	}
}

// TestNobodyEndsInACrash: what ends just after a crash of Postgres took all sessions is no
// absence, for another of the user's may live; where nothing was lost it is one at once.
func TestNobodyEndsInACrash(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key := Key{Tenant: primary, User: demo.Alice}
	ended := time.Now()
	for what, c := range map[string]struct {
		then string
		here bool
	}{
		"no node has looked yet":      {`select`, true},
		"nodes are about to say":      {`insert into realtime.boot (crashed) values (true)`, true},
		"they had their time":         {`insert into realtime.boot (crashed, since) values (true, clock_timestamp() - interval '7 seconds')`, false},
		"nothing was lost":            {`insert into realtime.boot (crashed) values (false)`, false},
		"one set offline is known of": {`insert into realtime.sessions (id, tenant, user_id, node_id, node_epoch, device, connected_at, last_active_at, parked_at) select gen_random_uuid(), 'primary', '` + demo.Alice.String() + `', id, epoch, 'web', now(), now(), now() from realtime.nodes`, false},
	} {
		err := pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) error {
			b := &pgx.Batch{}
			b.Queue(`insert into realtime.nodes (id, lease_until) values (gen_random_uuid(), now())`)
			b.Queue(`insert into realtime.presence (tenant, user_id, active) values ($1, $2, true)`, key.Tenant, key.User)
			b.Queue(c.then)
			var x touched
			x.add(key, &ended)
			x.lock(b)
			x.write(b)
			var here bool
			var seen *time.Time
			b.Queue(`select active, last_seen_at from realtime.presence where user_id = $1`, key.User).
				QueryRow(func(row pgx.Row) error { return row.Scan(&here, &seen) })
			if err := tx.SendBatch(t.Context(), b).Close(); err != nil {
				return err
			}
			if here != c.here || (seen == nil) != c.here {
				t.Errorf("%s: connected %v, last seen %v", what, here, seen)
			}
			return errUndone
		})
		if !errors.Is(err, errUndone) {
			t.Fatal(err)
		}
	}
}

var errUndone = errors.New("nothing of this stays")
