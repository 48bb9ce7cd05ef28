package feed

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// heard is what the log says of a message: kind and number of each entry.
func heard(t *testing.T, pool *pgxpool.Pool, message int) (out string) {
	t.Helper()
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	const q = `select coalesce(string_agg(kind || ' ' || seq, ', ' order by pos), '') from realtime.log where message_id = $1`
	if err := pool.QueryRow(t.Context(), q, fixed('m', message)).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

const insertX = `insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'x')`

// TestNothingStopsTheLog: what an app may do to its tables, however odd, is
// taken in, and what comes after it too.
func TestNothingStopsTheLog(t *testing.T) {
	t.Parallel()
	const write = `insert into public.nchat_messages (id, channel_id, user_id, content) values (:m, :c, :u, 'x')`
	for name, c := range map[string]struct {
		do   []string
		want string // of message 0
	}{
		"written, truncated and written again": {[]string{write, `truncate public.nchat_messages`, write}, "created 1, created 2"},
		"written, lost and written again": {[]string{write,
			`do $$ begin perform set_config('session_replication_role', 'replica', true); delete from public.nchat_messages; end $$`, write}, "created 1"},
		"without a type": {[]string{write, `update public.nchat_messages set type = null, is_system = null, is_deleted = null`}, "created 1, updated 1"},
		"an app's trigger changes it": {[]string{
			`create function app() returns trigger language plpgsql as $$ begin update public.nchat_messages set mentions = array[new.user_id] where id = new.id; return null; end $$`,
			`create trigger a_first after insert on public.nchat_messages for each row execute function app()`, write}, "created 1, updated 1"},
		"an app's trigger withdraws it": {[]string{
			`create function app() returns trigger language plpgsql as $$ begin update public.nchat_messages set scheduled_at = now(), published_at = null where id = new.id; return null; end $$`,
			`create trigger a_first after insert on public.nchat_messages for each row execute function app()`, write,
			`update public.nchat_messages set published_at = now()`}, "created 1, deleted 1, created 2"},
		"an app's trigger deletes what is edited": {[]string{
			`create function app() returns trigger language plpgsql as $$ begin update public.nchat_messages set is_deleted = true where id = new.id and not is_deleted; return null; end $$`,
			`create trigger a_first after update of content on public.nchat_messages for each row execute function app()`, write,
			`update public.nchat_messages set content = 'y'`}, "created 1, updated 1, deleted 1"},
		"its channel goes and comes back": {[]string{write, `select realtime.sequence(1000, false)`, `delete from public.nchat_channels where id = :c`,
			`select realtime.sequence(1000, false)`, `insert into public.nchat_channels (id, name, slug) values (:c, 'again', 'again')`, write}, "created 1, created 2"},
		"its channel is made anew at once": {[]string{`delete from public.nchat_channels where id = :c`, `insert into public.nchat_channels (id, name, slug) values (:c, 'again', 'again')`, write,
			`select realtime.sequence(1000, false)`, `update public.nchat_messages set content = 'y'`, `update public.nchat_messages set is_deleted = true`}, "created 1, updated 1, deleted 1"},
		"all of it at once": {[]string{write, `delete from public.nchat_channels where id = :c`, `insert into public.nchat_channels (id, name, slug) values (:c, 'again', 'again')`, write}, "created 1, created 2"},
		"its writer goes":   {[]string{write, `delete from public.nchat_users where id = :u`}, "created 1, updated 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := placeWorld(t)
			names := strings.NewReplacer(":m", "'"+fixed('m', 0).String()+"'", ":c", "'"+fixed('c', 0).String()+"'", ":u", "'"+fixed('u', 0).String()+"'")
			for _, q := range c.do {
				mustExec(t, pool, names.Replace(q))
			}
			if got := heard(t, pool, 0); got != c.want {
				t.Errorf("the log: %q, want %q", got, c.want)
			}
			mustExec(t, pool, insertX, fixed('m', 1), fixed('c', 1), fixed('u', 1))
			if got := heard(t, pool, 1); !strings.HasPrefix(got, "created 1") {
				t.Errorf("what comes after it: %q", got)
			}
		})
	}
}

