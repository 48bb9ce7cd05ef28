package gqlhttp

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	readOnly      = "25006" // the SQLSTATE of a write where none is taken (PostgreSQL manual, appendix A)
	writelessFor  = time.Minute
	writelessNext = 2 * time.Second
)

// writeless is what is known of a database that may be read and not written: a standby
// before it is promoted, or one whose operator has it so. That passes, and is nobody's fault.
type writeless struct {
	log *slog.Logger

	mu   sync.Mutex
	last time.Time // guarded by mu: when a write was refused; zero: never
}

// refuses is what the caller of a write that was refused is told; nil: err is another
// error. It is said once while it lasts, which is until no write was refused for a minute.
func (w *writeless) refuses(ctx context.Context, err error) *fault.Error {
	pg, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err)
	if !ok || pg.SQLState() != readOnly || isFault(err) {
		return nil
	}
	w.mu.Lock()
	now := time.Now()
	begins := w.last.IsZero() || now.Sub(w.last) >= writelessFor
	w.last = now
	w.mu.Unlock()
	if begins {
		w.log.WarnContext(ctx, "Postgres takes no writes: what writes is refused, to be tried again, and is not logged each time", "field", fieldOf(ctx), "error", withoutValues(err))
	}
	return fault.Later(fault.Unexpected, writelessNext, "nothing can be written for now")
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
