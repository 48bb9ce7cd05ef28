package presence

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// record is everything there is to know about one user. It never leaves the
// package: the rules say who may learn what of it, and project makes a View.
type record struct {
	key         Key
	known       bool // a user of this tenant, not deleted
	settings    Settings
	sessions    []session
	active      bool
	manual      Status // Away, Busy or ""
	manualUntil *time.Time
	custom      Custom
	lastSeen    *time.Time
	hiddenSince *time.Time
	frozen      Status
	frozenLine  Custom
	updatedAt   *time.Time
	audience    version
	audienceAt  *time.Time // when it last changed, as far as that is kept; nil: long ago
	held        Status     // what was last derived, should a crash have taken the sessions
}

// version tells whether who-may-see-a-user may have changed between two reads.
// Ids are given before a commit and rows are pruned: only all three together
// differ whatever the order.
type version struct{ count, last, sum int64 }

// relation is what a viewer is to a target, read at one version of the target's audience.
type relation struct {
	self    bool
	contact bool // the target listed the viewer, or wrote to it in a direct channel
	blocked bool // the target blocked the viewer
	viewer  bool // the viewer is a user of the tenant
	// What the viewer shares itself; asked only where reciprocity is on.
	sharesStatus   bool
	sharesLastSeen bool
	at             version
}

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
	LookingUntil *time.Time `json:"-"` // only where it is written
}

// UnmarshalJSON reads a row of realtime.sessions, whatever its times are.
func (s *session) UnmarshalJSON(b []byte) error {
	type columns session
	x := struct {
		*columns
		ConnectedAt  postgres.Instant  `json:"connected_at"`
		LastActiveAt postgres.Instant  `json:"last_active_at"`
		ParkedAt     *postgres.Instant `json:"parked_at"`
		EndedAt      *postgres.Instant `json:"ended_at"`
		IdleAt       *postgres.Instant `json:"idle_at"`
		LapsesAt     *postgres.Instant `json:"lapses_at"`
	}{columns: (*columns)(s)}
	if err := json.Unmarshal(b, &x); err != nil {
		return fmt.Errorf("reading a session: %w", err)
	}
	s.ConnectedAt, s.LastActiveAt = x.ConnectedAt.Time, x.LastActiveAt.Time
	s.ParkedAt, s.EndedAt, s.IdleAt, s.LapsesAt = x.ParkedAt.Ptr(), x.EndedAt.Ptr(), x.IdleAt.Ptr(), x.LapsesAt.Ptr()
	return nil
}

// parked: set offline by hand, and without activity since.
func (s session) parked() bool { return s.ParkedAt != nil && !s.LastActiveAt.After(*s.ParkedAt) }

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

// lapsed: it stopped counting by itself, though nobody has taken it away yet.
func (s session) lapsed(r Rules, o outage, now time.Time) bool {
	end, ok := s.end(r, o)
	return ok && !now.Before(end)
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

// Rules are the intervals the derivation runs by.
type Rules struct {
	IdleAfter   time.Duration // without activity for this long a session is idle
	HiddenAfter time.Duration // hidden and without activity for this long it is idle
	Grace       time.Duration // a closed socket still counts for this long
	HTTPLapse   time.Duration // an HTTP-only session ends this long after its last heartbeat
	Looking     time.Duration // a user looks at a shown device for so long after its last activity; 0: nobody asks
	StatusText  int           // characters in a custom status; at most and by default MaxStatusText
	Reciprocity bool          // a viewer sees of status and last seen only what it shares itself
	// ReceiptReciprocity: who shares no reading of its own sees nobody's.
	ReceiptReciprocity bool
}

// writeMargin is added to the grace, so that a socket accepted within the grace
// has time to be written down before anybody is told of an absence.
const writeMargin = 300 * time.Millisecond

// over is when a socket closed at t stops counting: also how long an invisible
// user goes on looking as before, so that neither is faster than the other.
func (r Rules) over(t time.Time) time.Time { return t.Add(r.Grace + writeMargin) }

// outage is when this node was last out of touch with Postgres. Clients could
// not report while it lasted, so nobody lapses for it. Outages between which one may not
// have reported are one.
type outage struct{ from, to time.Time }
