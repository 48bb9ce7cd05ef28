package presence

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// The limits of what a client says of itself.
const (
	MaxDeviceText   = 100
	MaxActivityAgo  = 24 * time.Hour
	MaxHTTPSessions = 20 // a user's, without a socket
)

// CheckDevice refuses names longer than MaxDeviceText or with control characters.
func CheckDevice(field string, s *string) error {
	if s == nil {
		return nil
	}
	if utf8.RuneCountInString(*s) > MaxDeviceText {
		return fault.Field(field, "%s has more than %d characters", field, MaxDeviceText)
	}
	if !printable(*s) {
		return fault.Field(field, "%s holds control characters", field)
	}
	return nil
}

// Heartbeat takes in what a client says of its user's activity. The session is
// the one named, else the socket the request came over, else a new HTTP-only
// one. One that changes nothing is told to nobody.
func (e *Editor) Heartbeat(ctx context.Context, v viewer.Viewer, id *uuid.UUID, a Activity) (Session, error) {
	if err := v.Denied(); err != nil {
		return Session{}, err
	}
	if err := errors.Join(CheckDevice("input.deviceId", a.DeviceID), CheckDevice("input.name", a.Name)); err != nil {
		return Session{}, err
	}
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
	if id == uuid.Nil {
		id = uuid.New()
	}
	var out Session
	var edge, remote bool
	err := e.w.quietly(ctx, func(tx pgx.Tx) error {
		old, err := readSession(ctx, tx, id)
		if err != nil {
			return err
		}
		if old != nil && old.key != v.Key {
			return fault.Access()
		}
		now := e.w.now()
		next := old.beat(id, a, e.w.rules, now)
		if old == nil {
			if err := roomForOne(ctx, tx, v.Key, e.w.rules.HTTPLapse); err != nil {
				return err
			}
		}
		remote = next.Node != nil
		edge = old == nil || old.parked() != next.parked() || old.idleAt(now) != next.idleAt(now)
		var t touched
		t.add(v.Key, &now)
		if edge {
			if err := t.lock(ctx, tx); err != nil {
				return err
			}
		}
		if err := writeHTTP(ctx, tx, v.Key, next); err != nil {
			return err
		}
		out = Session{SessionID: id, DeviceID: next.DeviceID, Device: next.Device, Name: next.Name, ConnectedAt: next.ConnectedAt,
			LastActiveAt: next.LastActiveAt, Idle: next.idleAt(now), LatencyMs: next.LatencyMs, Current: true}
		if edge {
			return t.write(ctx, tx)
		}
		return nil
	})
	if err != nil {
		return Session{}, err
	}
	if edge {
		e.w.ring(v.Key)
	}
	if remote {
		e.ringSessions(id)
	}
	return out, nil
}

// roomForOne refuses a session too many. Sessions of one user begin one at a
// time: the user's row is locked.
func roomForOne(ctx context.Context, tx pgx.Tx, k Key, lapse time.Duration) error {
	var t touched
	t.add(k, nil)
	if err := t.lock(ctx, tx); err != nil {
		return err
	}
	var n int
	err := tx.QueryRow(ctx, `select count(*) from realtime.sessions where tenant = $1 and user_id = $2 and node_id is null`,
		k.Tenant, k.User).Scan(&n)
	if err != nil {
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
select tenant, user_id, node_id, counts, device_id, device, name, connected_at, last_active_at, idle, parked_at, ended_at, latency_ms, idle_at, lapses_at
  from realtime.sessions where id = $1 for update`
	s := &stored{session: session{ID: id}}
	err := tx.QueryRow(ctx, q, id).Scan(&s.key.Tenant, &s.key.User, &s.Node, &s.Counts, &s.DeviceID, &s.Device, &s.Name, &s.ConnectedAt,
		&s.LastActiveAt, &s.Idle, &s.ParkedAt, &s.EndedAt, &s.LatencyMs, &s.IdleAt, &s.LapsesAt)
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
	if s != nil {
		n = s.session
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
	if at := now.Add(-a.Ago); a.Active && at.After(n.LastActiveAt) {
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
	lapses := now.Add(r.HTTPLapse)
	n.LapsesAt = &lapses
	return n
}

func writeHTTP(ctx context.Context, tx pgx.Tx, k Key, s session) error {
	const q = `
insert into realtime.sessions as s (id, tenant, user_id, device_id, device, name, connected_at, last_active_at, idle_at, lapses_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (id) do update
   set device_id = excluded.device_id, device = excluded.device, name = excluded.name, idle = $11,
       last_active_at = greatest(s.last_active_at, excluded.last_active_at), idle_at = excluded.idle_at, lapses_at = excluded.lapses_at
 where s.user_id = excluded.user_id and s.tenant = excluded.tenant and s.node_id is null`
	if s.Node != nil { // a socket's: only the activity is anybody else's to tell
		_, err := tx.Exec(ctx, `update realtime.sessions set last_active_at = greatest(last_active_at, $2), idle = $3, touched = true where id = $1`,
			s.ID, s.LastActiveAt, s.Idle)
		if err != nil {
			return fmt.Errorf("writing a session: %w", err)
		}
		return nil
	}
	tag, err := tx.Exec(ctx, q, s.ID, k.Tenant, k.User, s.DeviceID, s.Device, s.Name, s.ConnectedAt, s.LastActiveAt, s.IdleAt, s.LapsesAt, s.Idle)
	if err != nil {
		return fmt.Errorf("writing a session: %w", err)
	}
	if tag.RowsAffected() == 0 { // in this very moment it became a socket's, or somebody else's
		return fault.Later(fault.Unexpected, 0, "the session has just changed: send the heartbeat again")
	}
	return nil
}
