package feed

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// What runs with its owner's rights runs nothing of whoever called it.
func TestNobodyRunsTheirOwnCodeWithOurRights(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	_, channels := lawWorld(t, pool)
	var open string
	const q = `
select coalesce(string_agg(p.proname, ' ' order by p.proname), '') from pg_proc p
 where p.pronamespace = 'realtime'::regnamespace and p.prosecdef
   and not exists (select from unnest(p.proconfig) c where c = 'search_path=pg_catalog, pg_temp')`
	if err := pool.QueryRow(t.Context(), q).Scan(&open); err != nil {
		t.Fatal(err)
	}
	if open != "feed_inserted" { // which names everything with its schema
		t.Fatalf("without a search_path of their own: %s", open)
	}
	role := "intruder_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }() // the role, too
	do := func(sql string) {
		t.Helper()
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	do(`create role ` + role)
	do(`create schema evil authorization ` + role)
	do(`grant usage on schema public, realtime to ` + role)
	do(`grant insert on public.nchat_messages to ` + role)
	do(`set local role ` + role)
	do(`create function evil.run() returns boolean language plpgsql as $$ begin raise exception 'hijacked as %', current_user; end $$`)
	for _, op := range []string{"=", "<>", ">"} {
		for _, of := range []string{"uuid", "text", "timestamptz", "bigint"} {
			do(`create function evil.cmp(` + of + `, ` + of + `) returns boolean language sql as 'select evil.run()'`)
			do(`create operator evil.` + op + ` (leftarg = ` + of + `, rightarg = ` + of + `, function = evil.cmp)`)
			do(`alter function evil.cmp(` + of + `, ` + of + `) rename to done_` + map[string]string{"=": "eq", "<>": "ne", ">": "gt"}[op])
		}
	}
	do(`create function evil.sum(bigint, integer) returns bigint language sql as 'select evil.run()::int::bigint'`)
	do(`create operator evil.+ (leftarg = bigint, rightarg = integer, function = evil.sum)`)
	do(`create function evil.current_setting(text, boolean) returns text language sql as 'select evil.run()::text'`)
	do(`create function evil.clock_timestamp() returns timestamptz language sql as 'select now() where evil.run()'`)
	do(`create domain evil.text as pg_catalog.text check (evil.run())`)
	do(`create domain evil.uuid as pg_catalog.uuid check (evil.run())`)
	do(`create domain evil.int8 as pg_catalog.int8 check (evil.run())`)
	do(`set local search_path = evil, pg_catalog`)
	do(`insert into public.nchat_messages (channel_id, content) values ('` + channels[0].String() + `', 'x')`)
	do(`insert into public.nchat_messages (channel_id, content, scheduled_at) values ('` + channels[0].String() + `', 'x', now())`)
}
