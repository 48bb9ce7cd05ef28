package presence

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Editor carries out what users choose. What it answers is committed.
type Editor struct {
	w        *world
	read     *Reader
	sessions *Sessions
	unhidden func(ctx context.Context, tx pgx.Tx, k Key) error
}

// SetStatus chooses a status by hand. Away and busy hold until changed or
// until expires; Online is automatic again; Offline parks the session the
// request came over, or over HTTP all of the caller's, until it is active again.
func (e *Editor) SetStatus(ctx context.Context, v viewer.Viewer, status Status, expires *time.Time) (View, error) {
	if err := v.Denied(); err != nil {
		return View{}, err
	}
	switch status {
	case Online, Away, Busy, Offline:
	default:
		return View{}, fault.Field("status", "status must be online, away, busy or offline")
	}
	if expires != nil && byHand(status) == "" {
		return View{}, fault.Field("expiresAt", "expiresAt is given with away and busy only")
	}
	if err := checkExpiry("expiresAt", expires, e.w.now()); err != nil {
		return View{}, err
	}
	if err := e.choose(ctx, v, status, expires, nil); err != nil {
		return View{}, err
	}
	return e.read.Presence(ctx, v, v.User)
}

// SetBoth chooses a status and sets the line, both or neither. Away, busy and
// the line run out at expires; Online and Offline by themselves do not.
func (e *Editor) SetBoth(ctx context.Context, v viewer.Viewer, status Status, c Custom) (View, error) {
	if err := v.Denied(); err != nil {
		return View{}, err
	}
	expires := c.ExpiresAt
	c, err := e.checkCustom(c)
	if err != nil {
		return View{}, err
	}
	if expires != nil && byHand(status) == "" && c.ExpiresAt == nil {
		return View{}, fault.Field("expiresAt", "expiresAt is given with away, busy or a line")
	}
	if err := checkExpiry("expiresAt", expires, e.w.now()); err != nil {
		return View{}, err
	}
	if err := e.choose(ctx, v, status, expires, func(b *pgx.Batch) { queueCustom(b, v.Key, c) }); err != nil {
		return View{}, err
	}
	return e.read.Presence(ctx, v, v.User)
}

// byHand is a status as a choice: away and busy are one, anything else is automatic.
func byHand(s Status) Status {
	if s == Away || s == Busy {
		return s
	}
	return ""
}

// choose parks what the choice is of, or counts it again, and writes the choice
// and what else belongs to it (nil: nothing).
func (e *Editor) choose(ctx context.Context, v viewer.Viewer, status Status, expires *time.Time, also func(*pgx.Batch)) error {
	park := status == Offline
	held, err := e.sessions.park(ctx, v.Session, v.Key, park)
	if err != nil || held && park && also == nil {
		return err
	}
	if byHand(status) == "" {
		expires = nil
	}
	var parked []uuid.UUID
	err = postgres.QuietBatch(ctx, e.w.pool, func(b *pgx.Batch) {
		if !held {
			queueParking(b, v.Key, park, e.w.now(), &parked)
		}
		if !park {
			const q = `
insert into realtime.presence as p (tenant, user_id, manual_status, manual_until) values ($1, $2, nullif($3, ''), $4)
on conflict (tenant, user_id) do update
   set manual_status = excluded.manual_status, manual_until = excluded.manual_until, updated_at = clock_timestamp()
 where (p.manual_status, p.manual_until) is distinct from (excluded.manual_status, excluded.manual_until)`
			b.Queue(q, v.Tenant, v.User, string(byHand(status)), expires)
		}
		if also != nil {
			also(b)
		}
	})
	if err != nil {
		return fmt.Errorf("choosing a status: %w", err)
	}
	if !park || len(parked) > 0 || also != nil {
		e.w.ring(v.Key)
	}
	e.w.ringSessions(parked...)
	return nil
}

// queueParking parks all of a user's sessions, or counts them again, wherever
// their sockets are; ids are those that it changed.
func queueParking(b *pgx.Batch, k Key, on bool, now time.Time, ids *[]uuid.UUID) {
	const park = `
update realtime.sessions set parked_at = greatest(parked_at, $3, last_active_at) -- by another node's clock, which may be a little ahead
 where tenant = $1 and user_id = $2 and counts and ended_at is null
   and (parked_at is null or parked_at < last_active_at) returning id`
	const unpark = `
update realtime.sessions
   set last_active_at = greatest(last_active_at, $3, parked_at + interval '1 microsecond'), idle = false, touched = true
 where tenant = $1 and user_id = $2 and ended_at is null and parked_at >= last_active_at returning id`
	q := unpark
	if on {
		q = park
	}
	b.Queue(q, k.Tenant, k.User, now).Query(func(rows pgx.Rows) (err error) {
		*ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	var t touched
	t.add(k, &now)
	t.lock(b)
	t.write(b)
}

// maxExpiryAhead is how far ahead anything may expire.
const maxExpiryAhead = 366 * 24 * time.Hour

func checkExpiry(field string, at *time.Time, now time.Time) error {
	if at == nil {
		return nil
	}
	if !at.After(now) {
		return fault.Field(field, "%s is in the past", field[strings.LastIndexByte(field, '.')+1:])
	}
	if at.After(now.Add(maxExpiryAhead)) {
		return fault.Field(field, "%s is more than a year ahead", field[strings.LastIndexByte(field, '.')+1:])
	}
	return nil
}
