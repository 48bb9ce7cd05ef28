package feed

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	batch       = 2000                   // changes given positions in one transaction, at most
	tick        = 500 * time.Millisecond // should no doorbell come
	pace        = 10 * time.Millisecond  // between batches, at least
	slowest     = 50 * time.Millisecond  // and at most, however busy the database is
	promise     = 2 * time.Second        // as realtime.sequence() writes it down
	hotLoad     = 200                    // changes a second, from which the sequencer looks by itself
	gathering   = 3 * time.Millisecond   // from then on a settling waits so long for others
	storeLimit  = 10 * time.Second
	backfillOne = 500 // messages numbered in one transaction
	backfillGap = 20 * time.Millisecond
	backfillNap = 30 * time.Second
)

// sequencer gives what is committed its numbers and positions: on every node,
// whoever has the lock does the work.
type sequencer struct {
	o    Options
	wake wait.Flag // something waits in the inbox
	told func()    // the log has grown

	rounds rounds // of settling
	meter  meter
	size   size
}

// Committed says that something of ours may wait in the inbox. It never blocks.
func (s *sequencer) Committed() { s.wake.Raise() }

// sequence moves what is committed from the inbox into the log: at once after a
// pause, then in batches. Every node runs it, whoever has the lock does the
// work. Under load it stays, looks every few milliseconds by itself, and writers
// need not ring; what they wrote last is found by a tick at worst.
func (s *sequencer) sequence(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.wake:
		}
		if err := s.stay(ctx); err != nil && ctx.Err() == nil {
			level := slog.LevelError
			if postgres.Outage(err) {
				level = slog.LevelDebug // an outage is told once, by the lease
			}
			s.o.Log.Log(ctx, level, "sequencing", "error", err)
		}
	}
}

// stay works until nothing is left and nothing is promised, on one connection:
// under load that is a third cheaper than on whichever comes, each with plans
// and caches of its own.
func (s *sequencer) stay(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	var db postgres.DB = s.o.Vital
	if s.o.Vital.Config().MaxConns > 2 { // fewer are for all
		conn, err := s.o.Vital.Acquire(within)
		if err != nil {
			return fmt.Errorf("sequencing: %w", err)
		}
		defer conn.Release()
		db = conn
	}
	for ctx.Err() == nil {
		now := time.Now()
		n, _, err := s.sequenceOnce(ctx, db, false)
		if err != nil {
			return err
		}
		if n <= 0 && !s.meter.promised(now) {
			break
		}
		wait.For(ctx, rest(time.Since(now)))
	}
	return nil
}

// rest is how long to wait after a batch that took a while: a batch has its
// price whatever is in it, and where that is high, fewer and longer ones leave
// the database to the writers.
func rest(took time.Duration) time.Duration { return min(max(pace, 4*took), slowest) }

// sequenceOnce gives one batch its positions, and says so: how many changes, or
// -1 where somebody else is at it and it does not wait for them; more: others may
// wait. What is too much at once is done in smaller batches, and a change that
// cannot have a place at all is passed over.
func (s *sequencer) sequenceOnce(ctx context.Context, db postgres.DB, waits bool) (n int, more bool, err error) {
	now := time.Now()
	stays := s.meter.promise(now)
	most := s.size.now()
	n, err = s.numbered(ctx, db, most, stays, waits)
	for ; postgres.Broken(err) && most > 1; n, err = s.numbered(ctx, db, most, stays, waits) {
		most = s.size.failed(most)
	}
	switch {
	case postgres.Broken(err):
		n, err = 1, s.passOver(ctx, db)
	case err != nil:
		s.size.failed(most)
	case n == most:
		s.size.went(most)
	}
	if err != nil {
		return 0, false, fmt.Errorf("sequencing: %w", err)
	}
	s.meter.add(now, max(n, 0))
	if stays && waits {
		s.Committed() // whoever stays keeps the promise
	}
	if n > 0 {
		s.told()
	}
	return n, n >= most, nil
}

// numbered is one batch of at most so many changes.
func (s *sequencer) numbered(ctx context.Context, db postgres.DB, most int, stays, waits bool) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	err = db.QueryRow(ctx, `select realtime.sequence($1, $2, $3)`, most, stays, waits).Scan(&n)
	return n, err
}

// passOver gives the next change its place, or takes it out of the way and says so.
func (s *sequencer) passOver(ctx context.Context, db postgres.DB) error {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	var kind, why *string
	var channel, message *uuid.UUID
	if err := db.QueryRow(ctx, `select * from realtime.pass_over()`).Scan(&kind, &channel, &message, &why); err != nil {
		return err
	}
	if kind == nil {
		return nil
	}
	if s.o.PassedOver != nil {
		s.o.PassedOver()
	}
	s.o.Log.ErrorContext(ctx, "a change is passed over: it cannot have a place in the log", "kind", *kind, "channel", channel, "message", message, "error", *why)
	return nil
}

// size is how many changes a batch has: all there may be, and half of that where
// they were too much. The zero value is ready.
type size struct{ less atomic.Int64 } // 0: batch

func (z *size) now() int {
	if n := z.less.Load(); n > 0 {
		return int(n)
	}
	return batch
}

// failed is the size to try next.
func (z *size) failed(most int) int {
	most = max(most/2, 1)
	z.less.Store(int64(most))
	return most
}

func (z *size) went(most int) { z.less.Store(int64(min(2*most, batch))) }

// backfill numbers messages that were there before us, a few at a time, and
// then looks now and then whether a migration found more.
func (s *sequencer) backfill(ctx context.Context) {
	for ctx.Err() == nil {
		pause := backfillGap
		n, err := s.backfillOnce(ctx)
		if err != nil || n == 0 {
			pause = backfillNap
		}
		wait.For(ctx, pause)
	}
}

func (s *sequencer) backfillOnce(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	if err := s.o.Pool.QueryRow(ctx, `select realtime.backfill_some($1)`, backfillOne).Scan(&n); err != nil {
		return 0, fmt.Errorf("numbering: %w", err)
	}
	return n, nil
}

// Backfill is how many of the channels that had messages before us are
// numbered whole, of how many.
func Backfill(ctx context.Context, db postgres.DB) (done, all int, err error) {
	const q = `select count(*) filter (where done), count(*) from realtime.backfill`
	if err := db.QueryRow(ctx, q).Scan(&done, &all); err != nil {
		return 0, 0, fmt.Errorf("reading the progress of numbering: %w", err)
	}
	return done, all, nil
}
