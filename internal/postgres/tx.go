package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// SQLSTATE codes (PostgreSQL manual, appendix A).
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014"
	readOnlyTransaction  = "25006"
	diskFull             = "53100"
	idleInTxTimeout      = "25P03"
	adminShutdown        = "57P01"
	crashShutdown        = "57P02"
	cannotConnectNow     = "57P03"
	idleSessionTimeout   = "57P05"
	invalidFunction      = "42P13" // its shape is another than that of the one to replace
	uniqueViolation      = "23505"
	duplicateSchema      = "42P06"
	insufficientRights   = "42501"
	foreignKeyViolation  = "23503"
	rightLost            = "RT001" // ours: raised where a right was lost while a function was at it
)

// txAttempts bounds how often a transaction is tried.
const txAttempts = 5

// InTx runs fn in a transaction and commits it if fn returns nil. After a
// serialization failure or a deadlock, from fn or from the commit, all of it is
// done again, up to five times: fn must not keep effects outside tx. Any other
// error is returned as it is, the transaction rolled back. A connection lost in
// the commit leaves it unknown whether the transaction happened; that is never
// tried again here.
func InTx(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	return begun(ctx, pool, begin, fn)
}

// limits are a transaction's own where the session has none: behind a pooler too whoever
// stands still in one holds its locks for so long at most.
var limits = fmt.Sprintf(`
case current_setting('lock_timeout') when '0' then set_config('lock_timeout', '%d', true) end,
case current_setting('idle_in_transaction_session_timeout') when '0' then set_config('idle_in_transaction_session_timeout', '%d', true) end`,
	LockTimeout.Milliseconds(), IdleInTxTimeout.Milliseconds())

// begin sets them in its own round trip.
var begin = "begin; select " + limits

// begun is a transaction that begins with a query.
func begun(ctx context.Context, pool *pgxpool.Pool, begin string, fn func(pgx.Tx) error) error {
	return untilUncollided(ctx, func() error {
		return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: begin}, fn)
	})
}

// untilUncollided does it again after a collision, a bounded number of times.
func untilUncollided(ctx context.Context, do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt == txAttempts || !Collided(err) {
			return err
		}
		// Whoever collided must not do so again in step.
		wait := time.NewTimer(rand.N(time.Duration(attempt) * 10 * time.Millisecond))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("%w (after %w)", ctx.Err(), err)
		}
	}
}

// Collided reports a serialization failure or a deadlock: nothing happened, and
// the same may succeed at once.
func Collided(err error) bool {
	code := state(err)
	return code == serializationFailure || code == deadlockDetected
}

// Locked reports that a lock was not to be had in time: another transaction holds it.
func Locked(err error) bool { return state(err) == lockNotAvailable }

// RightLost reports that a function of ours undid what it had begun, for the right to it was
// lost meanwhile.
func RightLost(err error) bool { return state(err) == rightLost }

// Forbidden reports whether the database role lacks a right: waiting gives it none.
func Forbidden(err error) bool { return state(err) == insufficientRights }

// Outage is Retryable without what may time out again and again by its own
// weight: the statement or the caller's patience.
func Outage(err error) bool {
	return Retryable(err) && state(err) != queryCanceled && !errors.Is(err, context.DeadlineExceeded)
}

// ToRead is what an error of a write is to whoever only reads and would have had that
// done first: none, where the database may be read and not written, for it is a standby,
// was set to be read alone, or has no room.
func ToRead(err error) error {
	if code := state(err); code == readOnlyTransaction || code == diskFull {
		return nil
	}
	return err
}

// Retryable tells an outage or a collision (the server is gone, starting, a
// standby, out of room; the lock or the statement timed out), which passes, from
// a bug, which does not. A cancelled context is neither: nobody waits any more.
// It does not say that the statement had no effect.
func Retryable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if code := state(err); code != "" {
		switch code {
		case serializationFailure, deadlockDetected, lockNotAvailable, queryCanceled, readOnlyTransaction,
			idleInTxTimeout, adminShutdown, crashShutdown, cannotConnectNow, idleSessionTimeout:
			return true
		}
		class := code[:2]
		return class == "08" || class == "53" // connection exception, insufficient resources
	}
	if pgconn.SafeToRetry(err) || pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// Broken tells an error of the statement or of what it read, which it will have
// each time, from one that passes.
func Broken(err error) bool {
	return err != nil && !Retryable(err) && !errors.Is(err, context.Canceled)
}

// Refused is fault.Refuses of an error.
func Refused(err error) (constraint, refused bool) { return fault.Refuses(state(err)) }

// Keyed reports that a row with such a key is there already, or that what a key names is
// not there: a race can have that, and it may be what an app has made a rule.
func Keyed(err error) bool {
	code := state(err)
	return code == uniqueViolation || code == foreignKeyViolation
}

// Guarded hands read the rows of a query. In a transaction a failure takes back
// the query alone, in the same round trip.
func Guarded(ctx context.Context, db DB, q string, args []any, read func(pgx.Rows) error) error {
	tx, within := db.(pgx.Tx)
	if !within {
		rows, err := db.Query(ctx, q, args...)
		if err != nil {
			return fmt.Errorf("asking: %w", err)
		}
		return read(rows)
	}
	var b pgx.Batch
	b.Queue(`savepoint guarded`)
	b.Queue(q, args...).Query(read)
	b.Queue(`release savepoint guarded`)
	err := tx.SendBatch(ctx, &b).Close()
	if state(err) == "" {
		return err
	}
	if _, back := tx.Exec(ctx, `rollback to savepoint guarded`); back != nil {
		return errors.Join(err, back)
	}
	return err
}

// state is the SQLSTATE in err's chain, or "".
func state(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && len(pg.Code) == 5 {
		return pg.Code
	}
	return ""
}
