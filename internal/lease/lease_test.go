package lease

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// said is what a lease told its owner.
type said struct {
	buried   chan []Dead
	reassert chan struct{}
}

func newLease(pool *pgxpool.Pool) (*Lease, said) {
	s := said{make(chan []Dead, 16), make(chan struct{}, 16)}
	return s.lease(pool), s
}

func (s said) lease(pool *pgxpool.Pool) *Lease {
	return New(pool, clock.New(), slog.New(slog.DiscardHandler), Hooks{
		Bury: func(_ context.Context, _ pgx.Tx, dead []Dead) (func(), error) {
			return func() { s.buried <- dead }, nil
		},
		Sweep:    func(context.Context, time.Duration) error { return nil },
		Reassert: func() { s.reassert <- struct{}{} },
		Restored: func(time.Time, time.Time) {},
	})
}

func keep(t *testing.T, l *Lease) {
	t.Helper()
	if err := l.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(time.Minute):
		t.Fatal("nothing was told")
	}
	panic("unreachable")
}

func TestOnlyTheDeadAreBuried(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	judge, told := newLease(pool)
	living := told.lease(pool) // either may judge
	gone, _ := newLease(pool)
	keep(t, living)
	keep(t, judge)
	if err := gone.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := gone.Leave(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	dead := wait(t, told.buried)
	if len(dead) != 1 || dead[0].Node != gone.ID() || time.Since(dead[0].Alive) < 0 {
		t.Fatalf("%+v", dead)
	}
	if d := max(judge.InTouch(), living.InTouch()); d < patience {
		t.Fatalf("judged after %v in touch", d)
	}
	var rows int
	if err := pool.QueryRow(t.Context(), `select count(*) from realtime.nodes`).Scan(&rows); err != nil || rows != 2 {
		t.Fatal(rows, err)
	}
}

func TestALostRowAndALostBootAreAssertedAgain(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	l, told := newLease(pool)
	keep(t, l)
	_, first, ok := l.Identity()
	if !ok {
		t.Fatal("no lease")
	}
	if _, err := pool.Exec(t.Context(), `delete from realtime.nodes`); err != nil {
		t.Fatal(err)
	}
	l.Lost(first)
	wait(t, told.reassert)
	if _, second, ok := l.Identity(); !ok || second <= first {
		t.Fatalf("epoch %d after %d", second, first)
	}
	if _, err := pool.Exec(t.Context(), `truncate realtime.sessions, realtime.boot`); err != nil {
		t.Fatal(err)
	}
	wait(t, told.reassert)
}