// TestWhatAnAppsTriggerMakesOfAMessageIsKnown: also where the log takes its two
// notes one after the other.
func TestWhatAnAppsTriggerMakesOfAMessageIsKnown(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 1000} {
		pool := placeWorld(t)
		mustExec(t, pool, `create function app() returns trigger language plpgsql as $$ begin update public.nchat_messages set mentions = array[new.user_id] where id = new.id; return null; end $$`)
		mustExec(t, pool, `create trigger a_first after insert on public.nchat_messages for each row execute function app()`)
		mustExec(t, pool, insertX, fixed('m', 0), fixed('c', 0), fixed('u', 0))
		for number(t, pool, `select realtime.sequence($1, false)`, most) > 0 {
		}
		if n := number(t, pool, `select count(*) from realtime.messages where message_id = $1 and mentions = array[$2::uuid] and seq = 1`, fixed('m', 0), fixed('u', 0)); n != 1 {
			t.Errorf("%d at a time: the mentions are not known", most)
		}
		if got := heard(t, pool, 0); got != "created 1, updated 1" {
			t.Errorf("%d at a time: %s", most, got)
		}
	}
}

// TestVersionsRise: with every change a reader can see, whatever becomes of the message.
func TestVersionsRise(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	last := int64(0)
	for _, q := range []string{
		`insert into public.nchat_messages (id, channel_id, user_id, content, scheduled_at, published_at) values ($1, '` + fixed('c', 0).String() + `', '` + fixed('u', 0).String() + `', 'x', now(), now())`,
		`update public.nchat_messages set content = 'y' where id = $1`,
		`update public.nchat_messages set published_at = null where id = $1`,
		`update public.nchat_messages set content = 'draft', published_at = now() where id = $1`,
		`update public.nchat_messages set channel_id = '` + fixed('c', 1).String() + `' where id = $1`,
		`update public.nchat_messages set is_deleted = true where id = $1`,
		`delete from public.nchat_messages where id = $1`,
	} {
		mustExec(t, pool, q, fixed('m', 0))
		version := number(t, pool, `select coalesce(max(version), 1) from realtime.revisions where message_id = $1`, fixed('m', 0))
		if version <= last {
			t.Errorf("%s: version %d after %d", q, version, last)
		}
		last = version
	}
}

// TestAnAlteredTableHoldsUpItsNewcomersAlone: an app that alters its tables in a
// long transaction has the log go on with what is known already.
func TestAnAlteredTableHoldsUpItsNewcomersAlone(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	mustExec(t, pool, insertX, fixed('m', 0), fixed('c', 2), fixed('u', 0))
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	mustExec(t, pool, insertX, fixed('m', 1), fixed('c', 2), fixed('u', 1)) // the first word in a direct channel
	mustExec(t, pool, `update public.nchat_messages set content = 'y' where id = $1`, fixed('m', 0))
	mustExec(t, pool, `update public.nchat_channels set name = 'other', type = 'direct' where id = $1`, fixed('c', 0))
	ddl, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ddl.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := ddl.Exec(t.Context(), `alter table public.nchat_channels add column added text; alter table public.nchat_messages add column added text`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var n int
	if err := pool.QueryRow(ctx, `select realtime.sequence(1000, false)`).Scan(&n); err != nil || n != 3 {
		t.Fatalf("%d placed: %v", n, err)
	}
	if n := number(t, pool, `select count(*) from realtime.audience where user_id = $1`, fixed('u', 1)); n == 0 {
		t.Error("a first word is not heard of")
	}
	if n := number(t, pool, `select count(*) from realtime.channels where direct`); n != 2 {
		t.Errorf("%d direct channels are known", n)
	}
}
