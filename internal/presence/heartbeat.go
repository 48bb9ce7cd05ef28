package presence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/text"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// The limits of what a client says of itself.
const (
	MaxDeviceText   = 100
	MaxActivityAgo  = 24 * time.Hour
	MaxHTTPSessions = 20 // a user's, without a socket
)

// DeviceText is what a device says of itself, as one line. Refused is what is
// longer than MaxDeviceText, or has control characters or an override of direction.
func DeviceText(field string, s *string) (*string, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // it says nothing
	}
	if utf8.RuneCountInString(*s) > MaxDeviceText {
		return nil, fault.Field(field, "%s has more than %d characters", field, MaxDeviceText)
	}
	line, ok := text.Line(*s)
	if !ok || strings.ContainsFunc(*s, unicode.IsControl) {
		return nil, fault.Field(field, "%s holds control characters, or overrides the direction of what stands around it", field)
	}
	return &line, nil
}

// Heartbeat takes in what a client says of its user's activity. The session is
// the one named, else the socket the request came over, else a new HTTP-only
// one. One that changes nothing is told to nobody.
func (e *Editor) Heartbeat(ctx context.Context, v viewer.Viewer, id *uuid.UUID, a Activity) (Session, error) {
	if err := v.Denied(); err != nil {
		return Session{}, err
	}
	_, wrongID := DeviceText("input.deviceId", a.DeviceID) // kept as it is: nobody reads it
	name, wrongName := DeviceText("input.name", a.Name)
	if err := errors.Join(wrongID, wrongName); err != nil {
		return Session{}, err
	}
	a.Name = name
	if a.Ago < 0 || a.Ago > MaxActivityAgo {
		return Session{}, fault.Field("input.lastActivityAgoMs", "lastActivityAgoMs must be 0 to %d", MaxActivityAgo.Milliseconds())
	}
	at := v.Session
	if id != nil {
		at = *id
	}
	if at != uuid.Nil {
		if s, held := e.sessions.report(at, v.Key, a); held {
			s.Current = at == v.Session
			return s, nil
		}
	}
	return e.httpHeartbeat(ctx, v, at, a)
}

// httpHeartbeat is for a session that no socket of this node is behind: it has
// none, or another node's, which is told.
func (e *Editor) httpHeartbeat(ctx context.Context, v viewer.Viewer, id uuid.UUID, a Activity) (Session, error) {
	var next session
	var edge bool
	now := e.w.now()
	err := postgres.Quietly(ctx, e.w.pool, func(tx pgx.Tx) error {
		old, id, err := e.ownSession(ctx, tx, v.Key, id, a.Active)
		if err != nil {
			return err
		}
		next = old.beat(id, a, e.w.rules, now)
		edge = old == nil || old.lapsed(e.w.rules, e.w.outage(), now) || old.parked() != next.parked() || old.idleAt(now) != next.idleAt(now)
		var t touched
		t.add(v.Key, &now)
		b := &pgx.Batch{}
		if edge {
			t.lock(b)
		}
		queueBeat(b, v.Key, next)
		if edge {
			t.write(b)
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return Session{}, err
	}
	if edge {
		e.w.ring(v.Key)
	}
	if next.Node != nil {
		e.w.ringSessions(next.ID)
	}
	return Session{SessionID: next.ID, DeviceID: next.DeviceID, Device: next.Device, Name: next.Name, ConnectedAt: next.ConnectedAt,
		LastActiveAt: next.LastActiveAt, Idle: next.idleAt(now), LatencyMs: next.LatencyMs, Current: true}, nil
}

// ownSession is the caller's session of an id, locked; nil: there is none yet,
// and there is room for it, under the id that it answers. A socket that closed ends with
// its grace, whatever is said of it: who goes on over HTTP has another session, but not
// one that was set offline by hand and does nothing.
func (e *Editor) ownSession(ctx context.Context, tx pgx.Tx, k Key, id uuid.UUID, active bool) (*stored, uuid.UUID, error) {
	if id != uuid.Nil {
		old, err := readSession(ctx, tx, id)
		switch {
		case err != nil:
			return nil, id, err
		case old == nil:
		case old.key != k:
			return nil, id, fault.Access()
		case old.EndedAt == nil || old.parked() && !active:
			return old, id, nil
		default:
			id = uuid.Nil
		}
	}
	return nil, id, roomForOne(ctx, tx, k, e.w.rules.HTTPLapse)
}

// roomForOne refuses a session too many. Sessions of one user begin one at a
// time: the user's row is locked.
func roomForOne(ctx context.Context, tx pgx.Tx, k Key, lapse time.Duration) error {
	var t touched
	t.add(k, nil)
	var n int
	b := &pgx.Batch{}
	t.lock(b)
	b.Queue(`select count(*) from realtime.sessions where tenant = $1 and user_id = $2 and node_id is null`, k.Tenant, k.User).
		QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("counting sessions: %w", err)
	}
	if n >= MaxHTTPSessions {
		return fault.Later(fault.RateLimited, lapse, "a user may have %d sessions without a socket: name yours by sessionId", MaxHTTPSessions)
	}
	return nil
}

// stored is a session with its owner.
type stored struct {
	session
	key Key
}

func readSession(ctx context.Context, tx pgx.Tx, id uuid.UUID) (*stored, error) {
	const q = `
select tenant, user_id, node_id, counts, device_id, device, name, connected_at,
       last_active_at, idle, parked_at, ended_at, latency_ms, idle_at, lapses_at, looking_until
  from realtime.sessions where id = $1 for update`
	s := &stored{session: session{ID: id}}
	err := tx.QueryRow(ctx, q, id).Scan(&s.key.Tenant, &s.key.User, &s.Node, &s.Counts, &s.DeviceID, &s.Device, &s.Name, &s.ConnectedAt,
		&s.LastActiveAt, &s.Idle, &s.ParkedAt, &s.EndedAt, &s.LatencyMs, &s.IdleAt, &s.LapsesAt, &s.LookingUntil)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no such session is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("reading a session: %w", err)
	}
	return s, nil
}

