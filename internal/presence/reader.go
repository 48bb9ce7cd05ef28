package presence

import (
	"context"
	"sort"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Reader answers one-time questions. Each answer is projected for its viewer.
type Reader struct {
	w    *world
	live *Sessions
}

// MaxPage is the most a page may hold, and DefaultPage what it holds unasked.
const (
	MaxPage     = 1000
	DefaultPage = 100
)

// Presences is each user as the viewer sees it, in the order asked, each once.
func (r *Reader) Presences(ctx context.Context, v viewer.Viewer, users []uuid.UUID) ([]View, error) {
	users = distinct(users)
	seen, err := r.look(ctx, v.Key, users)
	if err != nil {
		return nil, err
	}
	views := make([]View, len(seen))
	for i, s := range seen {
		views[i], _ = project(s.rec, s.rel, r.w.rules, r.w.outage(), r.w.now())
	}
	return views, nil
}

// Presence is one user as the viewer sees it.
func (r *Reader) Presence(ctx context.Context, v viewer.Viewer, user uuid.UUID) (View, error) {
	views, err := r.Presences(ctx, v, []uuid.UUID{user})
	if err != nil {
		return View{}, err
	}
	return views[0], nil
}

// Visibilities is what the viewer may see of each user.
func (r *Reader) Visibilities(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]Disclosure, error) {
	users = distinct(users)
	seen, err := r.look(ctx, v.Key, users)
	if err != nil {
		return nil, err
	}
	out := make(map[uuid.UUID]Disclosure, len(users))
	for i, s := range seen {
		out[users[i]] = disclose(s.rec, s.rel, r.w.rules)
	}
	return out, nil
}

// looked is a target and what the viewer is to it.
type looked struct {
	rec *record
	rel relation
}

// look reads targets and then relations, so that a relation is never older
// than the record it judges. Nobody (no user) gets the same two statements.
func (r *Reader) look(ctx context.Context, v Key, users []uuid.UUID) ([]looked, error) {
	keys := make([]Key, len(users), len(users)+1)
	for i, u := range users {
		keys[i] = Key{Tenant: v.Tenant, User: u}
	}
	if r.w.rules.Reciprocity {
		keys = append(keys, v)
	}
	var recs []*record
	var rels []relation
	b := &pgx.Batch{}
	queueRecords(b, keys, &recs)
	queueRelations(b, v, users, &rels)
	if err := r.w.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	out := make([]looked, len(users))
	for i := range users {
		out[i] = looked{recs[i], rels[i]}
		if r.w.rules.Reciprocity {
			out[i].rel.share(recs[len(recs)-1], r.w.now())
		}
	}
	return out, nil
}

// Settings are the caller's own.
func (r *Reader) Settings(ctx context.Context, v viewer.Viewer) (Settings, error) {
	rec, err := r.self(ctx, v)
	if err != nil {
		return Settings{}, err
	}
	return rec.settings, nil
}

// Mine is the caller's own presence, whole.
func (r *Reader) Mine(ctx context.Context, v viewer.Viewer) (Mine, error) {
	rec, err := r.self(ctx, v)
	if err != nil {
		return Mine{}, err
	}
	return r.w.mine(rec, v, r.live), nil
}

// Sessions are the caller's live ones, oldest first.
func (r *Reader) Sessions(ctx context.Context, v viewer.Viewer) ([]Session, error) {
	m, err := r.Mine(ctx, v)
	return m.Sessions, err
}

func (r *Reader) self(ctx context.Context, v viewer.Viewer) (*record, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	return loadRecord(ctx, r.w.pool, v.Key)
}

// mine is the whole truth about rec, for its user alone.
func (w *world) mine(rec *record, v viewer.Viewer, live *Sessions) Mine {
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
	live.overlay(m.Sessions)
	return m
}

