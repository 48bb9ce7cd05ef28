package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// In a quiet transaction the triggers of the schema realtime do not ring: the
// writer rings itself, once it is committed and for many at a time.
var (
	becomeQuiet  = "select set_config('realtime.quiet', 'on', true)," + limits
	beginQuietly = "begin; " + becomeQuiet
)

// Quietly is InTx for a writer that rings by itself after the commit. To be
// quiet costs no round trip.
func Quietly(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	return begun(ctx, pool, beginQuietly, fn)
}

// QuietBatch is Quietly for statements that need not wait for one another's
// answers: those that fill puts into the batch are one transaction and one round
// trip. As in any transaction each begins after the one before has ended, and
// sees what others had committed by then. What the callbacks of a batch are
// given is committed only if no error is returned, and what they return comes
// too late to undo anything.
func QuietBatch(ctx context.Context, pool *pgxpool.Pool, fill func(*pgx.Batch)) error {
	return quietBatch(ctx, pool, becomeQuiet, fill)
}

// QuietBatchWithin is QuietBatch that waits for each lock for so long at most: then the
// error is Locked.
func QuietBatchWithin(ctx context.Context, pool *pgxpool.Pool, patience time.Duration, fill func(*pgx.Batch)) error {
	return quietBatch(ctx, pool, fmt.Sprintf("%s,\nset_config('lock_timeout', '%d', true)", becomeQuiet, patience.Milliseconds()), fill)
}

func quietBatch(ctx context.Context, pool *pgxpool.Pool, first string, fill func(*pgx.Batch)) error {
	return untilUncollided(ctx, func() error {
		b := &pgx.Batch{}
		b.Queue(first)
		fill(b)
		return pool.SendBatch(ctx, b).Close()
	})
}
