package feed

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// before has an app's own trigger change a row before it is written.
func before(table, change string) string {
	return fmt.Sprintf(`create function app_%[1]s() returns trigger language plpgsql as $$ begin %[2]s; return new; end $$;
create trigger app before update on public.nchat_%[1]s for each row execute function app_%[1]s()`, table, change)
}

// TestWaysToWrite: however a row comes to be another, the log hears of it, once.
func TestWaysToWrite(t *testing.T) { //nolint:tparallel // one database, one after the other
	t.Parallel()
	const write = `insert into public.nchat_messages (id, channel_id, user_id, content) values (:m, :c, :u, 'x')`
	const upsert = write + ` on conflict (id) do update set content = 'y'`
	const merge = `merge into public.nchat_messages o using (select uuid(:m) as id) s on o.id = s.id
when matched and o.content = 'y' then delete when matched then update set content = 'y'
when not matched then insert (id, channel_id, user_id, content) values (:m, :c, :u, 'x')`
	const member = `update public.nchat_channel_members set last_read_at = now() where user_id = :u and channel_id = :c`
	pool := placeWorld(t)
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	start := number(t, pool, `select realtime.last_pos()`)
	version := number(t, pool, `select current_setting('server_version_num')::int`)
	ids := strings.NewReplacer(":m", "'"+fixed('m', 0).String()+"'", ":n", "'"+fixed('n', 0).String()+"'", ":c", "'"+fixed('c', 0).String()+"'",
		":d", "'"+fixed('d', 0).String()+"'", ":e", "'"+fixed('c', 3).String()+"'", ":u", "'"+fixed('u', 0).String()+"'")
	for name, c := range map[string]struct {
		do   []string
		want string
	}{
		"upserts":                                {[]string{upsert, upsert}, "created 1 of m, updated 1 of m"},
		"merge":                                  {[]string{merge, merge, merge}, "created 1 of m, updated 1 of m, deleted 1 of m"},
		"nothing in it is another":               {[]string{write, `update public.nchat_messages set content = content, type = type`}, "created 1 of m"},
		"an app's trigger edits":                 {[]string{write, before("messages", `new.content := 'seen'`), `update public.nchat_messages set edited_at = now()`}, "created 1 of m, updated 1 of m"},
		"an app's trigger deletes":               {[]string{write, before("messages", `new.is_deleted := true`), `update public.nchat_messages set edited_at = now()`}, "created 1 of m, deleted 1 of m"},
		"a message's key changes":                {[]string{write, `update public.nchat_messages set id = :n`}, "created 1 of m, deleted 1 of m, created 2 of n"},
		"a message's key changes with the text":  {[]string{write, `update public.nchat_messages set id = :n, content = 'y'`}, "created 1 of m, deleted 1 of m, created 2 of n"},
		"two messages change keys":               {[]string{write, strings.Replace(write, ":m", ":n", 1), `update public.nchat_messages set id = uuid('e' || substr(cast(id as text), 2))`}, "created 1 of m, created 2 of n, deleted 1 of m, created 3, deleted 2 of n, created 4"},
		"a member is upserted":                   {[]string{`insert into public.nchat_channel_members (channel_id, user_id) values (:c, :u) on conflict (channel_id, user_id) do update set can_read = false`}, "left 0"},
		"an app's trigger bars a member":         {[]string{before("channel_members", `new.can_read := false`), member}, "left 0"},
		"an app's trigger changes a role":        {[]string{before("channel_members", `new.role := 'guest'`), member}, "member 0"},
		"an app's trigger renames a channel":     {[]string{before("channels", `new.name := 'other'`), `update public.nchat_channels set slug = 'd' where id = :c`}, "channel 0"},
		"an app's trigger publishes a channel":   {[]string{before("channels", `new.type := 'public'`), `update public.nchat_channels set slug = 'd' where id = :c`}, "opened 0"},
		"an app's trigger suspends a user":       {[]string{before("users", `new.status := 'suspended'`), `update public.nchat_users set display_name = 'v' where id = :u`}, "left 0, left 0"},
		"a channel's key changes":                {[]string{`delete from public.nchat_channel_members`, `update public.nchat_channels set id = :d where id = :c`, `insert into public.nchat_channel_members (channel_id, user_id) values (:d, :u)`, strings.Replace(write, ":c", ":d", 1)}, strings.Repeat("left 0, ", 10) + "gone 0, joined 0, created 1 of m"},
		"a member moves to another channel":      {[]string{`update public.nchat_channel_members set channel_id = :e where user_id = :u and channel_id = :c`}, "left 0, joined 0"},
		"members move to one another's channels": {[]string{`update public.nchat_channel_members set channel_id = :e where channel_id = :c`}, strings.TrimSuffix(strings.Repeat("left 0, joined 0, ", 5), ", ")},
		"a user becomes another tenant's":        {[]string{`update public.nchat_users set source_account_id = 'other' where id = :u`}, "left 0, left 0"},
		"an app's trigger takes a message away": {[]string{`create function app() returns trigger language plpgsql as $$ begin delete from public.nchat_messages where id = new.id; return null; end $$;
create trigger app after insert on public.nchat_messages for each row execute function app()`, write}, "created 1 of m, deleted 1 of m"},
		"a user is deleted with all of its words": {[]string{write, `delete from public.nchat_users where id = :u`}, "created 1 of m, left 1, left 0, updated 1 of m"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "merge" && version < 150000 {
				t.Skip("Postgres 14 has no MERGE")
			}
			tx, err := pool.Begin(t.Context()) // each takes back what it did
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			for _, q := range c.do {
				if _, err := tx.Exec(t.Context(), ids.Replace(q)); err != nil {
					t.Fatal(err)
				}
			}
			const told = `
select coalesce(string_agg(concat_ws(' ', kind, seq, case message_id when $2 then 'of m' when $3 then 'of n' end), ', ' order by l.pos), '')
  from realtime.log l where l.pos > $1`
			var got string
			var missing, unbarred int
			if _, err := tx.Exec(t.Context(), `select realtime.sequence(1000, false)`); err != nil {
				t.Fatal(err)
			}
			if err := tx.QueryRow(t.Context(), told, start, fixed('m', 0), fixed('n', 0)).Scan(&got); err != nil || got != c.want {
				t.Errorf("the log: %v\n%s\nwant\n%s", err, got, c.want)
			}
			if err := tx.QueryRow(t.Context(), `select count(*) from realtime.unnoted()`).Scan(&missing); err != nil || missing != 0 {
				t.Errorf("%d changes are not in it: %v", missing, err)
			}
			const bar = `
select count(*) from public.nchat_users u where u.status = 'suspended' and not exists (select from realtime.barred_users b where b.user_id = u.id)`
			if err := tx.QueryRow(t.Context(), bar).Scan(&unbarred); err != nil || unbarred != 0 {
				t.Errorf("%d who are suspended are not barred: %v", unbarred, err)
			}
		})
	}
}