// Preview is how others see the caller, by the caller's own settings alone.
// as user: that user's true relation to the caller counts, but what it shares
// itself does not.
func (r *Reader) Preview(ctx context.Context, v viewer.Viewer, as ViewerKind, user *uuid.UUID) (View, error) {
	if (as == AsUser) != (user != nil) {
		return View{}, fault.Field("userId", "userId is given with as: user, and only then")
	}
	rec, err := r.self(ctx, v)
	if err != nil {
		return View{}, err
	}
	rel := relation{viewer: true, contact: as == AsContact}
	if as == AsUser {
		rels, err := loadRelations(ctx, r.w.pool, Key{Tenant: v.Tenant, User: *user}, []uuid.UUID{v.User})
		if err != nil {
			return View{}, err
		}
		rel = rels[0]
		rel.viewer = true // whether there is such a user is not told
	}
	rel.sharesStatus, rel.sharesLastSeen = true, true
	view, _ := project(rec, rel, r.w.rules, r.w.outage(), r.w.now())
	return view, nil
}

// Channel is a page of a channel's members, filtered, ordered and paged over
// what the viewer sees; false: a channel the viewer may not see.
func (r *Reader) Channel(ctx context.Context, v viewer.Viewer, channel uuid.UUID, only []Status, first *int, after *string) (Page, bool, error) {
	n, err := PageSize(first)
	if err != nil {
		return Page{}, false, err
	}
	from, err := parsePlace(after)
	if err != nil {
		return Page{}, false, err
	}
	views, ok, err := r.members(ctx, v, channel)
	if err != nil || !ok {
		return Page{}, false, err
	}
	var p Page
	for _, view := range views {
		if !allowed(only, view.Status) {
			continue
		}
		p.Total++
		at := placeOf(view)
		switch {
		case !from.before(at):
		case len(p.Views) < n:
			p.Views, p.Cursors = append(p.Views, view), append(p.Cursors, at.String())
		default:
			p.More = true
		}
	}
	return p, true, nil
}

// ChannelCounts is how many members of each channel the viewer sees in each
// status; a channel the viewer may not see is left out.
func (r *Reader) ChannelCounts(ctx context.Context, v viewer.Viewer, channels []uuid.UUID) (map[uuid.UUID]Counts, error) {
	members, err := loadMembers(ctx, r.w.pool, v.Key, channels)
	if err != nil {
		return nil, err
	}
	var users []uuid.UUID
	for _, ids := range members {
		users = append(users, ids...)
	}
	views, err := r.Presences(ctx, v, users)
	if err != nil {
		return nil, err
	}
	status := make(map[uuid.UUID]Status, len(views))
	for _, view := range views {
		status[view.UserID] = view.Status
	}
	out := make(map[uuid.UUID]Counts, len(members))
	for channel, ids := range members {
		var c Counts
		for _, id := range ids {
			c.add(status[id], 1)
		}
		out[channel] = c
	}
	return out, nil
}

// members are a channel's members as the viewer sees them, in list order.
func (r *Reader) members(ctx context.Context, v viewer.Viewer, channel uuid.UUID) ([]View, bool, error) {
	found, err := loadMembers(ctx, r.w.pool, v.Key, []uuid.UUID{channel})
	ids, ok := found[channel]
	if err != nil || !ok {
		return nil, false, err
	}
	views, err := r.Presences(ctx, v, ids)
	if err != nil {
		return nil, false, err
	}
	sort.Slice(views, func(i, j int) bool { return placeOf(views[i]).before(placeOf(views[j])) })
	return views, true, nil
}

func allowed(only []Status, s Status) bool {
	if only == nil {
		return true
	}
	for _, o := range only {
		if o == s {
			return true
		}
	}
	return false
}

func distinct(ids []uuid.UUID) []uuid.UUID {
	set := make(map[uuid.UUID]struct{}, len(ids))
	out := make([]uuid.UUID, 0, len(ids))
	for _, id := range ids {
		if _, ok := set[id]; !ok {
			set[id] = struct{}{}
			out = append(out, id)
		}
	}
	return out
}
