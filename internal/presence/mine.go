package presence

import (
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

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

// mine is the whole truth about rec, for its user alone.
func (w *world) mine(rec *record, v viewer.Viewer, held *Sessions) Mine {
	now, o := w.now(), w.outage()
	self, _ := project(rec, relation{self: true}, w.rules, o, now)
	best, _ := project(rec, relation{contact: true, viewer: true, sharesStatus: true, sharesLastSeen: true}, w.rules, o, now)
	m := Mine{UserID: v.User, Status: self.Status, ShownStatus: best.Status, CustomStatus: self.CustomStatus,
		LastSeenAt: self.LastSeenAt, Invisible: rec.settings.InvisibleMode, UpdatedAt: rec.updatedAt, Sessions: []Session{}}
	if rec.manual != "" && (rec.manualUntil == nil || now.Before(*rec.manualUntil)) {
		manual := rec.manual
		m.ManualStatus, m.ManualUntil = &manual, rec.manualUntil
	}
	for _, s := range rec.sessions {
		if end, ok := s.end(w.rules, o); s.EndedAt != nil || ok && !now.Before(end) {
			continue
		}
		m.Sessions = append(m.Sessions, Session{SessionID: s.ID, DeviceID: s.DeviceID, Device: s.Device, Name: s.Name,
			ConnectedAt: s.ConnectedAt, LastActiveAt: s.LastActiveAt, Idle: s.idleAt(now), LatencyMs: s.LatencyMs,
			Current: s.ID == v.Session && v.Session != uuid.Nil})
	}
	held.overlay(m.Sessions)
	return m
}

// sameMine leaves out what moves without being a change.
func sameMine(a, b Mine) bool {
	still := func(m Mine) Mine {
		list := make([]Session, len(m.Sessions))
		for i, s := range m.Sessions {
			s.LatencyMs, s.LastActiveAt = nil, time.Time{}
			list[i] = s
		}
		m.Sessions = list
		return m
	}
	return reflect.DeepEqual(still(a), still(b))
}
