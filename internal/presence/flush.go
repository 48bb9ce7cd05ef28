package presence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

const (
	flushTimeout = 5 * time.Second        // one transaction of sessions
	retryFirst   = 100 * time.Millisecond // doubling to retryMost while Postgres is away
	retryMost    = 2 * time.Second
	controlEvery = 5 * time.Second // how often what other nodes ask is read, should a doorbell be lost
)

// run writes what sessions change, one transaction at a time with everything
// that changed meanwhile in the next.
func (s *Sessions) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.alarm.Run(ctx) })
	control := time.NewTicker(controlEvery)
	defer control.Stop()
	wait := retryFirst
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
			defer cancel()
			return s.flush(last)
		case <-control.C:
			s.control(ctx)
			continue
		case <-s.asked:
			s.control(ctx)
			continue
		case <-s.wake:
		}
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			s.w.log.WarnContext(ctx, "sessions not written, trying again", "error", err, "after", wait)
			if !s.pause(ctx, wait) {
				continue
			}
			wait = min(2*wait, retryMost)
			s.poke()
			continue
		}
		wait = retryFirst
	}
}

func (s *Sessions) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (s *Sessions) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// batch is what one transaction writes: columns, as unnest takes them.
type batch struct {
	owns    []*own
	wants   []int64
	waiters []*waiter

	ids, users             []uuid.UUID
	tenants                []string
	counts                 []bool
	deviceIDs, names, toks []*string
	devices                []string
	connected, active      []time.Time
	idle                   []bool
	parked, ended          []*time.Time
	latency                []*int32
	gone                   []uuid.UUID
	touched                touched
}

func (s *Sessions) takeBatch() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &batch{waiters: s.changed}
	s.changed = nil
	for id := range s.dirty {
		o := s.all[id]
		b.owns, b.wants = append(b.owns, o), append(b.wants, o.want)
		b.take(o)
	}
	return b
}

// take puts a session into the columns, as it is or as one that is over.
func (b *batch) take(o *own) {
	if o.over {
		b.gone = append(b.gone, o.ID)
		b.touched.add(o.Key, o.ended)
		return
	}
	b.touched.add(o.Key, nil)
	b.add(o)
}

func (b *batch) add(o *own) {
	b.ids, b.users, b.tenants = append(b.ids, o.ID), append(b.users, o.Key.User), append(b.tenants, o.Key.Tenant)
	b.counts, b.deviceIDs, b.names = append(b.counts, o.Counts), append(b.deviceIDs, o.DeviceID), append(b.names, o.Name)
	var tok *string
	if o.TokenID != "" {
		tok = &o.TokenID
	}
	b.toks, b.devices = append(b.toks, tok), append(b.devices, string(o.Device))
	b.connected, b.active = append(b.connected, o.connected), append(b.active, o.lastActive)
	b.idle, b.parked, b.ended = append(b.idle, o.idle), append(b.parked, o.parked), append(b.ended, o.ended)
	var ms *int32
	if d, ok := o.Socket.Latency(); ok {
		v := int32(min(d.Milliseconds(), 1<<30))
		ms = &v
	}
	b.latency = append(b.latency, ms)
}

// settleBatch marks as written what was; what changed meanwhile stays dirty.
func (s *Sessions) settleBatch(b *batch, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !written {
		s.changed = append(b.waiters, s.changed...)
		return
	}
	for i, o := range b.owns {
		o.have = b.wants[i]
		if o.have != o.want {
			continue
		}
		delete(s.dirty, o.ID)
		if o.over {
			delete(s.all, o.ID)
		}
	}
	for _, w := range b.waiters {
		close(w.done)
	}
}

var errNoLease = errors.New("this node has no lease yet")

func (s *Sessions) flush(ctx context.Context) error {
	b := s.takeBatch()
	if len(b.owns) == 0 {
		s.settleBatch(b, true)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	err := s.write(ctx, b)
	if poisoned(err) && len(b.owns) > 1 {
		return s.isolate(ctx, b)
	}
	if poisoned(err) { // nothing will ever write this one, and nobody else is to pay for it
		s.w.log.ErrorContext(ctx, "a session cannot be written", "error", err)
		err = nil
	}
	if err == nil {
		s.w.ring(b.touched.keys()...) // before anybody who waits hears of it: what they then watch is read anew
	}
	s.settleBatch(b, err == nil)
	return err
}

// poisoned: the database refuses a value, and will again. Not 23503: there the
// node's own row is gone, and comes back.
func poisoned(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code != "23503" && (strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "23"))
}

// isolate writes a batch's sessions one by one, to find the one that is refused.
func (s *Sessions) isolate(ctx context.Context, b *batch) error {
	s.mu.Lock()
	ones := make([]*batch, len(b.owns))
	for i, o := range b.owns {
		one := &batch{owns: []*own{o}, wants: []int64{o.want}}
		one.take(o)
		ones[i] = one
	}
	s.mu.Unlock()
	var failed error
	for _, one := range ones {
		err := s.write(ctx, one)
		switch {
		case poisoned(err):
			s.w.log.ErrorContext(ctx, "a session cannot be written", "error", err)
		case err != nil:
			failed = err
			continue
		default:
			s.w.ring(one.touched.keys()...)
		}
		s.settleBatch(one, true)
	}
	s.settleBatch(&batch{waiters: b.waiters}, failed == nil)
	return failed
}

