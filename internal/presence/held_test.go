package presence

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// TestWhoIsHeldIsBeforeNobody: more lapsed sessions than a transaction ends are of users
// who are held, and have the lowest ids. Carol's ends with the same sweep.
func TestWhoIsHeldIsBeforeNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	alone := New(Options{Pool: r.pool, Clock: clock.New(), Bell: r, Rules: quick, Log: slog.New(slog.DiscardHandler)}) // does not sweep by itself
	const each = lapsedMost/4 + 1
	held := map[uuid.UUID]string{demo.Alice: heldRow, demo.Dave: heldRow, demo.Erin: heldRow, demo.Frank: heldRow}
	users := []uuid.UUID{demo.Alice, demo.Dave, demo.Erin, demo.Frank, demo.Carol}
	r.exec(`insert into realtime.presence (tenant, user_id, active) select 'primary', u, true from unnest($1::uuid[]) u`, users)
	r.hold(held)
	const lapsed = `
insert into realtime.sessions (id, tenant, user_id, connected_at, last_active_at, lapses_at)
select ($3 || right(gen_random_uuid()::text, 28))::uuid, 'primary', u, now(), now(), now() - interval '1 minute'
  from unnest($1::uuid[]) u, generate_series(1, $2::integer)`
	r.exec(lapsed, users[:4], each, "00000000")
	r.exec(lapsed, users[4:], 1, "ffffffff")
	if err := alone.Sweep(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if open, _ := r.sessionsOf(demo.Carol); open > 0 {
		t.Error("carol's has lapsed, and stays behind those of who is held")
	}
	if open, _ := r.sessionsOf(demo.Frank); open != each {
		t.Errorf("of who is held %d are left", open)
	}
}

// TestABurialIsInNobodysWay: a heartbeat holds a session of Alice's on a dead node, and then
// wants her own row. The burial waits for it, and not it for the burial.
func TestABurialIsInNobodysWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	dead := lease.Dead{Node: uuid.New(), Alive: time.Now().Add(-time.Minute)}
	r.exec(`insert into realtime.nodes (id, lease_until) values ($1, clock_timestamp() + interval '1 hour')`, dead.Node)
	r.exec(`insert into realtime.presence (tenant, user_id, active) values ('primary', $1, true)`, demo.Alice)
	r.exec(`
insert into realtime.sessions (id, tenant, user_id, node_id, node_epoch, connected_at, last_active_at)
select gen_random_uuid(), 'primary', $1, d.id, d.epoch, now(), now() from realtime.nodes d where d.id = $2`, demo.Alice, dead.Node)
	beat, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beat.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := beat.Exec(t.Context(), `select from realtime.sessions where user_id = $1 for update`, demo.Alice); err != nil {
		t.Fatal(err)
	}
	buried := make(chan error, 1)
	go func() {
		buried <- postgres.Quietly(t.Context(), r.pool, func(tx pgx.Tx) error {
			_, err := n.Bury(t.Context(), tx, []lease.Dead{dead})
			return err
		})
	}()
	eventually(t, "the burial waits", func() (waits bool) {
		const q = `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`
		if err := r.pool.QueryRow(t.Context(), q).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		return waits
	})
	if _, err := beat.Exec(t.Context(), `select from realtime.presence where user_id = $1 for update nowait`, demo.Alice); err != nil {
		t.Error("they wait for one another:", err)
	}
	if err := beat.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-buried; err != nil {
		t.Error(err)
	}
}

