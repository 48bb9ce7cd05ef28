package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// quietly are both ways to carry out statements.
var quietly = map[string]func(ctx context.Context, pool *pgxpool.Pool, sql ...string) error{
	"Quietly": func(ctx context.Context, pool *pgxpool.Pool, sql ...string) error {
		return postgres.Quietly(ctx, pool, func(tx pgx.Tx) error {
			for _, q := range sql {
				if _, err := tx.Exec(ctx, q); err != nil {
					return err
				}
			}
			return nil
		})
	},
	"QuietBatch": func(ctx context.Context, pool *pgxpool.Pool, sql ...string) error {
		return postgres.QuietBatch(ctx, pool, func(b *pgx.Batch) {
			for _, q := range sql {
				b.Queue(q)
			}
		})
	},
}

func collect(t *testing.T, pool *pgxpool.Pool, sql string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAQuietTransactionIsQuietAndOne(t *testing.T) {
	t.Parallel()
	for name, do := range quietly {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))
			const table = `create table t (what text default coalesce(current_setting('realtime.quiet', true), 'unset'))`
			if _, err := pool.Exec(ctx, table); err != nil {
				t.Fatal(err)
			}
			const insert = `insert into t default values`
			if err := do(ctx, pool, insert, insert); err != nil {
				t.Fatal(err)
			}
			if err := do(ctx, pool, insert, `select 1 / 0`, insert); err == nil {
				t.Error("what failed answers no error")
			}
			if _, err := pool.Exec(ctx, insert); err != nil {
				t.Fatal(err)
			}
			// The pool's one connection is as it was, and what failed left nothing.
			if got := collect(t, pool, `select what from t`); !slices.Equal(got, []string{"on", "on", ""}) {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestToBeQuietCostsNoRoundTrip(t *testing.T) {
	t.Parallel()
	pool, trips := pgtest.Counted(t, pgtest.Empty(t))
	for name, want := range map[string]int{"Quietly": 4, "QuietBatch": 1} {
		got := trips.Fewest(func() {
			if err := quietly[name](t.Context(), pool, `select 1`, `select 2`); err != nil {
				t.Fatal(err)
			}
		})
		if got != want {
			t.Errorf("%s of two statements: %d round trips, want %d", name, got, want)
		}
	}
}

func TestABatchIsRepeatedAfterACollision(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))
	tries := 0
	answer := 0
	err := postgres.QuietBatch(ctx, pool, func(b *pgx.Batch) {
		if tries++; tries == 1 {
			b.Queue(`do $$ begin raise sqlstate '40001'; end $$`)
		}
		b.Queue(`select 7`).QueryRow(func(row pgx.Row) error { return row.Scan(&answer) })
	})
	if err != nil || tries != 2 || answer != 7 {
		t.Errorf("%v after %d tries, answer %d", err, tries, answer)
	}
	no := errors.New("no")
	err = postgres.QuietBatch(ctx, pool, func(b *pgx.Batch) {
		tries++
		b.Queue(`select 7`).QueryRow(func(pgx.Row) error { return no })
	})
	if !errors.Is(err, no) || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

// What follows a lock in a batch sees what was committed before the lock was had.
func TestABatchSeesWhatItsLockWaitedFor(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))
	if _, err := pool.Exec(ctx, `create table t (id int primary key); insert into t values (1)`); err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, `select from t for update`); err != nil {
		t.Fatal(err)
	}
	done, seen := make(chan error, 1), 0
	go func() {
		done <- postgres.QuietBatch(ctx, pool, func(b *pgx.Batch) {
			b.Queue(`select from t where id = $1 for update`, 1)
			b.Queue(`select count(*) from t where id > $1`, 0).QueryRow(func(row pgx.Row) error { return row.Scan(&seen) })
		})
	}()
	const waiting = `select state from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
	for len(collect(t, pool, waiting)) == 0 { //nolint:revive // until the batch waits
	}
	if _, err := tx.Exec(ctx, `insert into t values (2)`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || seen != 2 {
		t.Errorf("the batch saw %d rows, %v; want 2", seen, err)
	}
}

// TestAQuietBatchThatWaitsSoLong for a lock, and in that transaction alone, says that it is Locked.
func TestAQuietBatchThatWaitsSoLong(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))
	var limit string
	ask := func(b *pgx.Batch) {
		b.Queue(`select current_setting('lock_timeout')`).QueryRow(func(row pgx.Row) error { return row.Scan(&limit) })
	}
	if err := postgres.QuietBatchWithin(ctx, pool, 20*time.Millisecond, ask); err != nil || limit != "20ms" {
		t.Errorf("it waits for %s: %v", limit, err)
	}
	if err := postgres.QuietBatch(ctx, pool, ask); err != nil || limit != "2s" {
		t.Errorf("another waits for %s: %v", limit, err)
	}
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(1)`); err != nil {
			return err
		}
		return postgres.QuietBatchWithin(ctx, pool, time.Millisecond, func(b *pgx.Batch) { b.Queue(`select pg_advisory_xact_lock(1)`) })
	})
	if !postgres.Locked(err) {
		t.Error(err)
	}
}
