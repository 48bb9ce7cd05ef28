// Package presence decides who is here and who may know it.
//
// It owns the tables sessions, presence, presence_settings and audience of the
// schema realtime, the rule that merges a user's devices into one status
// (derive), and the only road by which anything about one user reaches another
// (project). The raw record of a user is unexported and never leaves: what
// leaves is a View, made for one viewer. Missing, unknown or failing input
// hides.
package presence

import (
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Status is what a user shows.
type Status string

// The statuses, in the order lists show them.
const (
	Online  Status = "online"
	Away    Status = "away"
	Busy    Status = "busy"
	Offline Status = "offline"
)

// rank is the place of a status in every list.
func (s Status) rank() int {
	switch s {
	case Online:
		return 0
	case Away:
		return 1
	case Busy:
		return 2
	case Offline:
	}
	return 3
}

// Visibility is who may see something of its owner's. Any value but these
// three hides.
type Visibility string

// The visibilities, from the widest to the strictest.
const (
	Everyone Visibility = "everyone"
	Contacts Visibility = "contacts"
	Nobody   Visibility = "nobody"
)

// Device is what a client says it runs on. It is never believed for anything.
type Device string

// The kinds of device.
const (
	DeviceWeb     Device = "web"
	DeviceIOS     Device = "ios"
	DeviceAndroid Device = "android"
	DeviceDesktop Device = "desktop"
	DeviceUnknown Device = "unknown"
)

// ViewerKind is as whom Preview looks.
type ViewerKind string

// The kinds of viewer.
const (
	AsStranger ViewerKind = "stranger"
	AsContact  ViewerKind = "contact"
	AsUser     ViewerKind = "user"
)

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

// Key names a user, whoever asks about it.
type Key = viewer.Key

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

// Mine is a user's own presence, whole.
type Mine struct {
	UserID       uuid.UUID
	Status       Status
	ShownStatus  Status
	ManualStatus *Status
	ManualUntil  *time.Time
	CustomStatus *Custom
	LastSeenAt   *time.Time
	Invisible    bool
	Sessions     []Session
	UpdatedAt    *time.Time
}

// ID is the cache key: the user's id.
func (m Mine) ID() string { return m.UserID.String() }

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

// Contact is somebody who may see what the caller shows to contacts.
type Contact struct {
	UserID      uuid.UUID
	DisplayName *string
	AvatarURL   *string
	Explicit    bool
}

// ID is the cache key: the contact's user id.
func (c Contact) ID() string { return c.UserID.String() }

// Settings is a user's privacy settings. CreatedAt is nil while they are the defaults.
type Settings struct {
	UserID                uuid.UUID
	Visibility            Visibility
	ShowOnlineStatus      bool
	ShowLastSeen          bool
	AllowReadReceipts     bool
	AllowDeliveryReceipts bool
	InvisibleMode         bool
	BroadcastTyping       bool
	TypingVisibility      Visibility
	CreatedAt             *time.Time
	UpdatedAt             *time.Time

	statusSharedSince   *time.Time // when the owner began to share its status again; nil: always did
	lastSeenSharedSince *time.Time
	receiptsSharedSince *time.Time
}

// ID is the cache key: the owner's id.
func (s Settings) ID() string { return s.UserID.String() }
