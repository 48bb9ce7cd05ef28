package postgres_test

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// with is the real code and a package of the test's own.
func with(sql string) postgres.Code {
	code := maps.Clone(pgtest.Code())
	code["own"] = fstest.MapFS{"own.sql": &fstest.MapFile{Data: []byte(sql)}}
	return code
}

func one[T any](t *testing.T, pool *pgxpool.Pool, q string) (x T) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), q).Scan(&x); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	return x
}

func migrate(t *testing.T, pool *pgxpool.Pool, code postgres.Code) error {
	t.Helper()
	return postgres.Migrate(t.Context(), pool.Config().ConnString(), quiet(), code)
}

// A changed body, a changed shape, and one whose caller stands before it.
func TestCodeIsInstalledWheneverItChanges(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	const caller = "create or replace function realtime.own() returns text language sql as $$ select realtime.own_part()::text $$;\n\n-- what it calls\n"
	for _, step := range []struct{ part, want string }{
		{"create or replace function realtime.own_part() returns integer language sql as $$ select 1 $$;", "1"},
		{"create or replace function realtime.own_part() returns integer language sql as $$ select 2 $$;", "2"},
		{"create or replace function realtime.own_part() returns text language sql as $$ select 'three' $$;", "three"},
	} {
		if err := migrate(t, pool, with(caller+step.part)); err != nil {
			t.Fatal(err)
		}
		if got := one[string](t, pool, `select realtime.own()`); got != step.want {
			t.Errorf("own() = %s, want %s", got, step.want)
		}
	}
	before := one[string](t, pool, `select max(installed_at)::text from realtime.code`)
	oid := one[uint32](t, pool, `select 'realtime.own()'::regprocedure::oid`)
	if err := migrate(t, pool, with(caller+"create or replace function realtime.own_part() returns text language sql as $$ select 'three' $$;")); err != nil {
		t.Fatal(err)
	}
	if after := one[string](t, pool, `select max(installed_at)::text from realtime.code`); after != before {
		t.Error("nothing changed, and all is installed anew")
	}
	if got := one[uint32](t, pool, `select 'realtime.own()'::regprocedure::oid`); got != oid {
		t.Error("a function that did not change is another now: whoever was calling it has lost it")
	}
}

// What does not fit the tables fails when it is installed, and leaves what was.
func TestCodeThatDoesNotFitIsRefusedWhole(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for name, sql := range map[string]string{
		"no such column":  "create or replace function realtime.own() returns uuid language sql as $$ select nothing from public.nchat_users $$;",
		"no such syntax":  "create or replace function realtime.own() returns void language plpgsql as $$ begin perform from; end $$;",
		"no end":          "create or replace function realtime.own() returns void language sql as $$ $$",
		"no mark":         "create or replace function realtime.own() returns void language sql as $$ {{nothing}} $$;",
		"no such table":   "create trigger own after insert on public.nothing for each row execute function realtime.ring_presence();",
		"no schema":       "create trigger own after insert on nchat_users for each row execute function realtime.ring_presence();",
		"a trigger twice": strings.Repeat("create trigger own after insert on public.nchat_users for each row execute function realtime.user_changed();\n", 2),
	} {
		good := "create or replace function realtime.other() returns integer language sql as $$ select 1 $$;\n"
		err := migrate(t, pool, with(good+sql))
		if err == nil || !strings.Contains(err.Error(), "own.sql") && !strings.Contains(err.Error(), "public.nothing") {
			t.Errorf("%s: %v; want an error that names the file", name, err)
		}
		if one[bool](t, pool, `select to_regprocedure('realtime.other()') is not null`) {
			t.Fatalf("%s: half of it is there", name)
		}
	}
}

