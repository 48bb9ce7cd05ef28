package presence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// writer keeps the database's copy of this node's sessions: one transaction at a
// time, with everything that changed meanwhile in the next, so that a storm of
// connections costs a few statements.
type writer struct {
	w        *world
	sessions *Sessions
	node     Node
	aside    aside
}

// lastPatience is how long the last word waits for those whose rows are held.
const lastPatience = retryMost

// run writes until ctx ends, and then once more.
func (wr *writer) run(ctx context.Context) error {
	again := retryFirst
	for {
		select {
		case <-ctx.Done():
			return wr.last(context.WithoutCancel(ctx))
		case <-wr.sessions.wake:
		case <-wr.aside.look:
			wr.rejoin(ctx)
		}
		if err := wr.flush(ctx); err != nil && ctx.Err() == nil {
			wr.w.log.WarnContext(ctx, "sessions not written, trying again", "error", err, "after", again)
			if !wait.For(ctx, again) {
				continue
			}
			again = min(2*again, retryMost)
			wr.sessions.wake.Raise()
			continue
		}
		again = retryFirst
	}
}

// last writes what is left, that of those set aside too, if what holds them ends soon.
func (wr *writer) last(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	wr.aside = aside{} // tried once more
	err := wr.flush(ctx)
	patience, stop := context.WithTimeout(ctx, lastPatience)
	defer stop()
	for err == nil && len(wr.aside.users) > 0 && wait.For(patience, retryFirst) {
		if wr.fewer(ctx) {
			err = wr.flush(ctx)
		}
	}
	if left := len(wr.aside.users); left > 0 {
		wr.w.log.WarnContext(ctx, "another transaction holds rows of users: how their sessions ended is not written", "users", left)
	}
	return err
}

// changes is what one transaction writes: columns, as unnest takes them.
type changes struct {
	owns  []*own
	wants []int64 // of each, which of its states this is

	ids, users             []uuid.UUID
	tenants                []string
	counts                 []bool
	deviceIDs, names, toks []*string
	devices                []string
	connected, active      []time.Time
	idle, looking          []bool
	parked, ended          []*time.Time
	latency                []*int32
	gone                   []uuid.UUID
	touched                touched
}

// take puts a session into the columns, as it is or as one that is over.
func (c *changes) take(o *own) {
	c.owns, c.wants = append(c.owns, o), append(c.wants, o.want)
	if o.over {
		c.gone = append(c.gone, o.ID)
		c.touched.add(o.Key, o.ended)
		return
	}
	c.touched.add(o.Key, o.parked) // set offline by hand, and so last seen then
	c.add(o)
}

func (c *changes) add(o *own) {
	c.ids, c.users, c.tenants = append(c.ids, o.ID), append(c.users, o.Key.User), append(c.tenants, o.Key.Tenant)
	c.counts, c.deviceIDs, c.names = append(c.counts, o.Counts), append(c.deviceIDs, o.DeviceID), append(c.names, o.Name)
	var tok *string
	if o.TokenID != "" {
		tok = &o.TokenID
	}
	c.toks, c.devices = append(c.toks, tok), append(c.devices, string(o.Device))
	c.connected, c.active = append(c.connected, o.connected), append(c.active, o.lastActive)
	c.idle, c.parked, c.ended = append(c.idle, o.idle), append(c.parked, o.parked), append(c.ended, o.ended)
	c.looking = append(c.looking, o.looking && o.ended == nil)
	var ms *int32
	if d, ok := o.Socket.Latency(); ok {
		v := int32(min(d.Milliseconds(), 1<<30))
		ms = &v
	}
	c.latency = append(c.latency, ms)
}

// takeDirty is everything that is to be written, but of those set aside.
func (s *Sessions) takeDirty(aside map[Key]struct{}) *changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &changes{}
	for id := range s.dirty {
		o := s.all[id]
		if _, is := aside[o.Key]; is {
			continue
		}
		o.endsBy(s.w.now())
		c.take(o)
	}
	return c
}

// endsBy has an end that is late to be written count from now on: who came back to
// another node while Postgres was away, or took no writes, could not be written down
// either, and has a whole grace for it.
func (o *own) endsBy(now time.Time) {
	if o.ended != nil && !o.told && now.Sub(*o.ended) > writeMargin {
		o.ended = &now
	}
}

// one is the changes of a single session.
func (s *Sessions) one(o *own) *changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &changes{}
	o.endsBy(s.w.now())
	c.take(o)
	return c
}

// written says that changes are in the database; what changed meanwhile stays dirty.
func (s *Sessions) written(c *changes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range c.owns {
		o.stands(c.wants[i])
		if o.want != c.wants[i] {
			continue
		}
		delete(s.dirty, o.ID)
		switch {
		case o.over:
			delete(s.all, o.ID)
		case o.ended != nil:
			o.told = true
			s.setAlarmLocked(o)
		}
	}
}

