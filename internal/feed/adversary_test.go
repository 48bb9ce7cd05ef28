package feed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/sweep"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// readAll pages on from a cursor and answers what was told, in order.
func readAll(t *testing.T, s *Service, v viewer.Viewer, cursor string) (list []text, reset Reason, end string) {
	t.Helper()
	for more := true; more; {
		p := mustSync(t, s, v, Query{Cursor: cursor, First: MaxFirst})
		if p.Reset != "" {
			list, reset = nil, p.Reset
		}
		list = append(list, texts(p.Messages)...)
		cursor, more = p.Cursor, p.More
	}
	return list, reset, cursor
}

func has(list []text, id uuid.UUID) bool {
	for _, m := range list {
		if m.ID == id {
			return true
		}
	}
	return false
}

// TestACrashTakesBackWhatWasNotOnTheDisk: with synchronous_commit off Postgres says
// that it has what a crash takes. Whoever was told of that is told to begin anew.
func TestACrashTakesBackWhatWasNotOnTheDisk(t *testing.T) {
	if os.Getenv("FEED_CRASH") == "" {
		t.Skip("FEED_CRASH is not set: takes half a minute")
	}
	t.Parallel()
	own := pgtest.Cluster(t)
	pool := pgtest.Pool(t, own.Migrated())
	reader, channels := lawWorld(t, pool)
	v := viewer.Of("primary", reader)
	s := newService(pool, &bells{})
	say(t, pool, channels[0])
	for _, q := range []string{`alter system set wal_writer_delay = '10s'`, `select pg_reload_conf()`, `checkpoint`, `alter database postgres set synchronous_commit = off`} {
		mustExec(t, pool, q)
	}
	pool.Reset()
	start := flushed(t, pool, s, v, channels[4])
	lost := []uuid.UUID{say(t, pool, channels[0]), say(t, pool, channels[1])}
	list, _, at := readAll(t, s, v, start)
	if !has(list, lost[0]) || at == start {
		t.Fatal("nothing was told that could be taken back")
	}
	own.Abort()
	own.Start()
	pool.Reset()
	if n := number(t, pool, `select count(*) from public.nchat_messages where id = any ($1)`, lost); int(n) == len(lost) {
		t.Fatal("they are still there, and this tests nothing")
	}
	kept := []uuid.UUID{say(t, pool, channels[0]), say(t, pool, channels[2]), say(t, pool, channels[3])}
	list, reset, _ := readAll(t, s, v, at)
	if reset != Changed {
		t.Errorf("reset %q", reset)
	}
	for _, id := range kept {
		if !has(list, id) {
			t.Error("not told of", id)
		}
	}
	if list, reset, _ = readAll(t, s, v, start); reset != "" || len(list) < len(kept) || len(list) >= len(kept)+len(lost) {
		t.Errorf("a cursor from before: reset %q, %d messages", reset, len(list))
	}
}

// flushed says something, and waits for the server to have put it on the disk by
// itself: the next time it does so is ten seconds away.
func flushed(t *testing.T, pool *pgxpool.Pool, s *Service, v viewer.Viewer, channel uuid.UUID) (cursor string) {
	t.Helper()
	say(t, pool, channel)
	_, _, cursor = readAll(t, s, v, "")
	var end string
	if err := pool.QueryRow(t.Context(), `select pg_current_wal_insert_lsn()::text`).Scan(&end); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); number(t, pool, `select (pg_current_wal_flush_lsn() >= $1::text::pg_lsn)::int`, end) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("never on the disk")
		}
	}
	return cursor
}

// TestTheClockStepsBack: a day. What is written then is told at once, in order, and
// the sequencer neither believes that somebody looks all the time nor stops clearing.
func TestTheClockStepsBack(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	first := say(t, pool, channels[0])
	_, _, at := readAll(t, s, v, "")
	mustExec(t, pool, `update realtime.log set at = at + interval '1 day'`)
	mustExec(t, pool, `update realtime.head set at = at + interval '1 day', hot = clock_timestamp() + interval '1 day'`)
	conn, err := pgx.Connect(t.Context(), pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), `listen nchat_realtime`); err != nil {
		t.Fatal(err)
	}
	second, third := say(t, pool, channels[0]), say(t, pool, channels[1])
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := conn.WaitForNotification(soon); err != nil {
		t.Error("nobody rings for a day:", err)
	}
	list, reset, _ := readAll(t, s, v, at)
	if reset != "" || len(list) != 2 || !has(list, second) || !has(list, third) || has(list, first) {
		t.Errorf("reset %q, told of %v", reset, list)
	}
	if n := number(t, pool, `select count(*) from (select at < lag(at) over (order by pos) as back from realtime.log) x where x.back`); n != 0 {
		t.Errorf("%d entries are older than the one before", n)
	}
	for range 3 {
		mustExec(t, pool, `select realtime.sequence(100, false, true)`)
	}
	if n := number(t, pool, `select count(*) from realtime.head where at > clock_timestamp() + interval '1 minute'`); n != 0 {
		t.Error("the inbox is not cleared for a day")
	}
	// And forth: what is a day old by the new clock goes, and readers are told so.
	mustExec(t, pool, `update realtime.log set at = at - interval '3 days'`)
	if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if _, reset, _ := readAll(t, s, v, at); reset != Expired {
		t.Errorf("reset %q", reset)
	}
}

