package gqlhttp

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	readOnly      = "25006" // the SQLSTATE of a write where none is taken (PostgreSQL manual, appendix A)
	writelessFor  = time.Minute
	writelessNext = 2 * time.Second
	writelessMost = 30 * time.Second
	writelessSaid = 10 * time.Minute // it is said again
)

// writeless is what is known of a database that may be read and not written: a standby
// before it is promoted, or one whose operator has it so. That passes, and is nobody's fault.
type writeless struct {
	log *slog.Logger

	mu    sync.Mutex
	since time.Time // guarded by mu: when the first write was refused
	last  time.Time // guarded by mu: when the last was; zero: never
	said  time.Time // guarded by mu
}

// tryAfter is how long whoever wrote is to wait, after it has lasted so long: the longer, so
// that an hour of it is not an hour of everybody's tries, and not all at a time.
func tryAfter(lasted time.Duration) time.Duration {
	d := min(max(writelessNext, lasted/4), writelessMost)
	return d + rand.N(d/2)
}

// refuses is what the caller of a write that was refused is told; nil: err is another
// error. It is said once in ten minutes while it lasts, which is until no write was refused for one.
func (w *writeless) refuses(ctx context.Context, err error) *fault.Error {
	pg, ok := errors.AsType[sqlError](err)
	if !ok || pg.SQLState() != readOnly || isFault(err) {
		return nil
	}
	w.mu.Lock()
	now := time.Now()
	if w.last.IsZero() || now.Sub(w.last) >= writelessFor {
		w.since, w.said = now, time.Time{}
	}
	w.last = now
	says := w.said.IsZero() || now.Sub(w.said) >= writelessSaid
	if says {
		w.said = now
	}
	wait := tryAfter(now.Sub(w.since))
	w.mu.Unlock()
	if says {
		w.log.WarnContext(ctx, "Postgres takes no writes: what writes is refused, to be tried again, and is not logged each time", "field", fieldOf(ctx), "error", withoutValues(err))
	}
	return fault.Later(fault.Unexpected, wait, "nothing can be written for now")
}

// told is the fault in an error that is none of the caller's, logged where it is ours.
func (w *writeless) told(ctx context.Context, err error) *fault.Error {
	if f := w.refuses(ctx, err); f != nil {
		return f
	}
	if !isFault(err) && !gone(ctx, err) {
		w.log.ErrorContext(ctx, "operation failed", "field", fieldOf(ctx), "error", withoutValues(err))
	}
	return refused(ctx, err)
}