// Activity and parking move only forward, so that what another node wrote
// meanwhile is not taken back.
const writeSessions = `
insert into realtime.sessions as s (id, tenant, user_id, node_id, node_epoch, counts, device_id, device, name, token_id,
                                    connected_at, last_active_at, idle, parked_at, ended_at, latency_ms)
select id, tenant, user_id, $1, $2, counts, device_id, device, name, token_id,
       connected_at, last_active_at, idle, parked_at, ended_at, latency_ms
  from unnest($3::uuid[], $4::text[], $5::uuid[], $6::boolean[], $7::text[], $8::text[], $9::text[], $10::text[],
              $11::timestamptz[], $12::timestamptz[], $13::boolean[], $14::timestamptz[], $15::timestamptz[], $16::integer[])
    as v (id, tenant, user_id, counts, device_id, device, name, token_id,
          connected_at, last_active_at, idle, parked_at, ended_at, latency_ms)
on conflict (id) do update
   set node_id = excluded.node_id, node_epoch = excluded.node_epoch,
       device_id = excluded.device_id, device = excluded.device, name = excluded.name, token_id = excluded.token_id,
       last_active_at = greatest(s.last_active_at, excluded.last_active_at), idle = excluded.idle,
       parked_at = greatest(s.parked_at, excluded.parked_at), ended_at = excluded.ended_at, latency_ms = excluded.latency_ms,
       idle_at = null, lapses_at = null -- a heartbeat elsewhere may have made it an HTTP-only one while its node was thought dead
 where s.user_id = excluded.user_id and s.tenant = excluded.tenant`

const deleteSessions = `delete from realtime.sessions where id = any($1)`

func (s *Sessions) write(ctx context.Context, b *batch) error {
	id, epoch, ok := s.node.Identity()
	if !ok {
		return errNoLease
	}
	err := postgres.QuietBatch(ctx, s.w.pool, func(q *pgx.Batch) {
		if len(b.ids) > 0 {
			q.Queue(writeSessions, id, epoch, b.ids, b.tenants, b.users, b.counts, b.deviceIDs, b.devices,
				b.names, b.toks, b.connected, b.active, b.idle, b.parked, b.ended, b.latency)
		}
		b.touched.lock(q)
		if len(b.gone) > 0 {
			q.Queue(deleteSessions, b.gone)
		}
		b.touched.write(q)
	})
	if err == nil {
		return nil
	}
	if e, is := errors.AsType[*pgconn.PgError](err); is && e.Code == "23503" { // foreign key: the node's row is gone
		s.node.Lost(epoch)
	}
	return fmt.Errorf("writing sessions: %w", err)
}

const readControls = `
select id, signed_out, token_expires_at, parked_at, last_active_at
  from realtime.sessions
 where node_id = $1 and (signed_out or token_expires_at is not null or parked_at is not null or touched)`

// Asked is the doorbell's word that another node changed a session. It does not block.
func (s *Sessions) Asked(id uuid.UUID) {
	s.mu.Lock()
	_, ours := s.all[id]
	s.mu.Unlock()
	if ours {
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
}

// control reads what other nodes ask of sessions here.
func (s *Sessions) control(ctx context.Context) {
	s.mu.Lock()
	n := len(s.all)
	s.mu.Unlock()
	if n == 0 {
		return
	}
	node, _, ok := s.node.Identity()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	rows, err := s.w.pool.Query(ctx, readControls, node)
	if err != nil {
		return // read again at the next tick
	}
	defer rows.Close()
	for rows.Next() {
		var id uuid.UUID
		var out bool
		var expires, parked *time.Time
		var active time.Time
		if rows.Scan(&id, &out, &expires, &parked, &active) != nil {
			return
		}
		s.obey(id, out, expires, parked, active)
	}
}

func (s *Sessions) obey(id uuid.UUID, out bool, expires, parked *time.Time, active time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.all[id]
	if !ok || o.ended != nil {
		return
	}
	if out {
		o.Socket.SignOut()
		return
	}
	if expires != nil && !equalTime(expires, o.extended) {
		o.extended = expires
		o.Socket.Extend(*expires)
	}
	unpark := parked != nil && o.lastActive.After(*parked) && !active.After(*parked)
	if parked != nil && !o.lastActive.After(*parked) {
		o.parked = parked
	}
	moved := active.Sub(o.lastActive) >= time.Millisecond
	if moved {
		o.lastActive = active
		if o.parked != nil && active.After(*o.parked) {
			o.parked = nil
		}
	}
	idle := !s.w.now().Before(s.idleAt(o))
	if unpark || idle != o.idle {
		o.idle = idle
		s.changeLocked(o)
	} else if moved {
		s.setAlarmLocked(o)
	}
}
