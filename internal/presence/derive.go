package presence

import (
	"time"

	"github.com/google/uuid"
)

// Rules are the intervals the derivation runs by.
type Rules struct {
	IdleAfter   time.Duration // without activity for this long a session is idle
	HiddenAfter time.Duration // hidden and without activity for this long it is idle
	Grace       time.Duration // a closed socket still counts for this long
	HTTPLapse   time.Duration // an HTTP-only session ends this long after its last heartbeat
	StatusText  int           // characters in a custom status; at most and by default MaxStatusText
	Reciprocity bool          // a viewer sees of status and last seen only what it shares itself
	// ReceiptReciprocity: who shares no reading of its own sees nobody's.
	ReceiptReciprocity bool
}

// settle is added to the grace, so that a socket accepted within the grace has
// time to be written down before anybody is told of an absence.
const settle = 300 * time.Millisecond

// over is when a socket closed at t stops counting: also how long an invisible
// user goes on looking as before, so that neither is faster than the other.
func (r Rules) over(t time.Time) time.Time { return t.Add(r.Grace + settle) }

// session is a live connection as the database has it.
type session struct {
	ID           uuid.UUID  `json:"id"`
	Node         *uuid.UUID `json:"node_id"`
	Counts       bool       `json:"counts"`
	DeviceID     *string    `json:"device_id"`
	Device       Device     `json:"device"`
	Name         *string    `json:"name"`
	ConnectedAt  time.Time  `json:"connected_at"`
	LastActiveAt time.Time  `json:"last_active_at"`
	Idle         bool       `json:"idle"`
	ParkedAt     *time.Time `json:"parked_at"`
	EndedAt      *time.Time `json:"ended_at"`
	LatencyMs    *int       `json:"latency_ms"`
	IdleAt       *time.Time `json:"idle_at"`
	LapsesAt     *time.Time `json:"lapses_at"`
}

// parked: set offline by hand, and without activity since.
func (s session) parked() bool { return s.ParkedAt != nil && !s.LastActiveAt.After(*s.ParkedAt) }

// outage is when this node was last out of touch with Postgres. Clients could
// not report while it lasted, so nobody lapses for it.
type outage struct{ from, to time.Time }

// end is when the session stops counting by itself; false: not in sight.
func (s session) end(r Rules, o outage) (time.Time, bool) {
	switch {
	case s.EndedAt != nil:
		return r.over(*s.EndedAt), true
	case s.LapsesAt != nil:
		if at := o.to.Add(r.HTTPLapse); s.LapsesAt.After(o.from) && at.After(*s.LapsesAt) {
			return at, true
		}
		return *s.LapsesAt, true
	}
	return time.Time{}, false
}

// seen is the session's last sign of life.
func (s session) seen(r Rules) time.Time {
	switch {
	case s.EndedAt != nil:
		return *s.EndedAt
	case s.LapsesAt != nil:
		return s.LapsesAt.Add(-r.HTTPLapse)
	}
	return s.LastActiveAt
}

func (s session) idleAt(now time.Time) bool {
	return s.Idle || s.IdleAt != nil && !now.Before(*s.IdleAt)
}

// derived is a user's true state at an instant.
type derived struct {
	status Status
	// seen is the last sign of life, where every session that counted is over
	// and the row does not say so yet.
	seen *time.Time
	// next is the earliest instant at which the passage of time alone may
	// change any of this; zero: none.
	next time.Time
}

func (d *derived) soonest(t time.Time, now time.Time) {
	if t.After(now) && (d.next.IsZero() || t.Before(d.next)) {
		d.next = t
	}
}

// derive merges sessions and the choice by hand into one status:
// none that counts: offline; away or busy by hand: that; any active: online;
// else away. Pure.
func derive(rec *record, r Rules, o outage, now time.Time) derived {
	var d derived
	live, active, counting := false, false, false
	for _, s := range rec.sessions {
		if !s.Counts || s.parked() {
			continue
		}
		counting = true
		if end, ok := s.end(r, o); ok {
			if !now.Before(end) {
				if seen := s.seen(r); d.seen == nil || seen.After(*d.seen) {
					d.seen = &seen
				}
				continue
			}
			d.soonest(end, now)
		}
		live = true
		if s.idleAt(now) {
			continue
		}
		active = true
		if s.IdleAt != nil {
			d.soonest(*s.IdleAt, now)
		}
	}
	manual := rec.manual
	if rec.manualUntil != nil {
		d.soonest(*rec.manualUntil, now)
		if !now.Before(*rec.manualUntil) {
			manual = ""
		}
	}
	switch {
	case !live && rec.active && !counting:
		// The sessions were lost in a crash of Postgres; their nodes are about
		// to say which still live. Until then nobody is absent.
		d.status, d.seen = rec.held, nil
		if d.status == "" || d.status == Offline {
			d.status = Online
		}
		if manual != "" {
			d.status = manual
		}
		return d
	case !live:
		d.status = Offline
		return d
	case manual != "":
		d.status = manual
	case active:
		d.status = Online
	default:
		d.status = Away
	}
	d.seen = nil
	return d
}
