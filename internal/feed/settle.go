package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// rounds lets any number of callers share runs of one job, each of which begins
// after its callers asked. One caller of each runs it. The zero value is ready.
type rounds struct {
	gather func(context.Context) // waits before a run for whoever may share it; nil: nobody does

	mu      sync.Mutex
	running bool   // guarded by mu
	next    *round // guarded by mu: has not begun
}

type round struct {
	lead chan struct{} // holds one token when the round is to begin
	done chan struct{}
	err  error // set before done is closed
}

// join waits for a run that begins after the call. The caller that runs it does
// so to the end, for the others, whatever becomes of its own ctx.
func (r *rounds) join(ctx context.Context, job func(context.Context) error) error {
	r.mu.Lock()
	if r.next == nil {
		r.next = &round{lead: make(chan struct{}, 1), done: make(chan struct{})}
	}
	mine := r.next
	if !r.running {
		r.running = true
		mine.lead <- struct{}{}
	}
	r.mu.Unlock()
	select {
	case <-mine.lead:
		ctx = context.WithoutCancel(ctx)
		if r.gather != nil {
			r.gather(ctx)
		}
		r.run(mine, func() error { return job(ctx) })
		return mine.err
	case <-mine.done:
		return mine.err
	case <-ctx.Done(): // should nobody else wait, the token is there for whoever joins next
		return ctx.Err()
	}
}

// run is one round. Who joins from now on waits for another.
func (r *rounds) run(mine *round, job func() error) {
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.running = r.next != nil; r.running {
			r.next.lead <- struct{}{}
		}
		close(mine.done)
	}()
	mine.err = errUnfinished
	mine.err = job()
}

// errUnfinished is what the others get where the job panicked.
var errUnfinished = errors.New("the run did not come to its end")

// Settle makes sure that what was committed before has its number and its
// place in the log. Whoever asks at the same time shares one transaction.
func (s *sequencer) Settle(ctx context.Context) error {
	err := s.rounds.join(ctx, s.drain)
	if err != nil {
		s.Committed() // it is left to the sequencer
		return fmt.Errorf("waiting for positions: %w", err)
	}
	return nil
}

// gather waits a moment where many write: a settling has its price whoever shares it.
func (s *sequencer) gather(ctx context.Context) {
	if s.meter.busy(time.Now()) {
		wait.For(ctx, gathering)
	}
}

// CatchUp is Settle for whoever does not know that anything waits.
func (s *sequencer) CatchUp(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	var waiting bool
	if err := s.o.Pool.QueryRow(within, `select realtime.waiting()`).Scan(&waiting); err != nil {
		return fmt.Errorf("looking into the inbox: %w", err)
	}
	if !waiting {
		return nil
	}
	return s.Settle(ctx)
}

// ToRead is CatchUp for whoever only reads. Where the database takes no writes what waits
// does so until it does again: it is committed, and its writer (the app, an insert of
// Hasura's own) was answered, but it comes after every cursor of now; who may read is not
// asked of the log, and who reads is not to wait as well.
func (s *sequencer) ToRead(ctx context.Context) error {
	return postgres.ToRead(s.CatchUp(ctx)) //nolint:wrapcheck // its own
}

// drain gives positions to all that is committed when it is called.
func (s *sequencer) drain(ctx context.Context) error {
	for {
		_, more, err := s.sequenceOnce(ctx, s.o.Pool, true)
		if err != nil || !more {
			return err
		}
	}
}
