package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Briefly asks for one row within a transaction, and gives that up after a time: then done
// is false, and the transaction goes on as if nothing had been asked. In one round trip.
func Briefly(ctx context.Context, tx DB, limit time.Duration, q string, args []any, into ...any) (done bool, err error) {
	const back = `rollback to savepoint briefly` // and with it the limit
	var b pgx.Batch
	b.Queue(`savepoint briefly`)
	b.Queue(`select set_config('statement_timeout', $1, true)`, fmt.Sprint(max(limit.Milliseconds(), 1)))
	b.Queue(q, args...).QueryRow(func(row pgx.Row) error { return row.Scan(into...) })
	b.Queue(back)
	if err = tx.SendBatch(ctx, &b).Close(); state(err) != queryCanceled {
		return err == nil, err //nolint:wrapcheck // the caller's own question
	}
	_, err = tx.Exec(ctx, back)
	return false, err //nolint:wrapcheck // the same
}