// A function is fitted to the columns there are, a trigger made anew when it
// watches others, and only then; what is called runs each time something changed.
func TestCodeFollowsTheColumns(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	exec := func(q string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	exec(`create table public.nchat_own (a integer, b integer); create table realtime.own_runs (at timestamptz default clock_timestamp())`)
	code := with(`
{{$all := cols "nchat_own" "a" "b" "c" -}}
create or replace function realtime.own() returns text language sql as $$ select '{{$all}} | {{of "new" $all}} | {{list "x" (and (has "nchat_own" "c") "y")}}' $$;
create or replace function realtime.own_changed() returns trigger language plpgsql as $$ begin return null; end $$;
create or replace function realtime.own_call() returns void language sql as $$ insert into realtime.own_runs default values $$;
create trigger own after update of {{$all}} on public.nchat_own for each row execute function realtime.own_changed();
select realtime.own_call();
`)
	const trigger = `select oid from pg_trigger where tgname = 'own'`
	for _, step := range []struct {
		change, want string
		runs         int
	}{{"select", "a, b | new.a, new.b | x", 1}, {"select", "a, b | new.a, new.b | x", 1}, {"alter table public.nchat_own add column c integer", "a, b, c | new.a, new.b, new.c | x, y", 2}} {
		exec(step.change)
		if err := migrate(t, pool, code); err != nil {
			t.Fatal(err)
		}
		if got := one[string](t, pool, `select realtime.own()`); got != step.want {
			t.Errorf("after %s: %q, want %q", step.change, got, step.want)
		}
		if got := one[int](t, pool, `select count(*) from realtime.own_runs`); got != step.runs {
			t.Errorf("after %s: called %d times, want %d", step.change, got, step.runs)
		}
	}
	was := one[uint32](t, pool, trigger)
	exec(`drop trigger own on public.nchat_own`)
	if err := migrate(t, pool, code); err != nil || one[uint32](t, pool, trigger) == was {
		t.Errorf("a trigger that was dropped is back: %v", err)
	}
	// A version without the trigger takes it away, and leaves alone what somebody else made.
	exec(`create trigger theirs after insert on public.nchat_own for each row execute function realtime.own_changed()`)
	err := migrate(t, pool, with("create or replace function realtime.own() returns text language sql as $$ select 'later' $$;"))
	if n := one[int](t, pool, `select count(*) from pg_trigger where tgname = 'theirs'`); n != 1 {
		t.Error("another's trigger is gone")
	}
	if err != nil || one[int](t, pool, `select count(*) from pg_trigger where tgname = 'own'`) != 0 {
		t.Errorf("a trigger nobody names any more is still there: %v", err)
	}
}

// Which functions a node wants is told by their sources: those of a later
// version may be in their place, those never installed ask to migrate first.
func TestStatusKnowsTheCode(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	later := with("create or replace function realtime.own() returns integer language sql as $$ select 1 $$;")
	ready := func(code postgres.Code) bool {
		t.Helper()
		s, err := postgres.MigrationStatus(t.Context(), pool, code)
		if err != nil {
			t.Fatal(err)
		}
		return s.Ready()
	}
	if !ready(pgtest.Code()) || ready(later) {
		t.Fatal("before: want this version ready, and not the later one")
	}
	if err := migrate(t, pool, later); err != nil {
		t.Fatal(err)
	}
	if !ready(pgtest.Code()) || !ready(later) {
		t.Error("after the later version came, both may work on it")
	}
}

// A column that is gone, that has come, or is of another type is noticed where a function or a
// trigger is another for it, and nothing else is.
func TestColumnsThatChangedAreNoticed(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for _, step := range []struct {
		change string
		want   bool
	}{
		{"select", false},
		{"alter table public.nchat_users add column shoe_size integer", false},
		{"alter table public.nchat_channel_members add column muted_until timestamptz", true},
		{"alter table public.nchat_channel_members drop column muted_until", false},
		{"alter table public.nchat_users drop column avatar_url", true},
		{"alter table public.nchat_users add column avatar_url varchar(500)", false},
		{"alter table public.nchat_messages drop column content_plain, add column content_plain text generated always as (lower(content)) stored", true},
	} {
		if _, err := pool.Exec(t.Context(), step.change); err != nil {
			t.Fatalf("%s: %v", step.change, err)
		}
		if got, err := postgres.ColumnsChanged(t.Context(), pool, pgtest.Code()); err != nil || got != step.want {
			t.Errorf("after %s: %v, %v; want %v", step.change, got, err, step.want)
		}
	}
	other := with("create or replace function realtime.own() returns integer language sql as $$ select 1 $$;")
	if got, err := postgres.ColumnsChanged(t.Context(), pool, other); err != nil || got {
		t.Errorf("of a version that was never here: %v, %v", got, err)
	}
}

// Databases of before the first release count their versions otherwise.
func TestAnUnreleasedDatabaseIsNamed(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), `drop table realtime.code; insert into realtime.goose_db_version (version_id, is_applied) values (9, true)`); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t, pool, pgtest.Code()); err == nil || !strings.Contains(err.Error(), "drop schema realtime cascade") {
		t.Errorf("Migrate = %v; want what to do", err)
	}
}

