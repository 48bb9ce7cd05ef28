package lease

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
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

func (s said) lease(pool *pgxpool.Pool) *Lease { return s.leaseOf(pool, "postgres") }

func (s said) leaseOf(pool *pgxpool.Pool, bus string) *Lease {
	return New(pool, clock.New(), slog.New(slog.DiscardHandler), bus, Hooks{
		Bury: func(_ context.Context, _ pgx.Tx, dead []Dead) (func(), error) {
			return func() { s.buried <- dead }, nil
		},
		Sweep:    func(context.Context, time.Duration) error { return nil },
		Reassert: func() { s.reassert <- struct{}{} },
		Missed:   func(time.Time) {},
		Restored: func(time.Time, time.Time) {},
	})
}

// sure is what a lease answers in the end: on a slow machine a statement may take
// longer than a renewal has.
func sure(t *testing.T, try func(context.Context) error) (err error) {
	t.Helper()
	for range 20 {
		err = try(t.Context())
		if _, refused := errors.AsType[*OtherBus](err); err == nil || refused {
			break
		}
	}
	return err
}

func leave(t *testing.T, l *Lease, grace time.Duration) {
	t.Helper()
	if err := sure(t, func(ctx context.Context) error { return l.Leave(ctx, grace) }); err != nil {
		t.Fatal(err)
	}
}

