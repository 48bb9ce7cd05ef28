package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/push"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

const sizesMembers = 10_000

// TestSizes prints how large the tables are that hold SIZES messages of 10,000
// members, and again once all of it is past its time and swept. They are in one
// channel of all, which takes a tenth of the messages, and 200 channels of 50 each; a
// message in nine was edited, one in a hundred deleted at the end, each came by a client's
// key, each member has read every channel in ten goes, is connected, has settings of its own
// and has signed out once.
func TestSizes(t *testing.T) {
	messages, err := strconv.Atoi(os.Getenv("SIZES"))
	if err != nil {
		t.Skip("SIZES is not set: takes minutes")
	}
	pool := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), pool.Config().ConnString()) // without the server's limits
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	run := func(q string, args ...any) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		if _, err := conn.Exec(ctx, q, args...); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	for _, q := range []string{
		`insert into public.nchat_users (email, display_name) select i || '@example.com', 'u' || i from generate_series(1, $1) i`,
		`insert into public.nchat_channels (name, slug, type) select 'c', 'c' || i, 'private' from generate_series(0, $1 / 50) i`,
	} {
		run(q, sizesMembers)
	}
	run(`
with u as (select id, row_number() over (order by email) - 1 as n from public.nchat_users),
     c as (select id, substr(slug, 2)::int as n from public.nchat_channels)
insert into public.nchat_channel_members (channel_id, user_id)
select c.id, u.id from c join u on c.n = 0 or u.n / 50 = c.n - 1`)
	number(t, conn)
	began := time.Now()
	for part := range 10 {
		const say = `
with u as materialized (select array_agg(id order by email) as ids from public.nchat_users),
     c as materialized (select array_agg(id order by substr(slug, 2)::int) as ids from public.nchat_channels)
insert into public.nchat_messages (channel_id, user_id, content)
select c.ids[1 + k.n], u.ids[case when k.n = 0 then 1 + x.i % 10000 else 1 + (k.n - 1) * 50 + x.i % 50 end], repeat('words ', 10)
  from generate_series($1::int, $2::int) x (i) cross join u cross join c
 cross join lateral (select case when x.i % 10 = 0 then 0 else 1 + x.i / 10 % 200 end as n) k`
		run(say, part*messages/10+1, (part+1)*messages/10)
		number(t, conn)
		run(`update public.nchat_messages set content = content || '!' where id in (select message_id from realtime.messages where seq % 50 = $1 and seq > 0) and not is_edited and content not like '%!'`, part)
		number(t, conn)
		run(`select count(realtime.move_mark('primary', s.user_id, s.channel_id, c.seq, true, true, true, false, null, '{}', '{}'))
		       from realtime.stints s join realtime.channels c on c.channel_id = s.channel_id and c.seq > 0`)
		number(t, conn)
	}
	for _, q := range []string{
		`insert into realtime.client_keys (tenant, user_id, client_message_id, digest, message_id)
		 select 'primary', m.user_id, m.id::text, sha256(m.id::text::bytea), m.id from public.nchat_messages m order by m.created_at`,
		`insert into realtime.presence (tenant, user_id, active, last_seen_at, custom_text, custom_emoji) select 'primary', id, true, now(), 'in a meeting', '📅' from public.nchat_users`,
		`insert into realtime.presence_settings (tenant, user_id) select 'primary', id from public.nchat_users`,
		`insert into realtime.quiet_hours (tenant, user_id, from_minute, to_minute, zone) select 'primary', id, 1320, 420, 'Europe/Berlin' from public.nchat_users`,
		`insert into realtime.public_presence (tenant, user_id, status, last_seen_at, custom_text, custom_emoji, version)
		 select 'primary', id, 'online', now(), 'in a meeting', '📅', row_number() over () from public.nchat_users`,
		`insert into realtime.sessions (id, tenant, user_id, device_id, device, name, token_id, connected_at, last_active_at, idle_at, lapses_at)
		 select gen_random_uuid(), 'primary', id, gen_random_uuid()::text, 'web', 'Firefox', gen_random_uuid()::text, now(), now(), now(), 'infinity' from public.nchat_users`,
		`insert into realtime.revoked_users (tenant, user_id, not_before) select 'primary', id, now() from public.nchat_users`,
		`insert into realtime.revoked_tokens (tenant, user_id, token_id) select 'primary', id, gen_random_uuid()::text from public.nchat_users`,
		`insert into realtime.push_told (user_id, channel_id, tenant, message_id, seq, job)
		 select s.user_id, s.channel_id, 'primary', gen_random_uuid(), 1, gen_random_uuid() from realtime.stints s`,
		`delete from public.nchat_messages where id in (select message_id from realtime.messages where seq % 100 = 1)`,
	} {
		run(q)
	}
	number(t, conn)
	t.Logf("written and numbered in %s", time.Since(began).Round(time.Second))
	before := sizesOf(t, conn)
	for table, at := range map[string]string{"log": "at", "moves": "at", "message_versions": "at", "client_keys": "at", "audience": "at", "push_told": "at",
		"revoked_users": "not_before", "revoked_tokens": "revoked_at"} {
		run(fmt.Sprintf(`update realtime.%s set %s = %[2]s - interval '33 days'`, table, at))
	}
	run(`update realtime.messages set gone_at = gone_at - interval '33 days' where gone`)
	began = time.Now()
	log := feed.New(feed.Options{Pool: pool, Log: slog.New(slog.DiscardHandler), Retention: 7 * 24 * time.Hour})
	receipts := receipt.New(receipt.Options{Pool: pool, Retention: 7 * 24 * time.Hour})
	others := [][]sweep.Task{message.New(message.Options{Pool: pool}).Sweeps(), push.New(push.Options{Pool: pool}).Sweeps(),
		presence.New(presence.Options{Pool: pool, Clock: clock.New(), Log: slog.New(slog.DiscardHandler)}).Sweeps(), auth.Store{DB: pool}.Sweeps(time.Hour)}
	for _, tasks := range append(others, log.Sweeps(), receipts.Sweeps()) {
		if err := sweep.All(t.Context(), tasks...); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("swept in %s, without pauses", time.Since(began).Round(time.Second))
	after := sizesOf(t, conn)
	var out strings.Builder
	fmt.Fprint(&out, "\n| table | rows | size | of it indexes | a row | after RETENTION: rows | size |\n|---|---|---|---|---|---|---|\n")
	for i, s := range before {
		fmt.Fprintf(&out, "| %s | %d | %.1f MB | %.1f MB | %d B | %d | %.1f MB |\n", s.name, s.rows, mb(s.bytes), mb(s.indexes), s.bytes/max(s.rows, 1), after[i].rows, mb(after[i].bytes))
	}
	t.Log(out.String())
}

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// number gives all that waits its place.
func number(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for n := 1; n > 0; {
		if err := conn.QueryRow(t.Context(), `select realtime.sequence(2000, false, true)`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

type tableSize struct {
	name                 string
	bytes, indexes, rows int64
}

// sizesOf measures all of our tables and the app's that grow with ours, without the room
// that dead rows take.
func sizesOf(t *testing.T, pool *pgx.Conn) []tableSize {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
select n.nspname || '.' || c.relname, 0, 0, 0 from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and (n.nspname = 'realtime' or c.relname in ('nchat_messages', 'nchat_channel_members')) order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s tableSize, err error) {
		err = row.Scan(&s.name, &s.bytes, &s.indexes, &s.rows)
		return s, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		s := &list[i]
		for _, q := range []string{`vacuum full ` + s.name, `analyze ` + s.name} {
			if _, err := pool.Exec(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		q := `select pg_total_relation_size($1::regclass), pg_indexes_size($1::regclass), (select count(*) from ` + s.name + `)`
		if err := pool.QueryRow(t.Context(), q, s.name).Scan(&s.bytes, &s.indexes, &s.rows); err != nil {
			t.Fatal(err)
		}
	}
	return list
}
