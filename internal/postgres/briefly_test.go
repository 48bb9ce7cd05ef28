package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// TestBriefly: what takes too long is given up, and nothing else of the transaction is;
// its own limit is as before.
func TestBriefly(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var before, after string
		if err := tx.QueryRow(ctx, `show statement_timeout`).Scan(&before); err != nil {
			return err
		}
		n := 7
		if done, err := postgres.Briefly(ctx, tx, 20*time.Millisecond, `select 1 from pg_sleep(60)`, nil, &n); done || err != nil || n != 7 {
			t.Errorf("what takes a minute: %v %v %d", done, err, n)
		}
		if done, err := postgres.Briefly(ctx, tx, time.Minute, `select $1::int`, []any{3}, &n); !done || err != nil || n != 3 {
			t.Errorf("what takes no time: %v %v %d", done, err, n)
		}
		if err := tx.QueryRow(ctx, `show statement_timeout`).Scan(&after); err != nil || after != before {
			t.Errorf("the limit was %s, and is %s: %v", before, after, err)
		}
		if done, err := postgres.Briefly(ctx, tx, time.Minute, `select from nowhere`, nil, &n); done || err == nil {
			t.Errorf("what is wrong: %v %v", done, err)
		}
		return nil
	})
	if err == nil {
		t.Error("a statement that is wrong ends no transaction")
	}
}