// TestALateEventTellsNothingAnew: what Hasura says late of a message from before its
// channel became another tenant's gives it no number there, whether or not the sweep
// has come by.
func TestALateEventTellsNothingAnew(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	for i := range 2 {
		mustExec(t, pool, insertX, fixed('m', i), fixed('c', 0), fixed('u', i))
	}
	mustExec(t, pool, `insert into public.nchat_messages (channel_id, content) select $1, 'x' from generate_series(1, 1000)`, fixed('c', 0))
	mustExec(t, pool, `select realtime.sequence(5000, false)`)
	late := func(when string) {
		t.Helper()
		for i := range 2 {
			if n := number(t, pool, `select realtime.reconcile_message($1)::int`, fixed('m', i)); n != 0 {
				t.Errorf("%s: something is missing of message %d", when, i)
			}
			if got := heard(t, pool, i); got != fmt.Sprint("created ", i+1) {
				t.Errorf("%s: the log: %s", when, got)
			}
		}
	}
	late("before")
	mustExec(t, pool, `update public.nchat_channels set source_account_id = 'other' where id = $1`, fixed('c', 0))
	late("not in the log yet")
	mustExec(t, pool, `update realtime.messages set gone = true where message_id = $1`, fixed('m', 0)) // as the newest thousand are
	late("moved")
	for number(t, pool, `select realtime.sweep_void(500)`) > 0 {
	}
	late("swept")
	if n := number(t, pool, `select count(*) from realtime.unnoted() u where u.what <> 'member'`); n != 0 {
		t.Errorf("%d messages are said to be missing", n)
	}
	mustExec(t, pool, insertX, fixed('m', 2), fixed('c', 0), fixed('u', 2))
	if got := heard(t, pool, 2); got != "created 1003" {
		t.Errorf("what is written there: %s", got)
	}
}

// TestWhatBecameOfMessagesPastTheTriggersIsFound: one that went to another channel,
// was deleted, was withdrawn, and came back.
func TestWhatBecameOfMessagesPastTheTriggersIsFound(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	for i := range 5 {
		mustExec(t, pool, insertX, fixed('m', i), fixed('c', 0), fixed('u', i))
	}
	mustExec(t, pool, `update public.nchat_messages set scheduled_at = now(), published_at = null where id = $1`, fixed('m', 3))
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	mustExec(t, pool, `do $$ begin
  set local session_replication_role = replica;
  update public.nchat_messages set channel_id = '`+fixed('c', 1).String()+`' where id = '`+fixed('m', 0).String()+`';
  update public.nchat_messages set is_deleted = true where id = '`+fixed('m', 1).String()+`';
  update public.nchat_messages set scheduled_at = now() where id = '`+fixed('m', 2).String()+`';
  update public.nchat_messages set published_at = now() where id = '`+fixed('m', 3).String()+`';
end $$`)
	if err := Noted(t.Context(), pool); err == nil || !strings.Contains(err.Error(), " 4 that are others") {
		t.Errorf("found: %v", err)
	}
	if n := number(t, pool, `select realtime.reconcile()`); n != 4 {
		t.Errorf("%d are noted", n)
	}
	for i, want := range []string{"created 1, deleted 1, created 1", "created 2, deleted 2", "created 3, deleted 3", "created 4, deleted 4, created 6", "created 5"} {
		if got := heard(t, pool, i); got != want {
			t.Errorf("message %d: %s, want %s", i, got, want)
		}
	}
	if err := Noted(t.Context(), pool); err != nil {
		t.Errorf("all is noted: %v", err)
	}
	if n := number(t, pool, `select realtime.reconcile()`); n != 0 {
		t.Errorf("%d more are noted", n)
	}
}
