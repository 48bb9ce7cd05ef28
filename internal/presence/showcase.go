package presence

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Showcase keeps, as a table, what everybody may see of each user: what project
// makes of it for a stranger of the same tenant who shares nothing. The invisible
// are offline there, and so is whoever shows itself to contacts or to nobody. One
// node does it at a time. A doorbell marks, time that passes marks, and what they
// missed the pass over all finds.
type Showcase struct {
	w     *world
	node  uuid.UUID
	on    bool
	also  bool // tell nchat's own tables
	alarm *clock.Alarm[Key]
	wake  wait.Flag

	mu    sync.Mutex
	holds bool             // guarded by mu: this node keeps it
	dirty map[Key]struct{} // guarded by mu: tenant "": whichever
	all   bool             // guarded by mu: everybody is to be looked at
}

const (
	showLease  = 15 * time.Second
	showRenew  = 3 * time.Second
	showAtOnce = 500             // users in one statement
	showPass   = 5 * time.Minute // between passes, and at least showShare times as long as one takes
	showShare  = 20
	lateAgain  = time.Second // after which nchat's own tables are told again of whom another transaction held
)

func newShowcase(w *world, on, also bool) *Showcase {
	s := &Showcase{w: w, node: uuid.New(), on: on || also, also: also, wake: wait.NewFlag(), dirty: map[Key]struct{}{}}
	s.alarm = clock.NewAlarm(w.clock, func(keys []Key) { s.mark(keys...) })
	return s
}

func (s *Showcase) mark(keys ...Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holds {
		return
	}
	for _, k := range keys {
		s.dirty[k] = struct{}{}
	}
	s.wake.Raise()
}

func (s *Showcase) markAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = true
	s.wake.Raise()
}

// run keeps the table until ctx ends, whenever no other node does.
func (s *Showcase) run(ctx context.Context) {
	if !s.on {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.alarm.Run(ctx) })
	renew := time.NewTicker(showRenew)
	defer renew.Stop()
	k := &keeper{s: s}
	for ctx.Err() == nil {
		if err := k.turn(ctx); err != nil && ctx.Err() == nil {
			s.w.log.WarnContext(ctx, "what everybody may see is not kept, trying again", "error", err)
			wait.For(ctx, retryMost)
		}
		select {
		case <-ctx.Done():
		case <-renew.C:
		case <-s.wake:
			wait.For(ctx, retryFirst) // and whatever else comes with it
		}
	}
	s.leave(context.WithoutCancel(ctx))
}

// leave lets another node go on at once.
func (s *Showcase) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if _, err := s.w.pool.Exec(ctx, `update realtime.showing set until = clock_timestamp() where node = $1 and until > clock_timestamp()`, s.node); err != nil {
		s.w.log.DebugContext(ctx, "leaving what everybody may see", "error", err)
	}
}

// keeper is the node's work at it.
type keeper struct {
	s       *Showcase
	renewed time.Time
	passed  bool      // everybody has been looked at, and of the rest nchat's own tables are to say nothing
	passing bool      // through everybody
	after   Key       // how far
	began   time.Time // the pass
	due     time.Time // the next
}

// turn does what is to be done now.
func (k *keeper) turn(ctx context.Context) error {
	for {
		holds, err := k.hold(ctx)
		if err != nil || !holds {
			return err
		}
		keys, err := k.next(ctx)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return k.legacy(ctx)
		}
		if err := k.show(ctx, keys); err != nil {
			k.s.mark(keys...)
			return err
		}
	}
}

// hold renews that this node keeps the table. Whoever has just become the one
// looks at everybody.
func (k *keeper) hold(ctx context.Context) (bool, error) {
	if time.Since(k.renewed) < showRenew-retryFirst {
		return true, nil
	}
	var before *bool
	err := k.s.w.pool.QueryRow(ctx, `select realtime.keep_showing($1, $2)`, k.s.node, showLease).Scan(&before)
	if err != nil {
		return false, err
	}
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	if k.s.holds && (before == nil || !*before) || !k.s.holds && before != nil {
		clear(k.s.dirty)
		k.s.all = true
	}
	if k.s.holds = before != nil; k.s.holds {
		k.renewed = time.Now()
	}
	return k.s.holds, nil
}

// next are the users to look at: those marked, else the next of the pass.
func (k *keeper) next(ctx context.Context) ([]Key, error) {
	keys, anyTenant := k.take()
	if len(anyTenant) > 0 {
		const q = `select p.tenant, p.user_id from realtime.presence p where p.user_id = any ($1) union select s.tenant, s.user_id from realtime.public_presence s where s.user_id = any ($1)`
		more, err := k.keys(ctx, q, anyTenant)
		if err != nil {
			for _, user := range anyTenant {
				keys = append(keys, Key{User: user})
			}
			k.s.mark(keys...)
			return nil, err
		}
		keys = append(keys, more...)
	}
	if len(keys) > 0 || !k.passing {
		return keys, nil
	}
	const q = `
select tenant, user_id from (
  (select p.tenant, p.user_id from realtime.presence p where (p.tenant, p.user_id) > ($1, $2) order by p.tenant, p.user_id limit $3)
   union (select s.tenant, s.user_id from realtime.public_presence s where (s.tenant, s.user_id) > ($1, $2) order by s.tenant, s.user_id limit $3)) x
 order by tenant, user_id limit $3`
	keys, err := k.keys(ctx, q, k.after.Tenant, k.after.User, showAtOnce)
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		k.passing, k.passed, k.due = false, true, time.Now().Add(max(showPass, showShare*time.Since(k.began)))
	default:
		k.after = keys[len(keys)-1]
	}
	return keys, nil
}

// take is some of what is marked, and begins a pass where one is due.
func (k *keeper) take() (keys []Key, anyTenant []uuid.UUID) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	if k.s.all || !k.passing && time.Now().After(k.due) {
		k.s.all, k.passing, k.after, k.began = false, true, Key{}, time.Now()
	}
	for key := range k.s.dirty {
		if len(keys)+len(anyTenant) == showAtOnce {
			break
		}
		delete(k.s.dirty, key)
		if key.Tenant == "" {
			anyTenant = append(anyTenant, key.User)
		} else {
			keys = append(keys, key)
		}
	}
	return keys, anyTenant
}

func (k *keeper) keys(ctx context.Context, q string, args ...any) ([]Key, error) {
	rows, err := k.s.w.pool.Query(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Key])
}

// notify is a doorbell, as the Watcher hears it.
func (s *Showcase) notify(kind string, k Key) {
	if kind != "members" {
		s.mark(Key{Tenant: strings.Clone(k.Tenant), User: k.User})
	}
}