func keep(t *testing.T, l *Lease) {
	t.Helper()
	if err := sure(t, l.Acquire); err != nil {
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
	if err := sure(t, gone.Acquire); err != nil {
		t.Fatal(err)
	}
	leave(t, gone, 0)
	var until time.Time
	if err := pool.QueryRow(t.Context(), `select lease_until from realtime.nodes where id = $1`, gone.ID()).Scan(&until); err != nil {
		t.Fatal(err)
	}
	dead := wait(t, told.buried)
	if len(dead) != 1 || dead[0].Node != gone.ID() || !dead[0].Alive.Equal(until.Add(Every-TTL)) {
		t.Fatalf("%+v, whose lease ran out at %v", dead, until)
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

// Nodes that would not hear each other do not live together: who comes second is
// refused, with both names, and let in once the first took its leave.
func TestNodesOfDifferentBusesRefuseEachOther(t *testing.T) { //nolint:tparallel // its parts are steps on one database
	t.Parallel()
	url := pgtest.NewURL(t)
	pool := pgtest.Pool(t, url)
	last := func() { // the leases that there are, which nobody renews, however long this takes
		t.Helper()
		if _, err := pool.Exec(t.Context(), `update realtime.nodes set lease_until = clock_timestamp() + interval '1 hour'`); err != nil {
			t.Fatal(err)
		}
	}
	first, s := newLease(pool)
	if err := sure(t, first.Acquire); err != nil {
		t.Fatal(err)
	}
	last()
	other := s.leaseOf(pool, "nats://a:4222")
	err := sure(t, other.Acquire)
	var refused *OtherBus
	if !errors.As(err, &refused) || refused.Ours != "nats://a:4222" || refused.Theirs != "postgres" || !strings.Contains(err.Error(), "nats://a:4222") || !strings.Contains(err.Error(), "postgres") {
		t.Fatal(err)
	}
	if _, _, ok := other.Identity(); ok {
		t.Fatal("refused, and has a lease")
	}
	if err := sure(t, s.lease(pool).Acquire); err != nil {
		t.Fatal("the same bus:", err)
	}
	if _, err := pool.Exec(t.Context(), `delete from realtime.nodes where id <> $1`, first.ID()); err != nil {
		t.Fatal(err)
	}
	leave(t, first, time.Minute)
	var grace bool
	if err := pool.QueryRow(t.Context(), `select lease_until > clock_timestamp() + interval '50 seconds' from realtime.nodes where id = $1`, first.ID()).Scan(&grace); err != nil || !grace {
		t.Error("its users have not the whole grace to come back:", err)
	}
	last()
	if err := sure(t, other.Acquire); err != nil {
		t.Fatal("after the first left:", err)
	}
	if err := sure(t, first.renew); err != nil {
		t.Fatal("a row that is there is renewed:", err)
	}
	if _, err := pool.Exec(t.Context(), `delete from realtime.nodes where id = $1`, first.ID()); err != nil {
		t.Fatal(err)
	}
	last()
	if err := sure(t, first.renew); !errors.As(err, &refused) {
		t.Fatal("who was buried is asked again:", err)
	}
	t.Run("nobody holds up those who enter for good", func(t *testing.T) { entersInTime(t, pool, url) })
}

// entersInTime: also behind a pooler, where sessions have no limits of ours.
func entersInTime(t *testing.T, pool *pgxpool.Pool, url string) {
	const limits = `current_setting('lock_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout')`
	if _, err := pool.Exec(t.Context(), `truncate realtime.nodes cascade; alter table realtime.nodes add column limits text default `+limits); err != nil {
		t.Fatal(err)
	}
	pooled, err := postgres.Open(t.Context(), url, postgres.Options{Pooled: true, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pooled.Close()
	l, _ := newLease(pooled)
	if err := sure(t, l.Acquire); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := pool.QueryRow(t.Context(), `select limits from realtime.nodes`).Scan(&got); err != nil || got != "2s 15s" {
		t.Errorf("a lease is taken within %q, %v", got, err)
	}
}

// TestNothingThatIsSweptHoldsUpABurial, for however long that takes.
func TestNothingThatIsSweptHoldsUpABurial(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	judge, told := newLease(pool)
	begun, stuck := make(chan struct{}), make(chan struct{})
	judge.hooks.Sweep = func(context.Context, time.Duration) error {
		select {
		case begun <- struct{}{}:
		case <-stuck:
		}
		<-stuck
		return nil
	}
	keep(t, judge)
	t.Cleanup(func() { close(stuck) })
	wait(t, begun)
	gone, _ := newLease(pool)
	if err := sure(t, gone.Acquire); err != nil {
		t.Fatal(err)
	}
	leave(t, gone, 0)
	if dead := wait(t, told.buried); len(dead) != 1 || dead[0].Node != gone.ID() {
		t.Fatalf("%+v", dead)
	}
}

// TestTheDeadAreBuriedInTheirMoment: each renewal brings when that will be, until
// then at most is waited, and while nobody is due one look is all.
func TestTheDeadAreBuriedInTheirMoment(t *testing.T) {
	t.Parallel()
	pool, trips := pgtest.Counted(t, pgtest.NewURL(t))
	judge, told := newLease(pool)
	other := told.lease(pool)
	if err := sure(t, judge.Acquire); err != nil || !judge.next.IsZero() {
		t.Fatalf("alone, and another dies at %v: %v", judge.next, err)
	}
	from := time.Now()
	if err := sure(t, other.Acquire); err != nil {
		t.Fatal(err)
	}
	if err := sure(t, judge.renew); err != nil {
		t.Fatal(err)
	}
	if d := judge.next.Sub(from); d < TTL || judge.next.After(time.Now().Add(TTL)) {
		t.Errorf("the other's lease runs out %v after it was taken", d)
	}
	judge.since = judge.since.Add(-patience)
	if n := trips.Fewest(func() {
		if err := judge.buryDue(t.Context()); err != nil {
			t.Error(err)
		}
	}); n != 1 {
		t.Errorf("where nobody is dead there are %d round trips", n)
	}
	synctest.Test(t, func(t *testing.T) {
		l := told.lease(nil)
		for in, nap := range map[time.Duration]time.Duration{-time.Millisecond: Every, 300 * time.Millisecond: 300*time.Millisecond + past, TTL: Every} {
			l.next = time.Now().Add(in - Every)
			if got := l.untilDue(); got != nap {
				t.Errorf("with somebody to bury in %v the next look is in %v, want %v", in, got, nap)
			}
		}
		if l.next = (time.Time{}); l.untilDue() != Every {
			t.Errorf("alone the next look is in %v", l.untilDue())
		}
	})
}
