package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/migrations"
)

const (
	writers      = 16
	roomsWritten = 200
	authors      = 20
	unmeasured   = time.Second // written and not counted
	turns        = 3           // rounds of inserting for each of the others, shorter ones: what else the machine does hits all alike
)

// The tables messages are inserted into.
const (
	plainTables = "plain tables"
	nchatTables = "nchat's own triggers"
	oursPlain   = "ours"
	oursOthers  = "ours, written by Hasura"
	oursNchat   = "ours and nchat's"
)

var tables = [...]string{plainTables, nchatTables, oursPlain, oursOthers, oursNchat}

func isOurs(kind string) bool { return kind != plainTables && kind != nchatTables }

// nchatsOwn is what nchat's migrations hang on a message.
const nchatsOwn = `
create function bench_updated() returns trigger language plpgsql as $$ begin new.updated_at = now(); return new; end $$;
create trigger bench_updated before update on public.nchat_messages for each row execute function bench_updated();
create trigger bench_updated before update on public.nchat_channels for each row execute function bench_updated();
create function bench_count() returns trigger language plpgsql as $$ begin
  update public.nchat_channels set message_count = message_count + 1, last_message_at = new.created_at, last_message_id = new.id where id = new.channel_id;
  return new; end $$;
create trigger bench_count after insert on public.nchat_messages for each row execute function bench_count();`

// inserts: what a message costs its writer, with what stands behind it.
func inserts(ctx context.Context, url string, s sizes) error {
	dbs := map[string]string{}
	for _, kind := range tables {
		db, drop, err := insertDatabase(ctx, url, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		defer drop()
		dbs[kind] = db
	}
	for _, hot := range []bool{false, true} {
		rates := map[string][]float64{}
		for i := range s.rounds * turns {
			for j := range tables {
				kind := tables[(i+j)%len(tables)] // each comes after each
				rate, err := insertOnce(ctx, dbs[kind], kind, hot, s.seconds)
				if err != nil {
					return fmt.Errorf("%s: %w", kind, err)
				}
				rates[kind] = append(rates[kind], rate)
			}
		}
		printInserts(rates, hot)
	}
	return nil
}

func printInserts(rates map[string][]float64, hot bool) {
	where := fmt.Sprintf("%d channels", roomsWritten)
	if hot {
		where = "one channel"
	}
	fmt.Printf("## Messages inserted by %d writers into %s, a commit each\n\n| | a second | of plain | of nchat's own |\n|---|---|---|---|\n", writers, where)
	for _, kind := range tables {
		fmt.Printf("| %s | %.0f | %.0f %% | %.0f %% |\n", kind, middle(rates[kind]), 100*middle(ratios(rates[kind], rates[plainTables])), 100*middle(ratios(rates[kind], rates[nchatTables])))
	}
	fmt.Println("\nours: number, inbox, sequencer, log, doorbell, and a server that reads the log. Hasura's writers ring from the trigger, ours wake their own node in memory.")
	fmt.Println()
}

// insertDatabase makes a database with channels, members and one kind of triggers.
func insertDatabase(ctx context.Context, url, kind string) (db string, drop func(), err error) {
	if isOurs(kind) {
		db, drop, err = database(ctx, url)
	} else {
		db, drop, err = bare(ctx, url)
	}
	if err != nil {
		return "", nil, err
	}
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		drop()
		return "", nil, fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	sql := []string{
		`insert into public.nchat_users (id, email, display_name) select ('10000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'w' || i || '@example.com', 'w' from generate_series(1, 20) i`,
		`insert into public.nchat_channels (id, name, slug) select ('20000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'c' || i, 'bench' || i from generate_series(1, 200) i`,
		`insert into public.nchat_channel_members (channel_id, user_id) select c.id, u.id from public.nchat_channels c, public.nchat_users u
		  where c.slug like 'bench%' and u.email like 'w%'`,
		`analyze`,
	}
	if kind == nchatTables || kind == oursNchat {
		sql = append(sql, nchatsOwn)
	}
	for _, q := range sql {
		if _, err := conn.Exec(ctx, q); err != nil {
			drop()
			return "", nil, fmt.Errorf("preparing: %w", err)
		}
	}
	return db, drop, nil
}

// bare is a database with nchat's tables and nothing of ours.
func bare(ctx context.Context, url string) (string, func(), error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", nil, fmt.Errorf("connecting: %w", err)
	}
	name := "bench_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := conn.Exec(ctx, "create database "+name); err != nil {
		return "", nil, errors.Join(err, conn.Close(ctx))
	}
	drop := func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), "drop database "+name+" with (force)")
		_ = conn.Close(context.WithoutCancel(ctx))
	}
	c := conn.Config()
	db := fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", c.Host, c.Port, c.User, c.Password, name)
	into, err := pgx.Connect(ctx, db)
	if err != nil {
		drop()
		return "", nil, fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = into.Close(ctx) }()
	sql, err := migrations.FS.ReadFile("0001_nchat.sql")
	if err == nil {
		_, err = into.Exec(ctx, string(sql))
	}
	if err != nil {
		drop()
		return "", nil, fmt.Errorf("creating nchat's tables: %w", err)
	}
	return db, drop, nil
}

// insertOnce lets the writers write for a while: how many a second.
func insertOnce(ctx context.Context, db, kind string, hot bool, seconds int) (float64, error) {
	if isOurs(kind) {
		srv, err := start(ctx, kindOurs, db)
		if err != nil {
			return 0, err
		}
		defer srv.stop()
	}
	until := time.Duration(seconds) * time.Second
	var n atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, writers)
	conns := make([]*pgx.Conn, writers)
	for i := range conns {
		c, err := pgx.Connect(ctx, db)
		if err != nil {
			return 0, fmt.Errorf("connecting: %w", err)
		}
		defer func() { _ = c.Close(ctx) }()
		if kind != oursOthers {
			if _, err := c.Exec(ctx, "set realtime.quiet = on"); err != nil {
				return 0, fmt.Errorf("preparing: %w", err)
			}
		}
		conns[i] = c
	}
	began := time.Now().Add(unmeasured)
	for i, c := range conns {
		wg.Go(func() { failed <- write(ctx, c, i, hot, began, began.Add(until), &n) })
	}
	wg.Wait()
	took := time.Since(began).Seconds()
	for range conns {
		if err := <-failed; err != nil {
			return 0, err
		}
	}
	return float64(n.Load()) / took, nil
}

func write(ctx context.Context, c *pgx.Conn, seed int, hot bool, from, until time.Time, n *atomic.Int64) error {
	const q = `insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, $3)`
	for i := seed * 7919; time.Now().Before(until); i++ {
		room := 1 + i*31%roomsWritten
		if hot {
			room = 1
		}
		if _, err := c.Exec(ctx, q, numbered("20000000-0000-4000-8000-", room), numbered("10000000-0000-4000-8000-", 1+i%authors), "Are we still on for Thursday? I could bring the slides."); err != nil {
			return fmt.Errorf("inserting: %w", err)
		}
		if time.Now().After(from) {
			n.Add(1)
		}
	}
	return nil
}

func numbered(prefix string, n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("%s%012d", prefix, n))
}

// ratios are turn by turn: what was measured within the same seconds is compared.
func ratios(of, to []float64) []float64 {
	out := make([]float64, len(of))
	for i := range of {
		out[i] = of[i] / to[i]
	}
	return out
}

func middle(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	d := make([]time.Duration, len(list))
	for i, f := range list {
		d[i] = time.Duration(f * 1000)
	}
	return float64(at(d, 50)) / 1000
}