// beat is the session after a heartbeat; of nil, a new one.
func (s *stored) beat(id uuid.UUID, a Activity, r Rules, now time.Time) session {
	n := session{ID: id, Counts: true, Device: DeviceUnknown, ConnectedAt: now, LastActiveAt: now}
	switch {
	case s != nil:
		n = s.session
	case id == uuid.Nil:
		n.ID = uuid.New()
	}
	if a.DeviceID != nil {
		n.DeviceID = a.DeviceID
	}
	if a.Device != nil {
		n.Device = *a.Device
	}
	if a.Name != nil {
		n.Name = a.Name
	}
	at := now.Add(-a.Ago)
	if s == nil {
		n.LastActiveAt = at
	}
	moved := a.Active && at.After(n.LastActiveAt)
	if moved {
		n.LastActiveAt, n.Idle = at, false
	}
	if n.Node != nil {
		return n
	}
	wait := r.IdleAfter
	if a.Hidden != nil && *a.Hidden {
		wait = min(wait, r.HiddenAfter)
	}
	if idle := n.LastActiveAt.Add(wait); n.IdleAt == nil || a.Active || a.Hidden != nil {
		n.IdleAt = &idle
	}
	if hidden := a.Hidden != nil && *a.Hidden; hidden || r.Looking == 0 {
		n.LookingUntil = nil
	} else if until := n.LastActiveAt.Add(r.Looking); s == nil || moved || a.Hidden != nil {
		n.LookingUntil = &until
	}
	lapses := now.Add(r.HTTPLapse)
	n.LapsesAt = &lapses
	return n
}

// queueBeat writes a session after a heartbeat: an HTTP-only one, or of a
// socket's the activity, which alone is anybody else's to tell.
func queueBeat(b *pgx.Batch, k Key, s session) {
	if s.Node != nil {
		b.Queue(`update realtime.sessions set last_active_at = greatest(last_active_at, $2), idle = $3, touched = true where id = $1`,
			s.ID, s.LastActiveAt, s.Idle)
		return
	}
	const q = `
insert into realtime.sessions as s (id, tenant, user_id, device_id, device, name, connected_at, last_active_at, idle_at, lapses_at, looking_until)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12)
on conflict (id) do update
   set device_id = excluded.device_id, device = excluded.device, name = excluded.name, idle = $11,
       last_active_at = greatest(s.last_active_at, excluded.last_active_at), idle_at = excluded.idle_at, lapses_at = excluded.lapses_at,
       looking_until = excluded.looking_until
 where s.user_id = excluded.user_id and s.tenant = excluded.tenant and s.node_id is null`
	b.Queue(q, s.ID, k.Tenant, k.User, s.DeviceID, s.Device, s.Name, s.ConnectedAt, s.LastActiveAt, s.IdleAt, s.LapsesAt, s.Idle, s.LookingUntil).
		Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() == 0 { // in this very moment it became a socket's, or somebody else's
				return fault.Later(fault.Unexpected, 0, "the session has just changed: send the heartbeat again")
			}
			return nil
		})
}