// TestWhoIsAskedFor: all who are set aside, however many, are asked for each time; and whose
// row is made, and then held, while it is asked, is held.
func TestWhoIsAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	wr := &writer{w: n.w}
	many := make([]Key, 2*heldAtOnce+1)
	for i := range many {
		many[i] = Key{Tenant: primary, User: uuid.New()}
	}
	r.exec(`insert into realtime.presence (tenant, user_id) select 'primary', u from unnest($1::uuid[]) u`, users(many))
	r.hold(map[uuid.UUID]string{many[0].User: heldRow})
	wr.aside.add(many)
	wr.rejoin(t.Context())
	if _, is := wr.aside.users[many[0]]; !is || len(wr.aside.users) != 1 {
		t.Errorf("%d are set aside still", len(wr.aside.users))
	}

	// Where its row is made hold_users waits, for as long as this transaction is open.
	r.exec(`
create function public.wait_here() returns trigger language plpgsql set lock_timeout = 0 as $$
begin
  perform pg_advisory_xact_lock(1);
  return new;
end $$`)
	r.exec(`
create trigger wait_here before insert on realtime.presence for each row when (current_setting('realtime.quiet', true) = 'on')
execute function public.wait_here()`)
	fresh := Key{Tenant: primary, User: uuid.New()}
	goOn := r.hold(map[uuid.UUID]string{fresh.User: `select pg_advisory_xact_lock(1) where $1::uuid is not null`})
	type answer struct {
		held []Key
		err  error
	}
	asked := make(chan answer, 1)
	go func() {
		held, err := n.w.held(t.Context(), []Key{fresh})
		asked <- answer{held, err}
	}()
	eventually(t, "it is about to make the row", func() (waits bool) {
		const q = `select exists (select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database()))`
		if err := r.pool.QueryRow(t.Context(), q).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		return waits
	})
	r.exec(`insert into realtime.presence (tenant, user_id) values ('primary', $1)`, fresh.User)
	r.hold(map[uuid.UUID]string{fresh.User: heldRow})
	goOn()
	if a := <-asked; a.err != nil || len(a.held) != 1 {
		t.Errorf("held are %v: %v", a.held, a.err)
	}
}

func users(keys []Key) []uuid.UUID {
	_, list := keyColumns(keys)
	return list
}

// TestWhoIsHeldBesideAValueThatIsRefused: while sessions are written one by one, whoever is
// held is set aside as well, and what was not written for it is written later.
func TestWhoIsHeldBesideAValueThatIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	wr := &writer{w: n.w, sessions: newSessions(n.w), node: n.lease}
	r.exec(`insert into realtime.presence (tenant, user_id) values ('primary', $1)`, demo.Alice)
	release := r.hold(map[uuid.UUID]string{demo.Alice: heldRow})
	gone, expire := context.WithCancel(t.Context())
	expire()
	for user, token := range map[uuid.UUID]string{demo.Alice: "", demo.Bob: "a\x00b", demo.Carol: ""} {
		for range 2 {
			wr.sessions.Begin(gone, Opening{ID: uuid.New(), Key: Key{Tenant: primary, User: user}, Counts: true, Device: DeviceWeb, TokenID: token, Socket: newSocket()})
		}
	}
	alice := Key{Tenant: primary, User: demo.Alice}
	if err := wr.flush(t.Context()); !postgres.Locked(err) {
		t.Error("who is held is not told of:", err)
	}
	if _, is := wr.aside.users[alice]; !is || len(wr.aside.users) != 1 {
		t.Errorf("set aside are %v", wr.aside.users)
	}
	if open, _ := r.sessionsOf(demo.Carol); open != 2 {
		t.Errorf("of carol %d are written", open)
	}
	release()
	wr.rejoin(t.Context())
	if err := wr.flush(t.Context()); err != nil {
		t.Error(err)
	}
	if open, _ := r.sessionsOf(demo.Alice); open != 2 {
		t.Errorf("of alice %d are written", open)
	}
}

// TestTheLastWordOfWhoIsHeld: a node that ends waits a moment for what holds Alice's row.
func TestTheLastWordOfWhoIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice, carol := r.connect(n, demo.Alice), r.connect(n, demo.Carol)
	release := r.hold(map[uuid.UUID]string{demo.Alice: heldRow})
	n.Sessions.End(alice.Session)
	n.Sessions.End(carol.Session)
	n.stop()
	eventually(t, "carol has left", func() bool {
		_, ended := r.sessionsOf(demo.Carol)
		return ended == 1
	})
	release()
	<-n.done
	if _, ended := r.sessionsOf(demo.Alice); ended != 1 {
		t.Error("alice left with the node, and that is not written")
	}
}
