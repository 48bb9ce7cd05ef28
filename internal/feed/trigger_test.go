package feed

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
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
	hostile(do)
	do(`set local search_path = evil, pg_catalog`)
	do(`insert into public.nchat_messages (channel_id, content) values ('` + channels[0].String() + `', 'x')`)
	do(`insert into public.nchat_messages (channel_id, content, scheduled_at) values ('` + channels[0].String() + `', 'x', now())`)
}

// hostile fills the schema evil with what hides Postgres' own.
func hostile(do func(sql string)) {
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
	do(`create function evil.set_config(text, text, boolean) returns text language sql as 'select evil.run()::text'`)
	do(`create function evil.format(text, text) returns text language sql as 'select evil.run()::text'`)
	do(`create function evil.unnest(anyarray) returns setof anyelement language sql as 'select $1[1] where evil.run()'`)
}

// TestWhatRunsByAnothersPathNamesItsSchemas: whoever writes an app's tables in a function of
// ours does so by the search path of its caller, or the app's triggers would not find theirs;
// and finds nothing there itself.
func TestWhatRunsByAnothersPathNamesItsSchemas(t *testing.T) {
	t.Parallel()
	pool := pgtest.Nchat(t)
	if _, err := demo.Load(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, `drop function count_members, count_messages, set_updated_at cascade`) // that name everything by the path
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	var pinned, handed string
	const q = `
select coalesce(string_agg(p.proname, ' ') filter (where not h.handed and p.prosrc ~* '(insert into|update|delete from) public[.]'), ''),
       string_agg(p.proname, ' ' order by p.proname) filter (where h.handed)
  from pg_proc p cross join lateral (select 'path' = any (coalesce(p.proargnames, '{}')) as handed) h
 where p.pronamespace = 'realtime'::regnamespace and exists (select from unnest(p.proconfig) c where c like 'search_path=%')`
	if err := pool.QueryRow(t.Context(), q).Scan(&pinned, &handed); err != nil {
		t.Fatal(err)
	}
	if pinned != "" {
		t.Errorf("an app's triggers do not find their tables in what these write: %s", pinned)
	}
	if handed != "follow hide_legacy send_message set_notifications tell_legacy unmute" {
		t.Errorf("one is not tried here: %s", handed)
	}
	const thread = "00000000-0000-4000-a000-000000000001"
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	do := func(sql string) {
		t.Helper()
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	do(`create schema evil`)
	hostile(do)
	do(`insert into realtime.public_presence (tenant, user_id, version, status) values ('primary', '` + demo.Bob.String() + `', 1, 'online'), ('primary', '` + demo.Carol.String() + `', 2, 'online')`)
	do(`update public.nchat_users set last_seen_at = now()`)
	do(`insert into public.nchat_presence (user_id, status) select id, 'online' from public.nchat_users where id <> '` + demo.Carol.String() + `'`) // hers is made
	do(`update public.nchat_channel_members set is_muted = true`)
	do(`insert into realtime.notifications (channel_id, user_id, muted_until) values ('` + demo.Team.String() + `', '` + demo.Alice.String() + `', now() - interval '1 minute')`)
	do(`set local search_path = evil, pg_catalog`)
	for _, call := range []string{
		`send_message('primary', '` + demo.Bob.String() + `', 'k', '', '` + demo.General.String() + `', '` + thread + `', null, 'x', 'text', null, null)`,
		`follow('primary', '` + demo.Bob.String() + `', '` + thread + `', true)`,
		`follow('primary', '` + demo.Bob.String() + `', '` + thread + `', false)`,
		`set_notifications('primary', '` + demo.Team.String() + `', '` + demo.Bob.String() + `', 'mentions', true, now() + pg_catalog.make_interval(hours => 1))`,
		`unmute(10)`, `tell_legacy('{1,2}')`, `hide_legacy(10)`,
	} {
		var got string
		if err := tx.QueryRow(t.Context(), `select (x.*)::pg_catalog.text from realtime.`+call+` x`).Scan(&got); err != nil {
			t.Fatalf("%s: %v", call, err)
		}
		if got == "f" || got == "0" || got == "(denied,)" {
			t.Errorf("%s did nothing: %s", call, got)
		}
		var path string
		if err := tx.QueryRow(t.Context(), `select pg_catalog.current_setting('search_path')`).Scan(&path); err != nil || path != "evil, pg_catalog" {
			t.Errorf("after %s: %q, %v", call, path, err)
		}
	}
}