// TestAnAppsOwnSettings: whatever role and database of the app say of search_path,
// timeouts and isolation, what it writes is told; what it could not write is not.
func TestAnAppsOwnSettings(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	_, _, at := readAll(t, s, v, "")
	role := "app_" + uuid.NewString()[:8]
	for _, q := range []string{
		`create schema odd`,
		`create function odd.clock_timestamp() returns timestamptz language sql as $$ select 'infinity'::timestamptz $$`,
		`create function odd.never(text, text) returns boolean language sql immutable as $$ select false $$`,
		`create operator odd.= (leftarg = text, rightarg = text, function = odd.never)`,
		`create operator odd.<> (leftarg = text, rightarg = text, function = odd.never)`,
		`create function odd.nextval(regclass) returns bigint language sql as $$ select 1::bigint $$`,
		`create table odd.head (only_row boolean)`, `create table odd.inbox (id bigint)`, `create table odd.nchat_messages (id uuid)`,
		`create role ` + role + ` login`,
		`grant usage on schema public, odd to ` + role,
		`grant select, insert, update, delete on all tables in schema public to ` + role,
	} {
		mustExec(t, pool, q)
	}
	t.Cleanup(func() {
		for _, q := range []string{`drop owned by `, `drop role `} {
			_, _ = pool.Exec(context.Background(), q+role)
		}
	})
	for _, set := range []string{
		`search_path = odd, pg_catalog, public`, `search_path = ''`, `search_path = odd`, `statement_timeout = '2s'`, `lock_timeout = '2s'`,
		`idle_in_transaction_session_timeout = '2s'`, `default_transaction_isolation = 'serializable'`, `default_transaction_isolation = 'repeatable read'`,
		`standard_conforming_strings = off`, `DateStyle = 'German, DMY'`, `IntervalStyle = 'sql_standard'`, `TimeZone = 'Asia/Kathmandu'`, `bytea_output = 'escape'`, `extra_float_digits = -15`,
		`row_security = off`, `plan_cache_mode = force_generic_plan`, `enable_indexscan = off`, `check_function_bodies = off`, `default_transaction_deferrable = on`,
	} {
		mustExec(t, pool, `alter role `+role+` reset all`)
		mustExec(t, pool, `alter role `+role+` set `+set)
		conn, err := pgx.ConnectConfig(t.Context(), asRole(pool, role))
		if err != nil {
			t.Fatal(err)
		}
		id := uuid.New()
		for _, q := range []string{
			fmt.Sprintf(`insert into public.nchat_messages (id, channel_id, content) values ('%s', '%s', 'x')`, id, channels[0]),
			fmt.Sprintf(`update public.nchat_messages set content = 'y' where id operator(pg_catalog.=) '%s'`, id),
			fmt.Sprintf(`insert into public.nchat_channel_members (channel_id, user_id) select '%s', id from public.nchat_users u where u.id operator(pg_catalog.<>) '%s' on conflict do nothing`, channels[1], v.User),
			fmt.Sprintf(`update public.nchat_channels set name = '%s' where id operator(pg_catalog.=) '%s'`, id, channels[1]),
		} {
			if _, err := conn.Exec(t.Context(), q); err != nil {
				t.Errorf("%s: %s: %v", set, q, err)
			}
		}
		_ = conn.Close(t.Context())
		var list []text
		if list, _, at = readAll(t, s, v, at); len(list) != 1 || list[0].ID != id || list[0].Said != "y" {
			t.Errorf("%s: told of %+v", set, list)
		}
	}
	// A statement that runs out of time or waits too long for a lock undoes itself, and the note with it.
	mustExec(t, pool, `alter role `+role+` reset all`)
	conn, err := pgx.ConnectConfig(t.Context(), asRole(pool, role))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), fmt.Sprintf(`set statement_timeout = '300ms'; insert into public.nchat_messages (channel_id, content) select '%s', pg_sleep(0.01)::text from generate_series(1, 1000)`, channels[0])); err == nil {
		t.Fatal("it did not run out of time")
	}
	if list, _, _ := readAll(t, s, v, at); len(list) != 0 {
		t.Errorf("told of %d messages that are not there", len(list))
	}
}

