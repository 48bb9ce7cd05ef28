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

	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

const sizesMembers = 10_000

// TestSizes prints how large the tables are that hold SIZES messages of 10,000
// members, and again once all of it is past its time and swept. They are in one
// channel of all, which takes a tenth of the messages, and 200 channels of 50 each; a
// message in fifty was edited, and each member has read every channel in ten goes.
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
	t.Logf("written and numbered in %s", time.Since(began).Round(time.Second))
	before := sizesOf(t, conn)
	run(`update realtime.log set at = at - interval '30 days'`)
	run(`update realtime.moves set at = at - interval '30 days'`)
	run(`update realtime.message_versions set at = at - interval '30 days'`)
	began = time.Now()
	log := feed.New(feed.Options{Pool: pool, Log: slog.New(slog.DiscardHandler), Retention: 7 * 24 * time.Hour})
	receipts := receipt.New(receipt.Options{Pool: pool, Retention: 7 * 24 * time.Hour})
	for _, tasks := range [][]sweep.Task{log.Sweeps(), receipts.Sweeps()} {
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

// sizesOf measures the tables that have grown, without the room that dead rows take.
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
	var grown []tableSize
	for _, s := range list {
		for _, q := range []string{`vacuum full ` + s.name, `analyze ` + s.name} {
			if _, err := pool.Exec(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		q := `select pg_total_relation_size($1::regclass), pg_indexes_size($1::regclass), (select count(*) from ` + s.name + `)`
		if err := pool.QueryRow(t.Context(), q, s.name).Scan(&s.bytes, &s.indexes, &s.rows); err != nil {
			t.Fatal(err)
		}
		if sizesShown(s.name) {
			grown = append(grown, s)
		}
	}
	return grown
}

func sizesShown(name string) bool {
	for _, small := range []string{"goose_db_version", "boot", "code", "feed", "head", "legacy_head", "nodes", "push_state", "sweeps", "token_life", "backfill", "inbox", "sessions", "push_jobs", "hasura_events", "presence", "presence_settings", "legacy", "gates"} {
		if name == "realtime."+small {
			return false
		}
	}
	return !strings.HasPrefix(name, "realtime.revoked") && name != "realtime.client_keys"
}