// A database that a later version has been at is left as it is.
func TestALaterDatabaseIsLeft(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), `insert into realtime.goose_db_version (version_id, is_applied) values (9999, true)`); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t, pool, with("create or replace function realtime.own() returns integer language sql as $$ select 1 $$;")); err != nil {
		t.Fatal(err)
	}
	if one[bool](t, pool, `select to_regprocedure('realtime.own()') is not null`) {
		t.Error("functions of a version before are installed over those of a later one")
	}
}

// A function that takes one thing more takes the place of the one before: with
// defaults a call could mean either, and the app's own writes would fail.
func TestAFunctionHasOneSignature(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	const caller = "create or replace function realtime.own() returns integer language plpgsql as $$ begin return realtime.own_part(1); end $$;\n"
	for _, part := range []string{
		"create or replace function realtime.own_part(a integer, b integer default 1) returns integer language sql as $$ select a + b $$;",
		"create or replace function realtime.own_part(a integer, b integer default 1, c integer default 2) returns integer language sql as $$ select a + b + c $$;",
	} {
		if err := migrate(t, pool, with(caller+part)); err != nil {
			t.Fatal(err)
		}
	}
	if got := one[int](t, pool, `select realtime.own()`); got != 4 {
		t.Errorf("own() = %d, want 4", got)
	}
	if n := one[int](t, pool, `select count(*) from pg_proc where proname = 'own_part'`); n != 1 {
		t.Errorf("own_part has %d signatures", n)
	}
}

// An older node that starts again leaves a later version's rules in force; to go
// back is to say so.
func TestAnOlderVersionTakesNothingBack(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	of := func(n string) postgres.Code {
		return with("create or replace function realtime.own() returns text language sql as $$ select '" + n + "' $$;")
	}
	for _, step := range []struct {
		code postgres.Code
		how  []postgres.How
		want string
	}{{of("older"), nil, "older"}, {of("later"), nil, "later"}, {of("older"), nil, "later"}, {of("older"), []postgres.How{postgres.TakeBack}, "older"}, {of("later"), nil, "later"}} {
		if err := postgres.Migrate(t.Context(), pool.Config().ConnString(), quiet(), step.code, step.how...); err != nil {
			t.Fatal(err)
		}
		if got := one[string](t, pool, `select realtime.own()`); got != step.want {
			t.Errorf("in force: %s, want %s", got, step.want)
		}
	}
}

// What the app shows us as a view is read like a table.
func TestAViewIsRead(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), `
create table public.their_settings (user_id uuid primary key, show_online_status boolean);
insert into public.their_settings values (gen_random_uuid(), false);
create view public.nchat_user_settings as select * from public.their_settings`); err != nil {
		t.Fatal(err)
	}
	pgtest.Migrate(t, pool)
	if n := one[int](t, pool, `select count(*) from realtime.nchat_switches() where not show_online_status`); n != 1 {
		t.Errorf("%d switches are seen", n)
	}
}