func asRole(pool *pgxpool.Pool, role string) *pgx.ConnConfig {
	c := pool.Config().ConnConfig.Copy()
	c.User = role
	return c
}

// TestManyAtOnce: COPY and updates of many rows are told once each, in order, while
// others write. COPY_ROWS=1000000 tries it with so many.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	rows, err := strconv.Atoi(os.Getenv("COPY_ROWS"))
	if err != nil {
		rows = 5000
	}
	pool, s, v, channels := reading(t)
	_, _, at := readAll(t, s, v, "")
	conn, err := pgx.Connect(t.Context(), pool.Config().ConnString()) // without the server's limits
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var other sync.WaitGroup
	done := make(chan struct{})
	var between []uuid.UUID
	other.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				between = append(between, say(t, pool, channels[1]))
			}
		}
	})
	n, err := conn.CopyFrom(t.Context(), pgx.Identifier{"public", "nchat_messages"}, []string{"id", "channel_id", "content"}, pgx.CopyFromSlice(rows, func(int) ([]any, error) {
		return []any{uuid.New(), channels[0], "x"}, nil
	}))
	if err != nil || int(n) != rows {
		t.Fatal(n, err)
	}
	if _, err := conn.Exec(t.Context(), `update public.nchat_messages set content = 'y' where channel_id = $1`, channels[0]); err != nil {
		t.Fatal(err)
	}
	close(done)
	other.Wait()
	seen := map[uuid.UUID]int{}
	list, reset, _ := readAll(t, s, v, at)
	for _, m := range list {
		if seen[m.ID]++; m.Channel == channels[0] && m.Said != "y" {
			t.Fatalf("%v says %q", m.ID, m.Said)
		}
	}
	if reset != "" || len(seen) != rows+len(between) {
		t.Errorf("reset %q, told of %d messages, want %d and %d", reset, len(seen), rows, len(between))
	}
	if n := number(t, pool, `select count(*) from realtime.messages where channel_id = $1 and seq between 1 and $2`, channels[0], rows); int(n) != rows {
		t.Errorf("%d numbers of %d", n, rows)
	}
	if n := number(t, pool, `select count(*) from (select pos - lag(pos) over (order by pos) as step from realtime.log) x where x.step <> 1`); n != 0 {
		t.Errorf("%d gaps in the log", n)
	}
}

// TestOppositeOrders: whoever changes members of two channels in one transaction
// holds the first until it ends. Of two that go opposite ways Postgres undoes one, as
// it does wherever locks are taken both ways round; that one's notes are undone with
// it, the other's stay, and once more it goes through. Messages take no such locks.
func TestOppositeOrders(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	join := func(tx pgx.Tx, channel, user uuid.UUID) error {
		_, err := tx.Exec(t.Context(), `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, channel, user)
		return err
	}
	var users []uuid.UUID
	for range 2 {
		id := uuid.New()
		mustExec(t, pool, `insert into public.nchat_users (id, email, display_name) values ($1, $2, 'u')`, id, id.String())
		users = append(users, id)
	}
	var met sync.WaitGroup
	met.Add(2)
	both := func(user, first, second uuid.UUID, meet bool) error {
		return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			err := join(tx, first, user)
			if meet {
				met.Done()
				met.Wait()
			}
			if err != nil {
				return err
			}
			return join(tx, second, user)
		})
	}
	failed := make([]error, len(users))
	var wg sync.WaitGroup
	for i, user := range users {
		wg.Go(func() { failed[i] = both(user, channels[i], channels[1-i], true) })
	}
	wg.Wait() // before it, whoever begins anew can meet the other once more
	for i, err := range failed {
		if err == nil {
			continue
		}
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "40P01" {
			t.Errorf("it is undone as %v", err)
		}
		if err := both(users[i], channels[0], channels[1], false); err != nil {
			t.Error("once more:", err)
		}
	}
	mustSync(t, s, v, Query{})
	if n := number(t, pool, `select count(*) from realtime.stints where user_id = any ($1) and to_seq is null`, users); n != 4 {
		t.Errorf("%d memberships of 4", n)
	}
	if n := number(t, pool, `select count(*) from realtime.log where user_id = any ($1) and kind = 'joined'`, users); n != 4 {
		t.Errorf("%d were told of", n)
	}
	// Messages into both, opposite ways, at the same time.
	met.Add(2)
	for i := range 2 {
		wg.Go(func() {
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				const q = `insert into public.nchat_messages (channel_id, content) values ($1, 'x')`
				_, err := tx.Exec(t.Context(), q, channels[i])
				met.Done()
				met.Wait()
				if err == nil {
					_, err = tx.Exec(t.Context(), q, channels[1-i])
				}
				return err
			})
			if err != nil {
				t.Error("messages:", err)
			}
		})
	}
	wg.Wait()
}
