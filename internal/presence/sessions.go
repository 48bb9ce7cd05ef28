package presence

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// writeTimeout bounds one transaction of sessions, and the wait for it.
const writeTimeout = 5 * time.Second

// Sessions holds this node's sockets' sessions. What changes in them is edges,
// which a writer copies to the database, many in a transaction.
type Sessions struct {
	w     *world
	alarm *clock.Alarm[uuid.UUID]
	wake  wait.Flag // something is dirty

	mu    sync.Mutex
	all   map[uuid.UUID]*own     // guarded by mu
	dirty map[uuid.UUID]struct{} // guarded by mu: not in the database as they are
}

func newSessions(w *world) *Sessions {
	s := &Sessions{w: w, wake: wait.NewFlag(), all: map[uuid.UUID]*own{}, dirty: map[uuid.UUID]struct{}{}}
	s.alarm = clock.NewAlarm(w.clock, s.due)
	return s
}

// Begin starts a session. It waits until others can see it, but not longer
// than ctx: a socket is not refused because Postgres is away, and its session
// is written as soon as that is back.
func (s *Sessions) Begin(ctx context.Context, o Opening) {
	begun := o.begins(s.w.rules, s.w.now())
	s.mu.Lock()
	s.all[o.ID] = begun
	s.changeLocked(begun)
	want := begun.want
	s.mu.Unlock()
	s.await(ctx, begun, want)
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
	s.wake.Raise()
}

func (s *Sessions) setAlarmLocked(o *own) {
	switch {
	case o.over:
		s.alarm.Clear(o.ID)
	case o.ended != nil:
		s.alarm.Set(o.ID, s.w.rules.over(*o.ended))
	case o.looking:
		until, _ := o.looks(s.w.rules, s.w.now())
		if idle := o.idleAt(s.w.rules); !o.idle && idle.Before(until) {
			until = idle
		}
		s.alarm.Set(o.ID, until)
	case o.idle:
		s.alarm.Clear(o.ID)
	default:
		s.alarm.Set(o.ID, o.idleAt(s.w.rules))
	}
}

// edges takes in what the passage of time or a report has made of a session: true,
// it is to be written.
func (o *own) edges(r Rules, now time.Time) (edge bool) {
	if idle := !now.Before(o.idleAt(r)); idle != o.idle {
		o.idle, edge = idle, true
	}
	if _, looking := o.looks(r, now); looking != o.looking {
		o.looking, edge = looking, true
	}
	return edge
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
		case o.ended != nil && !o.told: // written sets it anew
		case o.ended != nil && !now.Before(s.w.rules.over(*o.ended)):
			o.over = true
			s.changeLocked(o)
		case o.ended == nil && o.edges(s.w.rules, now):
			s.changeLocked(o)
		default:
			s.setAlarmLocked(o)
		}
	}
}

// await waits until one of a session's states, or a later one, has been written; false:
// ctx ended first.
func (s *Sessions) await(ctx context.Context, o *own, want int64) bool {
	for {
		s.mu.Lock()
		done, written := o.news(), o.wrote >= want
		s.mu.Unlock()
		if written {
			return true
		}
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
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
	switch at := now.Add(-a.Ago); {
	case !a.Active:
		o.rested(at)
	case o.act(at):
		edge = true
	}
	if a.Hidden != nil && *a.Hidden != !o.hidden.IsZero() {
		o.hidden = time.Time{}
		if *a.Hidden {
			o.hidden = now
		}
	}
	if o.edges(s.w.rules, now) || edge {
		s.changeLocked(o)
	} else {
		s.setAlarmLocked(o)
	}
	return o.session(), true
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
		if now.Before(o.lastActive) { // told by a node whose clock is a little ahead
			now = o.lastActive
		}
		o.parked = &now
	} else {
		if o.parked != nil && !now.After(*o.parked) { // parked by a node whose clock is a little ahead
			now = o.parked.Add(time.Microsecond)
		}
		counts := o.parked == nil && !o.idle
		o.act(now)
		if edge := o.edges(s.w.rules, now); counts && !edge {
			s.setAlarmLocked(o)
			s.mu.Unlock()
			return true, nil
		}
		o.parked, o.idle = nil, false
	}
	s.changeLocked(o)
	want := o.want
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if s.await(ctx, o, want) {
		return true, nil
	}
	return true, fault.Later(fault.Unexpected, time.Second, "not written yet: the database is out of reach")
}

// Renewed says that a session held here runs on another token now.
func (s *Sessions) Renewed(id uuid.UUID, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.all[id]; ok && o.ended == nil {
		s.runsOnLocked(o, token)
	}
}

func (s *Sessions) runsOnLocked(o *own, token string) {
	if o.TokenID != token {
		o.TokenID = token
		s.changeLocked(o)
	}
}

func (s *Sessions) holds(id uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.all[id]
	return ok
}

// socket is the connection behind a session, a user's where one is given, if this
// node holds it.
func (s *Sessions) socket(id uuid.UUID, of *Key) (Socket, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.all[id]
	if !ok || of != nil && o.Key != *of || o.ended != nil {
		return nil, false
	}
	return o.Socket, true
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
