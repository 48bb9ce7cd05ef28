package presence

import (
	"time"

	"github.com/google/uuid"
)

// Custom is a line a user sets about itself.
type Custom struct {
	Text      *string
	Emoji     *string
	ExpiresAt *time.Time
}

// View is a user as one viewer may see it. The zero value but for UserID and
// Status Offline is a user never seen: unknown, hidden and blocked all equal it.
type View struct {
	UserID       uuid.UUID
	Status       Status
	CustomStatus *Custom
	LastSeenAt   *time.Time
	Device       *Device
}

// ID is the cache key: the user's id.
func (v View) ID() string { return v.UserID.String() }

// neverSeen is the answer whenever nothing may be told.
func neverSeen(user uuid.UUID) View { return View{UserID: user, Status: Offline} }

// Class is comparable and stands for all of a view: who is told equal ones is
// told the same.
func (v View) Class() any {
	type class struct {
		user                                       uuid.UUID
		status                                     Status
		custom, text, emoji, expires, seen, device bool
		line, sign                                 string
		until, last                                int64
		on                                         Device
	}
	c := class{user: v.UserID, status: v.Status}
	if x := v.CustomStatus; x != nil {
		c.custom = true
		c.text, c.line = known(x.Text)
		c.emoji, c.sign = known(x.Emoji)
		c.expires, c.until = instant(x.ExpiresAt)
	}
	c.seen, c.last = instant(v.LastSeenAt)
	c.device, c.on = known(v.Device)
	return c
}

func known[T any](p *T) (bool, T) {
	if p == nil {
		var none T
		return false, none
	}
	return true, *p
}

func instant(t *time.Time) (bool, int64) {
	if t == nil {
		return false, 0
	}
	return true, t.UnixNano()
}

func (v View) equal(o View) bool {
	return v.UserID == o.UserID && v.Status == o.Status && v.CustomStatus.equal(o.CustomStatus) &&
		equalTime(v.LastSeenAt, o.LastSeenAt) && equalPtr(v.Device, o.Device)
}

func (c *Custom) equal(o *Custom) bool {
	if c == nil || o == nil {
		return c == o
	}
	return equalPtr(c.Text, o.Text) && equalPtr(c.Emoji, o.Emoji) && equalTime(c.ExpiresAt, o.ExpiresAt)
}

func equalPtr[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func equalTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

// Session is one of the caller's own connections.
type Session struct {
	SessionID    uuid.UUID
	DeviceID     *string
	Device       Device
	Name         *string
	ConnectedAt  time.Time
	LastActiveAt time.Time
	Idle         bool
	Current      bool
	LatencyMs    *int
}

// ID is the cache key: the session's id.
func (s Session) ID() string { return s.SessionID.String() }

// ConnectionQuality puts the latency in words.
func (s Session) ConnectionQuality() Quality {
	switch {
	case s.LatencyMs == nil:
		return Unmeasured
	case *s.LatencyMs < 100:
		return Excellent
	case *s.LatencyMs < 300:
		return Good
	case *s.LatencyMs < 600:
		return Fair
	}
	return Poor
}

// Quality is a socket's round trip in words.
type Quality string

// The qualities: under 100 ms, 300 ms, 600 ms, and above; Unmeasured without a sample.
const (
	Excellent  Quality = "excellent"
	Good       Quality = "good"
	Fair       Quality = "fair"
	Poor       Quality = "poor"
	Unmeasured Quality = "unknown"
)

// Disclosure is what a viewer may learn of its own rights towards a user: the
// one permitted statement about somebody's settings.
type Disclosure struct {
	CanViewPresence     bool
	CanViewOnlineStatus bool
	CanViewLastSeen     bool
	IsContact           bool
	IsInvisible         bool
}

// Counts is how many members of a channel a viewer sees in each status.
type Counts struct{ Online, Away, Busy, Offline int }

func (c *Counts) add(s Status, n int) {
	switch s {
	case Online:
		c.Online += n
	case Away:
		c.Away += n
	case Busy:
		c.Busy += n
	default:
		c.Offline += n
	}
}

// Page is a page of a channel's members as a viewer sees them.
type Page struct {
	Views   []View
	Cursors []string
	More    bool
	Total   int
}

// Batch is a window's snapshot, or what changed in it.
type Batch struct {
	Presences []View
	Counts    *Counts
	Snapshot  bool
}
