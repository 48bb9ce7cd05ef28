package events

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	firstWait = 250 * time.Millisecond // before the second try, doubling
	mostWait  = 5 * time.Second
	tries     = 3 // of a read that fails while Postgres is there
)

// patience is what all subscriptions of this node know of an outage.
type patience struct {
	log  *slog.Logger
	turn wait.Turn

	mu    sync.Mutex
	since time.Time // guarded by mu: of the outage; zero: there is none
}

// patiently does a read again until it works: an outage of Postgres only
// delays. Where going on makes no sense the error is the read's own: a refusal
// at once, and what fails again and again although Postgres answers, which the
// edge logs and tells as one that may be tried again. Each try is in its viewer's
// turn, and none is held between them.
func patiently[T any](ctx context.Context, p *patience, read func(context.Context) (T, error)) (T, error) {
	failed := 0
	for again := firstWait; ; again = min(2*again, mostWait) {
		x, err := wait.InTurn(ctx, p.turn, func() (T, error) {
			defer spent(ctx, time.Now())
			return read(ctx)
		})
		if err == nil {
			p.over(ctx)
			return x, nil
		}
		if ctx.Err() != nil {
			return x, ctx.Err()
		}
		if _, refused := errors.AsType[*fault.Error](err); refused {
			return x, err
		}
		if postgres.Outage(err) {
			p.began(ctx, err)
		} else if failed++; failed == tries {
			return x, err
		}
		// All of a node's subscriptions wait for the same: they must not ask in step.
		if !wait.For(ctx, again/2+rand.N(again/2)) {
			return x, ctx.Err()
		}
	}
}

// began says that Postgres is out of reach, once an outage.
func (p *patience) began(ctx context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		p.since = time.Now()
		p.log.WarnContext(ctx, "subscriptions wait for Postgres", "error", err)
	}
}

func (p *patience) over(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() {
		p.log.InfoContext(ctx, "subscriptions go on", "after", time.Since(p.since))
		p.since = time.Time{}
	}
}

type spentKey struct{}

// spending has took say what a read by way of patiently took: its last try alone, without the
// waiting for a turn or for Postgres. A read by no such way counts as a whole.
func spending(ctx context.Context) (within context.Context, took func() time.Duration) {
	began, last := time.Now(), time.Duration(-1)
	return context.WithValue(ctx, spentKey{}, &last), func() time.Duration {
		if last < 0 {
			return time.Since(began)
		}
		return last
	}
}

func spent(ctx context.Context, began time.Time) {
	if last, ok := ctx.Value(spentKey{}).(*time.Duration); ok {
		*last = time.Since(began)
	}
}
