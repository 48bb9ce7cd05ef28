package bus_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestAFullQueue: at half of the server's queue nobody rings, which would make
// it worse, and the polls carry what is new; below it all ring again. How full
// it is a function of the test's own answers, before the server's: filling
// eight gigabytes takes too long.
func TestAFullQueue(t *testing.T) {
	t.Parallel()
	at := pgtest.NewURL(t)
	pool := pgtest.Pool(t, at)
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), q, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`create schema before`)
	exec(`create table before.fill (share float8)`)
	exec(`insert into before.fill values (0.1)`)
	exec(`create function before.pg_notification_queue_usage() returns float8 language sql as 'select share from before.fill'`)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", "before,pg_catalog,public")
	u.RawQuery = q.Encode()
	full := &staleness{}
	b := startWith(t, bus.Options{Pool: pgtest.Pool(t, u.String()), Observer: bus.Observer{Full: full.set}}, at, "t/")
	ringUntil := func(what string, ok func() bool) {
		eventually(t, what, func() bool { b.Ring("t/any"); return ok() })
	}
	ringUntil("heard", func() bool { return b.ear.heard("t/any") > 0 })
	exec(`update before.fill set share = 0.6`)
	ringUntil("told that it is half full", func() bool { said := full.all(); return len(said) == 1 && said[0] })
	exec(`update before.fill set share = 0.4`)
	ringUntil("told that it is not any more", func() bool { said := full.all(); return len(said) == 2 && !said[1] })
	before := b.ear.heard("t/any")
	ringUntil("heard again", func() bool { return b.ear.heard("t/any") > before })
}

// TestAQueueWithoutRoom: where nothing more fits into the server's queue, a transaction
// that notifies is undone (54000). Ours are not, for they do not, and once there is room
// all ring again. For a server whose queue is small: Postgres 17 and newer with
// max_notify_queue_pages = 64, named by TEST_DATABASE_URL, where nothing else runs.
func TestAQueueWithoutRoom(t *testing.T) { //nolint:paralleltest // the server's queue is everybody's
	at := pgtest.NewURL(t)
	pool := pgtest.Pool(t, at)
	var pages int
	if err := pool.QueryRow(t.Context(), `select coalesce(current_setting('max_notify_queue_pages', true)::int, 1 << 20)`).Scan(&pages); err != nil || pages > 1000 {
		t.Skip("the server's queue takes too long to fill: it has", pages, "pages", err)
	}
	full := &staleness{}
	b := startWith(t, bus.Options{Pool: pool, Observer: bus.Observer{Full: full.set}}, at, "inbox", "t/")
	holder, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close(context.Background()) }()
	for _, q := range []string{`listen held`, `begin`, `select 1`} {
		if _, err := holder.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for fits := true; fits; {
		_, err := pool.Exec(t.Context(), `select pg_notify('other', repeat('x', 7000) || g) from generate_series(1, 5) g`)
		if fits = err == nil; !fits && !strings.Contains(err.Error(), "54000") {
			t.Fatal(err)
		}
	}
	if _, err := pool.Exec(t.Context(), `select pg_notify('other', repeat('x', 7000) || g) from generate_series(1, 5) g`); err == nil {
		t.Fatal("there is room, and this tests nothing")
	}
	for _, q := range []string{
		`insert into public.nchat_users (email, display_name) values ('a@example.com', 'a'), ('b@example.com', 'b')`,
		`insert into public.nchat_channels (name, slug, type) values ('c', 'c', 'direct')`,
		`insert into public.nchat_channel_members (channel_id, user_id) select c.id, u.id from public.nchat_channels c, public.nchat_users u`,
		`insert into public.nchat_messages (channel_id, user_id, content) select m.channel_id, m.user_id, 'x' from public.nchat_channel_members m`,
		`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) select a.id, b.id from public.nchat_users a join public.nchat_users b on a.email < b.email`,
		`update public.nchat_users set status = 'suspended'`,
		`insert into realtime.presence_settings (tenant, user_id) select 'primary', id from public.nchat_users`,
	} {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
	rung := func(what string, ok func() bool) {
		eventually(t, what, func() bool { b.Ring("t/any"); return ok() })
	}
	rung("told that it is full", func() bool { said := full.all(); return len(said) > 0 && said[len(said)-1] })
	if err := holder.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := b.ear.heard("t/any")
	rung("heard again", func() bool { return b.ear.heard("t/any") > before })
	if said := full.all(); said[len(said)-1] {
		t.Error("it is still said to be full")
	}
	inbox := b.ear.heard("inbox")
	if _, err := pool.Exec(t.Context(), `insert into public.nchat_messages (channel_id, content) select id, 'x' from public.nchat_channels`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "writers ring again", func() bool { return b.ear.heard("inbox") > inbox })
}
