package presence

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Socket is the connection behind a session. Its methods must neither block nor
// call back.
type Socket interface {
	Extend(expires time.Time)       // the token it runs on was replaced on another node
	SignOut()                       // its user closed it from elsewhere
	LastSeen() time.Time            // the last frame that came in
	Latency() (time.Duration, bool) // average of the last round trips, if measured
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
	ended      *time.Time
	extended   *time.Time // the last expiry another node asked for
	over       bool       // the grace has passed: to be deleted
	want, have int64      // changes made here, and of those the ones in the database
}

// Sessions holds this node's sockets' sessions and writes their edges, many in
// a transaction. A storm of connections costs a few statements.
type Sessions struct {
	w     *world
	node  Node
	alarm *clock.Alarm[uuid.UUID]
	wake  chan struct{}
	asked chan struct{} // another node asks something of a session here

	mu      sync.Mutex
	all     map[uuid.UUID]*own // guarded by mu
	changed []*waiter          // guarded by mu
	dirty   map[uuid.UUID]struct{}
}

// waiter is told when everything dirty at its time has been written.
type waiter struct {
	done chan struct{}
}

func newSessions(w *world, n Node) *Sessions {
	s := &Sessions{w: w, node: n, wake: make(chan struct{}, 1), asked: make(chan struct{}, 1), all: map[uuid.UUID]*own{}, dirty: map[uuid.UUID]struct{}{}}
	s.alarm = clock.NewAlarm(w.clock, s.due)
	return s
}

// Begin starts a session. It waits until others can see it, but not longer
// than ctx: a socket is not refused because Postgres is away, and its session
// is written as soon as that is back.
func (s *Sessions) Begin(ctx context.Context, o Opening) {
	now := s.w.now()
	s.mu.Lock()
	s.all[o.ID] = &own{Opening: o, connected: now, lastActive: now}
	s.changeLocked(s.all[o.ID])
	wt := s.waitLocked()
	s.mu.Unlock()
	s.await(ctx, wt)
}

// End says that a session's socket has closed. It counts on for the grace.
func (s *Sessions) End(id uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.all[id]
	if !ok || o.ended != nil {
		return
	}
	now := s.w.now()
	o.ended = &now
	s.changeLocked(o)
}

// Reassert writes every session again: the database forgot them, or this
// node's epoch.
func (s *Sessions) Reassert() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.all {
		s.changeLocked(o)
	}
}

// Count is how many sockets this node holds.
func (s *Sessions) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, o := range s.all {
		if o.ended == nil {
			n++
		}
	}
	return n
}

// changeLocked notes that a session is to be written and sets its next alarm.
func (s *Sessions) changeLocked(o *own) {
	o.want++
	s.dirty[o.ID] = struct{}{}
	s.setAlarmLocked(o)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Sessions) setAlarmLocked(o *own) {
	switch {
	case o.over:
		s.alarm.Clear(o.ID)
	case o.ended != nil:
		s.alarm.Set(o.ID, s.w.rules.over(*o.ended))
	case o.idle:
		s.alarm.Clear(o.ID)
	default:
		s.alarm.Set(o.ID, s.idleAt(o))
	}
}

// idleAt is when a session without further activity becomes idle.
func (s *Sessions) idleAt(o *own) time.Time {
	at := o.lastActive.Add(s.w.rules.IdleAfter)
	if !o.hidden.IsZero() {
		from := o.lastActive
		if o.hidden.After(from) {
			from = o.hidden
		}
		if h := from.Add(s.w.rules.HiddenAfter); h.Before(at) {
			at = h
		}
	}
	return at
}

// due is the alarm: sessions that became idle, or whose grace has passed.
func (s *Sessions) due(ids []uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.w.now()
	for _, id := range ids {
		o, ok := s.all[id]
		if !ok {
			continue
		}
		switch {
		case o.over:
		case o.ended != nil && !now.Before(s.w.rules.over(*o.ended)):
			o.over = true
			s.changeLocked(o)
		case o.ended == nil && !o.idle && !now.Before(s.idleAt(o)):
			o.idle = true
			s.changeLocked(o)
		default:
			s.setAlarmLocked(o)
		}
	}
}

func (s *Sessions) waitLocked() *waiter {
	wt := &waiter{done: make(chan struct{})}
	s.changed = append(s.changed, wt)
	return wt
}

// await reports whether the waiter's changes are in the database.
func (s *Sessions) await(ctx context.Context, wt *waiter) bool {
	select {
	case <-wt.done:
		return true
	case <-ctx.Done():
		return false
	}
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

// report applies a heartbeat to a session held here. Only an edge is written.
func (s *Sessions) report(id uuid.UUID, k Key, a Activity) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.all[id]
	if !ok || o.Key != k || o.ended != nil {
		return Session{}, false
	}
	now := s.w.now()
	edge := o.describe(a)
	if a.Active && o.act(now.Add(-a.Ago)) {
		edge = true
	}
	if a.Hidden != nil && *a.Hidden != !o.hidden.IsZero() {
		o.hidden = time.Time{}
		if *a.Hidden {
			o.hidden = now
		}
	}
	if idle := !now.Before(s.idleAt(o)); idle != o.idle {
		o.idle, edge = idle, true
	}
	if edge {
		s.changeLocked(o)
	} else {
		s.setAlarmLocked(o)
	}
	return o.session(), true
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

// park sets a session held here offline, or counts it again, and waits until
// that is written. One that counts already needs no writing: should another node
// have parked it a moment ago, obey finds that it has been active since.
func (s *Sessions) park(ctx context.Context, id uuid.UUID, k Key, on bool) (held bool, err error) {
	s.mu.Lock()
	o, ok := s.all[id]
	if !ok || o.Key != k || o.ended != nil {
		s.mu.Unlock()
		return false, nil
	}
	now := s.w.now()
	if on {
		o.parked = &now
	} else {
		if o.parked != nil && !now.After(*o.parked) { // parked by a node whose clock is a little ahead
			now = o.parked.Add(time.Microsecond)
		}
		counts := o.parked == nil && !o.idle
		o.act(now)
		if counts {
			s.setAlarmLocked(o)
			s.mu.Unlock()
			return true, nil
		}
		o.parked, o.idle = nil, false
	}
	s.changeLocked(o)
	wt := s.waitLocked()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if !s.await(ctx, wt) {
		return true, fault.Later(fault.Unexpected, time.Second, "not written yet: the database is out of reach")
	}
	return true, nil
}

// overlay replaces what the database says of a session held here by what this
// node knows better.
func (s *Sessions) overlay(list []Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		if o, ok := s.all[list[i].SessionID]; ok {
			at, current := list[i].ConnectedAt, list[i].Current
			list[i] = o.session()
			list[i].ConnectedAt, list[i].Current = at, current
		}
	}
}
