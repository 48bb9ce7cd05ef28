package presence

import (
	"time"

	"github.com/google/uuid"
)

// Socket is the connection behind a session. Its methods must neither block nor
// call back.
type Socket interface {
	Renew(to Token)                 // the token it runs on was replaced on another node
	SignOut()                       // its user closed it from elsewhere
	Latency() (time.Duration, bool) // average of the last round trips, if measured
}

// Token is what a socket runs on, as far as it must be known to refuse it.
type Token struct {
	ID        string    // "": it has none
	IssuedAt  time.Time // zero: not said
	ExpiresAt time.Time
}

func (t Token) equal(o Token) bool {
	return t.ID == o.ID && t.IssuedAt.Equal(o.IssuedAt) && t.ExpiresAt.Equal(o.ExpiresAt)
}

// Opening describes a socket that has just been acknowledged.
type Opening struct {
	ID       uuid.UUID
	Key      Key
	Counts   bool // false: it must not make its user appear connected
	DeviceID *string
	Device   Device
	Name     *string
	TokenID  string
	Socket   Socket
	Hidden   bool          // so is its page
	Ago      time.Duration // since its user's last input, at most MaxActivityAgo
}

// own is a session whose socket this node holds: its truth is here, the
// database has a copy of its edges.
type own struct {
	Opening
	connected  time.Time
	lastActive time.Time
	hidden     time.Time // since when the page is hidden; zero: it is not
	parked     *time.Time
	idle       bool
	looking    bool // see looks
	ended      *time.Time
	told       bool          // the database has its end
	renewed    Token         // the last that another node asked for
	over       bool          // the grace has passed: to be deleted
	want       int64         // counts the changes made here, each of which is to be written
	wrote      int64         // how many of them are
	written    chan struct{} // closed when more are; nil: nobody waits for it
}

// news is closed when the session is written.
func (o *own) news() <-chan struct{} {
	if o.written == nil {
		o.written = make(chan struct{})
	}
	return o.written
}

// stands says that the session is in the database as it was with so many changes.
func (o *own) stands(want int64) {
	o.wrote = max(o.wrote, want)
	if o.written != nil {
		close(o.written)
		o.written = nil
	}
}

// idleAt is when the session becomes idle without further activity.
func (o *own) idleAt(r Rules) time.Time {
	at := o.lastActive.Add(r.IdleAfter)
	if !o.hidden.IsZero() {
		from := o.lastActive
		if o.hidden.After(from) {
			from = o.hidden
		}
		if h := from.Add(r.HiddenAfter); h.Before(at) {
			at = h
		}
	}
	return at
}

// looks is whether somebody looks at the device, which needs no telling by push
// then, and until when without further activity.
func (o *own) looks(r Rules, now time.Time) (until time.Time, yes bool) {
	until = o.lastActive.Add(r.Looking)
	return until, r.Looking > 0 && o.ended == nil && o.hidden.IsZero() && now.Before(until)
}

// Activity is what a client says of its user.
type Activity struct {
	Active   bool
	Hidden   *bool
	Ago      time.Duration
	DeviceID *string
	Device   *Device
	Name     *string
}

// begins is a session as its socket begins: active unless the client says otherwise,
// so that who is away is not seen online for as long again with each new socket.
func (o Opening) begins(r Rules, now time.Time) *own {
	s := &own{Opening: o, connected: now, lastActive: now.Add(-o.Ago), looking: r.Looking > 0}
	if o.Hidden {
		s.hidden = now
	}
	s.edges(r, now)
	return s
}

// rested takes back that the socket counted as active when it began: its client says
// of its user's last input, for the first time, that it was before.
func (o *own) rested(at time.Time) {
	if o.lastActive.Equal(o.connected) && at.Before(o.lastActive) {
		o.lastActive = at
	}
}

// act moves a session's activity forward; true: it counts again for it.
func (o *own) act(at time.Time) bool {
	if !at.After(o.lastActive) {
		return false
	}
	o.lastActive = at
	if o.parked != nil && at.After(*o.parked) {
		o.parked = nil
		return true
	}
	return false
}

func (o *own) describe(a Activity) bool {
	changed := false
	if a.DeviceID != nil && !equalPtr(a.DeviceID, o.DeviceID) {
		o.DeviceID, changed = a.DeviceID, true
	}
	if a.Name != nil && !equalPtr(a.Name, o.Name) {
		o.Name, changed = a.Name, true
	}
	if a.Device != nil && *a.Device != o.Device {
		o.Device, changed = *a.Device, true
	}
	return changed
}

func (o *own) session() Session {
	s := Session{SessionID: o.ID, DeviceID: o.DeviceID, Device: o.Device, Name: o.Name,
		ConnectedAt: o.connected, LastActiveAt: o.lastActive, Idle: o.idle}
	if d, ok := o.Socket.Latency(); ok {
		ms := int(d.Milliseconds())
		s.LatencyMs = &ms
	}
	return s
}
