package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// Bury ends the sessions of dead nodes, within the quiet transaction that holds
// their rows locked: whatever such a node still writes then fails. It answers
// whose presence to ring after the commit. Of whom another transaction holds the
// sessions are left as they ended with their node, for Sweep once they count no more.
func (s *Service) Bury(ctx context.Context, tx pgx.Tx, dead []lease.Dead) ([]Key, error) {
	nodes, alive := make([]uuid.UUID, len(dead)), make([]time.Time, len(dead))
	for i, d := range dead {
		nodes[i], alive[i] = d.Node, d.Alive
	}
	const q = `
select s.tenant, s.user_id, max(coalesce(s.ended_at, d.alive))
  from unnest($1::uuid[], $2::timestamptz[]) d (node, alive)
  join realtime.sessions s on s.node_id = d.node
 group by 1, 2`
	t, err := collectTouched(ctx, tx, q, nodes, alive)
	if err != nil || len(t.users) == 0 {
		return nil, err
	}
	keys := t.keys()
	held, err := t.hold(ctx, tx)
	if err != nil {
		return nil, err
	}
	b := &pgx.Batch{}
	if len(held) > 0 {
		const leave = `
update realtime.sessions s
   set node_id = null, node_epoch = null, looking_until = null,
       ended_at = coalesce(s.ended_at, d.alive), lapses_at = coalesce(s.ended_at, d.alive) + $5::interval
  from unnest($1::uuid[], $2::timestamptz[]) d (node, alive), unnest($3::text[], $4::uuid[]) k (tenant, user_id)
 where s.node_id = d.node and s.tenant = k.tenant and s.user_id = k.user_id`
		tenants, users := keyColumns(held)
		b.Queue(leave, nodes, alive, tenants, users, s.w.rules.Grace+writeMargin)
	}
	b.Queue(`delete from realtime.sessions where node_id = any($1)`, nodes)
	t.write(b)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("deleting dead sessions: %w", err)
	}
	return keys, nil
}

const (
	lapsedMost     = 500             // HTTP-only sessions ended in one transaction
	orphanPatience = 6 * time.Second // after a crash of Postgres, until nodes have asserted their sockets again
	audienceKeep   = time.Hour
	audienceMost   = 8 // rows of a user that stay
	audienceYoung  = 10 * time.Second
)

// Sweep ends what nobody's timer ends: HTTP-only sessions that lapsed, those that Bury
// left, and users left marked as connected by a crash that took their sessions. Any node may run it, many at once.
// inTouch is how long this node has been in unbroken contact with Postgres.
func (s *Service) Sweep(ctx context.Context, inTouch time.Duration) error {
	if err := s.sweepLapsed(ctx); err != nil {
		return err
	}
	if inTouch < orphanPatience {
		return nil
	}
	return s.sweepOrphans(ctx)
}

// Sweeps forget what users left that are no more, when channels became direct that did so again or are no more, and
// rows of audience that nobody compares any more, and of one user
// all but the newest few: whoever looks at a user counts them. A row is some
// seconds old before: one that a longer transaction drew before it and commits
// after it changes what is compared all the same, for it changes the count.
func (s *Service) Sweeps() []sweep.Task {
	const old = `
delete from realtime.audience a
 where a.ctid = any (array(select o.ctid from realtime.audience o where o.at < (select clock_timestamp() - $2::interval) order by o.at limit $1))`
	const many = `
delete from realtime.audience a
 where a.ctid = any (array(
   select o.ctid
     from (select x.user_id from realtime.audience x group by x.user_id having count(*) > $2) u
    cross join lateral (select y.ctid, y.at from realtime.audience y where y.user_id = u.user_id order by y.id desc offset $2) o
    where o.at < (select clock_timestamp() - $3::interval) limit $1))`
	const spent = `
delete from realtime.directs d
 where d.ctid = any (array(
   select o.ctid from realtime.directs o
    where exists (select from realtime.directs n where n.channel_id = o.channel_id and n.since > o.since)
       or not exists (select from public.nchat_channels c where c.id = o.channel_id) limit $1))`
	const presence = `
delete from realtime.presence p
 where p.ctid = any (array(
   select o.ctid from realtime.departed_users($2) g join realtime.presence o on o.tenant = g.tenant and o.user_id = g.user_id where not o.active limit $1))`
	const settings = `
delete from realtime.presence_settings s
 where s.ctid = any (array(
   select o.ctid from realtime.departed_users($2) g join realtime.presence_settings o on o.tenant = g.tenant and o.user_id = g.user_id limit $1))`
	// Who came back, or left nothing any more, the other packages' sweeps included.
	const departed = `
delete from realtime.departed d
 where d.ctid = any (array(
   select o.ctid from realtime.departed o left join realtime.departed_users($2) g on g.tenant = o.tenant and g.user_id = o.user_id
    where o.at < (select clock_timestamp() - $2::interval)
      and (g.user_id is null
           or not exists (select from realtime.presence p where p.tenant = g.tenant and p.user_id = g.user_id)
              and not exists (select from realtime.presence_settings s where s.tenant = g.tenant and s.user_id = g.user_id)
              and not exists (select from realtime.quiet_hours q where q.tenant = g.tenant and q.user_id = g.user_id)
              and not (g.whole and realtime.has_marks(g.user_id))) limit $1))`
	return []sweep.Task{
		{Of: "presence", Batch: sweep.Rows(s.w.pool, presence, sweep.Long)},
		{Of: "presence_settings", Batch: sweep.Rows(s.w.pool, settings, sweep.Long)},
		{Of: "departed", Batch: sweep.Rows(s.w.pool, departed, sweep.Long)},
		{Of: "directs", Batch: sweep.Rows(s.w.pool, spent)},
		{Of: "audience", Batch: sweep.Rows(s.w.pool, old, audienceKeep)},
		{Of: "audience", Batch: sweep.Rows(s.w.pool, many, audienceMost, audienceYoung)},
	}
}