var errNoLease = errors.New("this node has no lease yet")

func (wr *writer) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	c := wr.sessions.takeDirty(wr.aside.users)
	err := wr.write(ctx, c)
	if postgres.Locked(err) {
		if err = wr.setAside(ctx, c); err == nil {
			c = wr.sessions.takeDirty(wr.aside.users)
			err = wr.write(ctx, c)
		}
	}
	if poisoned(err) {
		err = wr.isolate(ctx, c)
	}
	if err != nil {
		return err // they are still dirty
	}
	wr.sessions.written(c)
	return nil
}

// poisoned: the database refuses a value, and will again. Not 23503: there the
// node's own row is gone, and comes back.
func poisoned(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code != "23503" && (strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "23"))
}

// isolate writes sessions one by one, to find the one that is refused: nothing
// will ever write that, and nobody else is to pay for it. Who is held is waited for once.
func (wr *writer) isolate(ctx context.Context, c *changes) error {
	var failed error
	for _, o := range c.owns {
		if _, is := wr.aside.users[o.Key]; is { // failed says so
			continue
		}
		one := wr.sessions.one(o)
		switch err := wr.write(ctx, one); {
		case poisoned(err):
			wr.w.log.ErrorContext(ctx, "a session cannot be written", "error", err)
		case postgres.Locked(err):
			failed = errors.Join(err, wr.setAside(ctx, one))
			continue
		case err != nil:
			failed = err
			continue
		}
		wr.sessions.written(one)
	}
	return failed
}

// Activity and parking move only forward, so that what another node wrote
// meanwhile is not taken back; but for the activity that a socket had for its having begun.
const writeSessions = `
insert into realtime.sessions as s (id, tenant, user_id, node_id, node_epoch, counts, device_id, device, name, token_id,
                                    connected_at, last_active_at, idle, parked_at, ended_at, latency_ms, looking_until)
select id, tenant, user_id, $1, $2, counts, device_id, device, name, token_id,
       connected_at, last_active_at, idle, parked_at, ended_at, latency_ms, case when looking then 'infinity'::timestamptz end
  from unnest($3::uuid[], $4::text[], $5::uuid[], $6::boolean[], $7::text[], $8::text[], $9::text[], $10::text[],
              $11::timestamptz[], $12::timestamptz[], $13::boolean[], $14::timestamptz[], $15::timestamptz[], $16::integer[], $17::boolean[])
    as v (id, tenant, user_id, counts, device_id, device, name, token_id,
          connected_at, last_active_at, idle, parked_at, ended_at, latency_ms, looking)
on conflict (id) do update
   set node_id = excluded.node_id, node_epoch = excluded.node_epoch,
       device_id = excluded.device_id, device = excluded.device, name = excluded.name, token_id = excluded.token_id,
       last_active_at = case when s.last_active_at = excluded.connected_at then excluded.last_active_at
                             else greatest(s.last_active_at, excluded.last_active_at) end, idle = excluded.idle,
       parked_at = greatest(s.parked_at, excluded.parked_at), ended_at = excluded.ended_at, latency_ms = excluded.latency_ms, looking_until = excluded.looking_until,
       idle_at = null, lapses_at = null -- a heartbeat elsewhere may have made it an HTTP-only one while its node was thought dead
 where s.user_id = excluded.user_id and s.tenant = excluded.tenant`

const deleteSessions = `delete from realtime.sessions where id = any($1)`

// write carries changes out, and rings before anybody who waits hears of it:
// what they then watch is read anew.
func (wr *writer) write(ctx context.Context, c *changes) error {
	if len(c.owns) == 0 {
		return nil
	}
	id, epoch, ok := wr.node.Identity()
	if !ok {
		return errNoLease
	}
	err := postgres.QuietBatchWithin(ctx, wr.w.vital, lockPatience, func(b *pgx.Batch) {
		if len(c.ids) > 0 {
			b.Queue(writeSessions, id, epoch, c.ids, c.tenants, c.users, c.counts, c.deviceIDs, c.devices,
				c.names, c.toks, c.connected, c.active, c.idle, c.parked, c.ended, c.latency, c.looking)
		}
		c.touched.lock(b)
		if len(c.gone) > 0 {
			b.Queue(deleteSessions, c.gone)
		}
		c.touched.write(b)
	})
	if err == nil {
		wr.w.ring(c.touched.keys()...)
		return nil
	}
	if e, is := errors.AsType[*pgconn.PgError](err); is && e.Code == "23503" { // foreign key: the node's row is gone
		wr.node.Lost(epoch)
	}
	return fmt.Errorf("writing sessions: %w", err)
}
