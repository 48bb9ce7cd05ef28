package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// enter waits for Postgres and for migrations, and takes the lease.
func enter(ctx context.Context, p *parts) error {
	for {
		err := tryEnter(ctx, p)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if m, ok := errors.AsType[*unmigratedError](err); ok {
			return m
		}
		if other, ok := errors.AsType[*lease.OtherBus](err); ok {
			return other
		}
		if postgres.Forbidden(err) {
			return &forbiddenError{err}
		}
		p.log.WarnContext(ctx, "waiting for Postgres", "error", err)
		wait.For(ctx, 2*time.Second)
	}
}

type unmigratedError struct{ is postgres.Status }

func (e *unmigratedError) Error() string {
	what := fmt.Sprintf("has migration %d of %d", e.is.Have, e.is.Want)
	if e.is.Have >= e.is.Want {
		what = "lacks this version's functions"
	}
	return "the database " + what + ": run `nchat-realtime migrate`"
}

// forbiddenError is of a role that lacks a right: somebody else has migrated.
type forbiddenError struct{ err error }

func (e *forbiddenError) Error() string {
	return fmt.Sprintf("the server's database role lacks a right: migrate and serve with one role, which owns nchat's tables: %v", e.err)
}

func (e *forbiddenError) Unwrap() error { return e.err }

// errColumnsChanged is of a database that a server may work on all the same: most of it fits.
var errColumnsChanged = errors.New("columns of nchat's tables have changed since functions and triggers were fitted to them: " +
	"the app's own writes may fail, and what is new is not looked at: run `nchat-realtime migrate`")

func tryEnter(ctx context.Context, p *parts) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	migrated, err := postgres.MigrationStatus(ctx, p.pool, Code())
	if err != nil {
		return err
	}
	if !migrated.Ready() {
		return &unmigratedError{migrated}
	}
	if err := fitted(ctx, p.pool); errors.Is(err, errColumnsChanged) {
		p.log.WarnContext(ctx, "the database has changed", "error", err)
	} else if err != nil {
		return err
	}
	hidden, err := presence.Blind(ctx, p.pool)
	if err != nil {
		return err
	}
	if hidden != "" {
		p.log.ErrorContext(ctx, "row level security hides rows from this server's role, which therefore hides them from everybody: let the role own the tables, and have BYPASSRLS where it is forced on their owner", "tables", hidden)
	}
	if err := p.revoked.load(ctx); err != nil {
		return err
	}
	return p.lease.Acquire(ctx)
}