// sweepLapsed ends HTTP-only sessions whose client has gone silent: all of them, for those
// that stay, as of whom another transaction holds, are not to be before the others each time.
func (s *Service) sweepLapsed(ctx context.Context) error {
	for after := uuid.Nil; ; {
		last, more, err := s.endLapsed(ctx, after)
		if err != nil {
			return fmt.Errorf("ending lapsed sessions: %w", err)
		}
		if !more {
			return nil
		}
		after = last
	}
}

// endLapsed ends a page of them, those after an id; more: there are others after its last.
func (s *Service) endLapsed(ctx context.Context, after uuid.UUID) (last uuid.UUID, more bool, err error) {
	w := s.w
	var t touched
	err = postgres.Quietly(ctx, w.vital, func(tx pgx.Tx) error {
		found, err := w.findLapsed(ctx, tx, after)
		ids := found.ids
		if t, last, more = found.touched, found.last, found.rows == lapsedMost; err != nil || len(ids) == 0 {
			return err
		}
		if _, err := t.hold(ctx, tx); err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(deleteSessions+` and (tenant, user_id) in (select * from unnest($2::text[], $3::uuid[]))`, ids, t.tenants, t.users)
		t.write(b)
		return tx.SendBatch(ctx, b).Close()
	})
	if err == nil && len(t.users) > 0 {
		w.ring(t.keys()...)
	}
	return last, more, err
}

// lapsed are sessions that have lapsed, with whose they are, and how far was looked for them.
type lapsed struct {
	touched
	ids  []uuid.UUID
	last uuid.UUID
	rows int
}

// findLapsed locks sessions that have lapsed, by this node's clock and by the database's: the
// machine's own may just have been set.
func (w *world) findLapsed(ctx context.Context, tx pgx.Tx, after uuid.UUID) (found lapsed, err error) {
	const q = `
select id, tenant, user_id, lapses_at, ended_at from realtime.sessions
 where node_id is null and lapses_at <= least($1::timestamptz, (select clock_timestamp())) and id > $3
 order by id limit $2 for update skip locked`
	now, o := w.now(), w.outage()
	rows, err := tx.Query(ctx, q, now, lapsedMost, after)
	if err != nil {
		return found, err
	}
	var id uuid.UUID
	var k Key
	var at time.Time
	var ended *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &k.Tenant, &k.User, &at, &ended}, func() error {
		found.last = id
		found.rows++
		s := session{LapsesAt: &at, EndedAt: ended}
		// What could not be reported while Postgres was away is no absence.
		if end, _ := s.end(w.rules, o); now.Before(end) {
			return nil
		}
		seen := s.seen(w.rules)
		found.ids = append(found.ids, id)
		found.add(k, &seen)
		return nil
	})
	return found, err
}

// sweepOrphans ends those whose sessions a crash of Postgres took and nobody
// asserted again: sockets within a lease, HTTP-only ones within their lapse.
func (s *Service) sweepOrphans(ctx context.Context) error {
	w := s.w
	const find = `
select p.tenant, p.user_id, b.since
  from realtime.presence p, realtime.boot b
 where p.active
   and b.since < clock_timestamp() - case when p.active_http then $2::interval else $1::interval end
   and not exists (select from realtime.sessions s where s.tenant = p.tenant and s.user_id = p.user_id and realtime.counts(s))`
	t, err := collectTouched(ctx, w.vital, find, orphanPatience, w.rules.HTTPLapse+orphanPatience)
	if err != nil || len(t.users) == 0 {
		return err
	}
	err = postgres.Quietly(ctx, w.vital, func(tx pgx.Tx) error {
		if _, err := t.hold(ctx, tx); err != nil {
			return err
		}
		b := &pgx.Batch{}
		t.write(b)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return fmt.Errorf("ending orphans: %w", err)
	}
	w.ring(t.keys()...)
	return nil
}

func collectTouched(ctx context.Context, db postgres.DB, sql string, args ...any) (touched, error) {
	var t touched
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return t, fmt.Errorf("reading whom to sweep: %w", err)
	}
	var k Key
	var seen *time.Time
	_, err = pgx.ForEachRow(rows, []any{&k.Tenant, &k.User, &seen}, func() error {
		at := seen
		t.add(k, at)
		seen = nil
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("reading whom to sweep: %w", err)
	}
	return t, nil
}
