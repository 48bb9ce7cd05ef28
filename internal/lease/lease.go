// Package lease says which servers are alive. Each holds one row of
// realtime.nodes and renews it by one statement, however many sockets it has;
// a row whose lease ran out is deleted by any other node, within a transaction
// in which the owner of what hangs on it tidies up. An epoch fences the dead:
// what is written under a deleted epoch fails.
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// The intervals: a node not heard of for TTL has lost its lease, and is buried
// another Every after, in that moment: so long it may have lived on after it was
// heard of, and whoever was with it has a whole TTL to come back.
const (
	TTL   = 5 * time.Second
	Every = time.Second
	// patience is how long a node must itself have been in touch before it
	// judges another: after an outage everybody gets a whole lease to return.
	patience = TTL + Every
	past     = 5 * time.Millisecond // that moment is past by so much when somebody looks
	// stalled: a node that has not renewed for so long was held up itself, as others may
	// have been by the same: it judges nobody before it has been in touch anew.
	stalled = 3 * Every
	left    = "left" // the bus of a node that took its leave: nobody has to agree with it
)

// Dead is a node whose lease ran out, with the last moment in which it may have been
// alive: it would have renewed its lease then.
type Dead struct {
	Node  uuid.UUID
	Alive time.Time
}

// Hooks are called from the lease's own goroutines: Bury from one, Sweep from
// another, Reassert, Missed and Restored from the one that renews. Neither renewing nor
// burying waits for anything that is swept.
type Hooks struct {
	// Bury tidies up after dead nodes in the transaction that will delete
	// them, which is a quiet one: what it returns is called after the commit,
	// to ring.
	Bury func(ctx context.Context, tx pgx.Tx, dead []Dead) (func(), error)
	// Sweep does what else some node must do now and then. inTouch is for how
	// long this one has been in unbroken contact with Postgres.
	Sweep func(ctx context.Context, inTouch time.Duration) error
	// Reassert: the database lost what this node wrote (a crash emptied
	// unlogged tables, or this node was thought dead).
	Reassert func()
	// Missed: Postgres is out of reach, or takes no writes, and was last heard of then.
	Missed func(since time.Time)
	// Restored: it was so between two instants.
	Restored func(from, to time.Time)
}

// Lease is this node's row.
type Lease struct {
	pool  *pgxpool.Pool
	clock *clock.Clock
	hooks Hooks
	log   *slog.Logger
	bus   string
	id    uuid.UUID
	lost  chan int64

	mu      sync.Mutex
	epoch   int64     // guarded by mu; 0: no row just now
	boot    uuid.UUID // guarded by mu: the unlogged tables' incarnation
	since   time.Time // guarded by mu: in unbroken contact since (local); zero: not in contact
	renewed time.Time // guarded by mu: the last contact, by the database's clock
	heard   time.Time // guarded by mu: the same (local)
	next    time.Time // guarded by mu: when the first of the others' leases runs out (local), as was known then; zero: there are none
}

// OtherBus is why a node may not have a lease: living ones have another bus, and
// neither would hear of what the other rings.
type OtherBus struct{ Ours, Theirs string }

func (e *OtherBus) Error() string {
	return fmt.Sprintf("this node's bus is %s, and that of nodes that run is %s: give all the same BUS_URL, or stop those first", e.Ours, e.Theirs)
}

// New is a lease not held yet, of a node with this bus.
func New(pool *pgxpool.Pool, c *clock.Clock, log *slog.Logger, bus string, hooks Hooks) *Lease {
	return &Lease{pool: pool, clock: c, hooks: hooks, log: log, bus: bus, id: uuid.New(), lost: make(chan int64, 1)}
}

// ID is this node's for its whole life.
func (l *Lease) ID() uuid.UUID { return l.id }

// Identity is what this node's rows refer to; false: there is no lease now.
func (l *Lease) Identity() (uuid.UUID, int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id, l.epoch, l.epoch != 0
}

// Lost says that the database did not know an epoch: another is taken at once.
func (l *Lease) Lost(epoch int64) {
	select {
	case l.lost <- epoch:
	default:
	}
}

// InTouch is for how long this node has been in unbroken contact with Postgres.
func (l *Lease) InTouch() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() || time.Since(l.heard) > stalled {
		return 0
	}
	return time.Since(l.since)
}

// Acquire takes the lease before anything is served. Errors: *OtherBus.
func (l *Lease) Acquire(ctx context.Context) error { return l.renew(ctx) }

// Run renews the lease, buries and sweeps until ctx ends.
func (l *Lease) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.often(ctx, "dead nodes not buried", l.untilDue, l.buryDue) })
	wg.Go(func() {
		l.often(ctx, "sweep failed", func() time.Duration { return Every }, func(ctx context.Context) error { return l.hooks.Sweep(ctx, l.InTouch()) })
	})
	t := time.NewTicker(Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case epoch := <-l.lost:
			l.forget(epoch)
		}
		if err := l.renew(ctx); err != nil {
			if ctx.Err() == nil {
				l.log.WarnContext(ctx, "lease not renewed", "error", err)
			}
		}
	}
}

// often does something after each nap while this node is in touch with Postgres,
// until ctx ends.
func (l *Lease) often(ctx context.Context, failed string, nap func() time.Duration, do func(context.Context) error) {
	t := time.NewTimer(nap())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if l.InTouch() > 0 {
			within, cancel := context.WithTimeout(ctx, TTL)
			err := do(within)
			cancel()
			if err != nil && ctx.Err() == nil {
				l.log.WarnContext(ctx, failed, "error", err)
			}
		}
		t.Reset(nap())
	}
}

