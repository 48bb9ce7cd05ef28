package presence

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// hold carries out what somebody else does to users in a transaction that stays open
// until release commits it.
func (r *rig) hold(of map[uuid.UUID]string) (release func()) {
	r.t.Helper()
	tx, err := r.pool.Begin(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	b := &pgx.Batch{}
	b.Queue(`set local idle_in_transaction_session_timeout = 0`)
	for user, sql := range of {
		b.Queue(sql, user)
	}
	if err := tx.SendBatch(r.t.Context(), b).Close(); err != nil {
		r.t.Fatal(err)
	}
	return func() {
		r.t.Helper()
		if err := tx.Commit(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
}

const heldRow = `select from realtime.presence where user_id = $1 for update`

// sessionsOf are a user's sessions as the database has them, open or ended.
func (r *rig) sessionsOf(user uuid.UUID) (open, ended int) {
	r.t.Helper()
	const q = `select count(*) filter (where ended_at is null), count(ended_at) from realtime.sessions where user_id = $1`
	if err := r.pool.QueryRow(r.t.Context(), q, user).Scan(&open, &ended); err != nil {
		r.t.Fatal(err)
	}
	return open, ended
}

// beginUnseen opens a socket whose session nobody waits for.
func beginUnseen(n *node, k Key) (id uuid.UUID) {
	gone, expire := context.WithCancel(context.Background())
	expire()
	id = uuid.New()
	n.Sessions.Begin(gone, Opening{ID: id, Key: k, Counts: true, Device: DeviceWeb, Socket: newSocket()})
	return id
}

// TestWhoIsHeldHoldsUpNobody: while another transaction holds what is somebody's, whatever
// that is, Carol comes, chooses and goes on the same node, and is seen to. What the others
// did meanwhile is told when it ends, and ends where they did.
func TestWhoIsHeldHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	fresh, deleted := uuid.New(), uuid.New()
	r.exec(`insert into public.nchat_users (id, source_account_id, email, display_name) values ($1, 'primary', 'new@example.com', 'New'), ($2, 'primary', 'old@example.com', 'Old')`, fresh, deleted)
	held := map[uuid.UUID]string{
		demo.Alice: heldRow,
		demo.Dave:  `select realtime.hold_invisible('primary', $1)`,               // as who reads a message
		fresh:      `select realtime.hold_invisible('primary', $1)`,               // has no row yet, and is given one
		demo.Erin:  `delete from realtime.presence where user_id = $1`,            // its row goes
		demo.Frank: `select from realtime.sessions where user_id = $1 for update`, // a session's row
		deleted:    `with gone as (delete from public.nchat_users where id = $1) select from realtime.presence where user_id = $1 for update`,
	}
	first, last := map[uuid.UUID]uuid.UUID{}, map[uuid.UUID]uuid.UUID{}
	for user := range held {
		if user != fresh {
			first[user] = r.connect(n, user).Session
		}
	}
	release := r.hold(held)
	for user := range held {
		k := Key{Tenant: primary, User: user}
		n.Sessions.End(first[user])
		n.Sessions.End(beginUnseen(n, k))
		last[user] = beginUnseen(n, k)
	}

	carol := r.connect(n, demo.Carol)
	seen := r.watch(n, as(demo.Bob), demo.Carol)
	until(t, seen, func(v View) bool { return v.Status == Online })
	for _, s := range []Status{Offline, Busy, Online} {
		if _, err := n.Edit.SetStatus(t.Context(), carol, s, nil); err != nil {
			t.Fatal(err)
		}
		until(t, seen, func(v View) bool { return v.Status == s })
	}
	n.Sessions.End(carol.Session)
	until(t, seen, func(v View) bool { return v.Status == Offline })
	for user, how := range held {
		if open, ended := r.sessionsOf(user); ended > 0 || (open == 0) != (user == fresh) || open > 1 {
			t.Errorf("%s: it is not held: %d open, %d ended", how, open, ended)
		}
	}

	release()
	for user, how := range held {
		eventually(t, "what was ended is over: "+how, func() bool {
			open, ended := r.sessionsOf(user)
			return open == 1 && ended == 0
		})
		if v := r.see(n, as(demo.Bob), user); (v.Status == Online) == (user == deleted) {
			t.Errorf("%s: afterwards it is %s", how, v.Status)
		}
		n.Sessions.End(last[user])
	}
	for user, how := range held {
		eventually(t, "nothing is left: "+how, func() bool {
			open, ended := r.sessionsOf(user)
			return open+ended == 0 && r.see(n, as(demo.Bob), user).Status == Offline
		})
	}
}

// TestManyWhoAreHeld: more than are asked about at once; each is written once it can be.
func TestManyWhoAreHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	const many = heldAtOnce + 10
	users, held := make([]uuid.UUID, many), map[uuid.UUID]string{}
	for i := range users {
		users[i] = uuid.New()
		held[users[i]] = heldRow
	}
	r.exec(`insert into realtime.presence (tenant, user_id) select 'primary', u from unnest($1::uuid[]) u`, users)
	release := r.hold(held)
	for _, u := range users {
		beginUnseen(n, Key{Tenant: primary, User: u})
	}
	r.connect(n, demo.Carol) // fails where it is not written
	release()
	eventually(t, "they are connected", func() (all bool) {
		const q = `select count(*) = $2 from realtime.presence p where p.user_id = any ($1) and p.active`
		if err := r.pool.QueryRow(t.Context(), q, users, many).Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	})
}

// TestWhoIsHeldKeepsNobodyConnected: whoever was on a node that died, whose HTTP-only session
// lapsed, or whom a crash of Postgres left behind, ends although another of them is held. She
// is seen to have gone with her node too, and it is written when she is held no more.
func TestWhoIsHeldKeepsNobodyConnected(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	eventually(t, "it is known since when the database stands", func() (is bool) {
		return r.pool.QueryRow(t.Context(), `select exists (select from realtime.boot)`).Scan(&is) == nil && is
	})
	dead := lease.Dead{Node: uuid.New(), Alive: time.Now().Add(-time.Minute).Truncate(time.Microsecond)}
	r.exec(`insert into realtime.nodes (id, lease_until) values ($1, clock_timestamp() + interval '1 hour')`, dead.Node) // buried here, below
	both := []uuid.UUID{demo.Alice, demo.Carol}
	r.exec(`insert into realtime.presence (tenant, user_id, active) select 'primary', u, true from unnest($1::uuid[]) u`, both)
	const open = `
insert into realtime.sessions (id, tenant, user_id, node_id, node_epoch, connected_at, last_active_at, lapses_at)
select gen_random_uuid(), 'primary', u, d.id, d.epoch, now(), now(), case when d.id is null then now() - interval '1 minute' end
  from unnest($1::uuid[]) u left join realtime.nodes d on d.id = $2`
	r.exec(open, both, dead.Node)
	release := r.hold(map[uuid.UUID]string{demo.Alice: heldRow})
	active := func(user uuid.UUID) (is bool, seen *time.Time) {
		t.Helper()
		if err := r.pool.QueryRow(t.Context(), `select active, last_seen_at from realtime.presence where user_id = $1`, user).Scan(&is, &seen); err != nil {
			t.Fatal(err)
		}
		return is, seen
	}

	err := postgres.Quietly(t.Context(), r.pool, func(tx pgx.Tx) error {
		keys, err := n.Bury(t.Context(), tx, []lease.Dead{dead})
		if len(keys) != len(both) {
			t.Errorf("rings for %d", len(keys))
		}
		if err == nil {
			_, err = tx.Exec(t.Context(), `delete from realtime.nodes where id = $1`, dead.Node)
		}
		return err
	})
	if err != nil {
		t.Fatal("nobody is buried:", err)
	}
	for _, u := range both {
		if v := r.see(n, as(demo.Bob), u); v.Status != Offline {
			t.Errorf("on a dead node, and %s", v.Status)
		}
	}
	var over time.Time
	if err := r.pool.QueryRow(t.Context(), `select lapses_at from realtime.sessions where user_id = $1`, demo.Alice).Scan(&over); err != nil || !over.Equal(quick.over(dead.Alive)) {
		t.Errorf("alice's is over at %v: %v", over, err)
	}
	if is, seen := active(demo.Carol); is || seen == nil || !seen.Equal(dead.Alive) {
		t.Errorf("carol is connected (%v), or was seen %v", is, seen)
	}

	r.exec(open, []uuid.UUID{demo.Carol}, uuid.Nil)
	if err := n.Sweep(t.Context(), 0); err != nil {
		t.Fatal("nobody lapses:", err)
	}
	eventually(t, "carol's has lapsed", func() bool { // the node's own sweep may be just at it
		open, _ := r.sessionsOf(demo.Carol)
		return open == 0
	})

	r.exec(`update realtime.boot set since = clock_timestamp() - interval '1 hour'`)
	r.exec(`delete from realtime.sessions where user_id = $1`, demo.Carol)
	r.exec(`update realtime.presence set active = true where user_id = $1`, demo.Carol)
	r.exec(`insert into realtime.presence (tenant, user_id, active) values ('primary', $1, true)`, demo.Dave)
	holdDave := r.hold(map[uuid.UUID]string{demo.Dave: heldRow})
	if err := n.Sweep(t.Context(), orphanPatience); err != nil {
		t.Fatal("nobody is ended after a crash:", err)
	}
	if is, _ := active(demo.Carol); is {
		t.Error("carol has no session, and is connected")
	}

	release()
	holdDave()
	eventually(t, "alice is written as she was seen", func() bool {
		_ = n.Sweep(t.Context(), orphanPatience)
		is, seen := active(demo.Alice)
		dave, _ := active(demo.Dave)
		return !is && seen != nil && seen.Equal(dead.Alive) && !dave
	})
}