// untilDue is how long there is nobody to bury, Every at most.
func (l *Lease) untilDue() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := time.Until(l.next.Add(Every)); d > 0 {
		return min(d+past, Every)
	}
	return Every
}

func (l *Lease) forget(epoch int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == epoch {
		l.epoch = 0
	}
}

// One statement: renews the row, or makes a new one (with a new epoch) where
// there was none, and reads the incarnation of the unlogged tables and when the
// first of the others' leases runs out.
const renewal = `
with boot as (
  insert into realtime.boot (crashed) select exists (select from realtime.nodes) where not exists (select from realtime.boot)
  on conflict (only_row) do nothing returning id),
kept as (
  update realtime.nodes set lease_until = clock_timestamp() + $2::interval
   where id = $1 and epoch = $3 returning epoch),
made as (
  insert into realtime.nodes (id, lease_until, bus)
  select $1, clock_timestamp() + $2::interval, $4 where $3 = 0
  on conflict (id) do nothing returning epoch)
select coalesce((select epoch from kept), (select epoch from made)),
       coalesce((select id from boot), (select id from realtime.boot)), clock_timestamp(),
       (select min(lease_until) from realtime.nodes where id <> $1)`

// answer is what a renewal brings.
type answer struct {
	epoch *int64     // nil: the row is gone, or held under another epoch
	boot  *uuid.UUID // nil: another node made it in this very moment
	at    time.Time
	next  *time.Time // nil: there is no other node
}

func (l *Lease) ask(ctx context.Context, db postgres.DB, epoch int64) (a answer, err error) {
	err = db.QueryRow(ctx, renewal, l.id, TTL, epoch, l.bus).Scan(&a.epoch, &a.boot, &a.at, &a.next)
	return a, err
}

// enter makes a row, one node after the other, where no living one has another bus.
func (l *Lease) enter(ctx context.Context) (a answer, err error) {
	err = postgres.InTx(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('realtime.nodes'))`); err != nil {
			return err
		}
		var theirs string
		err := tx.QueryRow(ctx, `
select bus from realtime.nodes where lease_until > clock_timestamp() and bus not in ($1, $2) and id <> $3 limit 1`, l.bus, left, l.id).Scan(&theirs)
		switch {
		case err == nil:
			return &OtherBus{Ours: l.bus, Theirs: theirs}
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		a, err = l.ask(ctx, tx, 0)
		return err
	})
	return a, err
}

func (l *Lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*Every)
	defer cancel()
	_, epoch, _ := l.Identity()
	sent := time.Now()
	var got answer
	var err error
	if epoch != 0 {
		got, err = l.ask(ctx, l.pool, epoch)
	}
	if err == nil && got.epoch == nil {
		l.forget(epoch) // buried, where there was one
		sent = time.Now()
		got, err = l.enter(ctx)
	}
	if err == nil && got.epoch == nil {
		err = errors.New("the row is held under another epoch")
		l.discard(ctx)
	}
	if err != nil {
		l.lose()
		return fmt.Errorf("renewing the lease: %w", err)
	}
	l.clock.Observe(sent, time.Now(), got.at)
	if got.boot == nil {
		return l.renew(ctx)
	}
	l.regain(got)
	return nil
}

// discard removes a row of ours whose epoch we do not know: a renewal whose
// answer never came.
func (l *Lease) discard(ctx context.Context) {
	if _, err := l.pool.Exec(ctx, `delete from realtime.nodes where id = $1`, l.id); err != nil {
		l.log.WarnContext(ctx, "own lease not discarded", "error", err)
	}
}

func (l *Lease) lose() {
	l.mu.Lock()
	first, renewed := !l.since.IsZero(), l.renewed
	l.since = time.Time{}
	l.mu.Unlock()
	if first {
		l.hooks.Missed(renewed)
	}
}

func (l *Lease) regain(got answer) {
	epoch, boot, at := *got.epoch, *got.boot, got.at
	l.mu.Lock()
	again := l.epoch != epoch || l.boot != boot
	first := l.boot == uuid.Nil
	from, broken := l.renewed, l.since.IsZero() && !l.renewed.IsZero()
	l.epoch, l.boot, l.renewed, l.next = epoch, boot, at, time.Time{}
	if got.next != nil {
		l.next = time.Now().Add(got.next.Sub(at))
	}
	now := time.Now()
	if l.since.IsZero() || now.Sub(l.heard) > stalled || at.Sub(from) > stalled {
		l.since = now
	}
	l.heard = now
	l.mu.Unlock()
	if broken {
		l.hooks.Restored(from, at)
	}
	if again && !first {
		l.hooks.Reassert()
	}
}

// Leave is the last word, after everything is written: the lease runs out when
// this node's closed sockets stop counting, for another node to bury them.
func (l *Lease) Leave(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*Every)
	defer cancel()
	id, epoch, ok := l.Identity()
	if !ok {
		return nil
	}
	_, err := l.pool.Exec(ctx, `
update realtime.nodes set lease_until = clock_timestamp() + $3::interval, bus = $4 where id = $1 and epoch = $2`, id, epoch, grace, left)
	if err != nil {
		return fmt.Errorf("leaving: %w", err)
	}
	return nil
}
