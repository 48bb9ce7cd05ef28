package presence

import "time"

// public is what the world would see of a user without any setting but
// invisibility: for the invisible, a user whose sessions all ended the moment
// it began.
type public struct {
	status   Status
	lastSeen *time.Time
	line     Custom
	next     time.Time
}

func publicOf(rec *record, r Rules, o outage, now time.Time) public {
	if rec.hiddenSince == nil {
		if rec.settings.InvisibleMode { // never so in a row of ours; on doubt, hide
			return public{status: Offline, lastSeen: rec.lastSeen}
		}
		d := derive(rec, r, o, now)
		p := public{status: d.status, lastSeen: rec.lastSeen, line: rec.custom, next: d.next}
		if d.seen != nil && (p.lastSeen == nil || d.seen.After(*p.lastSeen)) {
			p.lastSeen = d.seen
		}
		return p
	}
	p := public{status: rec.frozen, lastSeen: rec.lastSeen, line: rec.frozenLine}
	if rec.frozen == "" || rec.frozen == Offline {
		p.status = Offline
		return p
	}
	if end := r.over(*rec.hiddenSince); now.Before(end) {
		p.next = end
	} else {
		p.status, p.lastSeen = Offline, rec.hiddenSince
	}
	return p
}

// shown is the line, unless it is empty or has run out.
func (c Custom) shown(now time.Time) *Custom {
	if c.Text == nil && c.Emoji == nil || c.ExpiresAt != nil && !now.Before(*c.ExpiresAt) {
		return nil
	}
	return &Custom{Text: c.Text, Emoji: c.Emoji, ExpiresAt: c.ExpiresAt}
}

// project is what a viewer sees of rec's user: the only way there is to make a
// View. It is pure, and constant in what a hidden user does. The instant it returns
// is when the answer may change by the passage of time; zero: never.
func project(rec *record, rel relation, r Rules, o outage, now time.Time) (View, time.Time) {
	v := neverSeen(rec.key.User)
	if rel.self {
		return projectSelf(rec, r, o, now)
	}
	g := entitle(rec, rel, r)
	if !g.presence {
		return v, time.Time{}
	}
	p := publicOf(rec, r, o, now)
	next := p.next
	if v.CustomStatus = p.line.shown(now); v.CustomStatus != nil && p.line.ExpiresAt != nil {
		next = sooner(next, *p.line.ExpiresAt)
	}
	if g.status {
		v.Status = p.status
	}
	if g.lastSeen && p.lastSeen != nil {
		t := p.lastSeen.UTC().Truncate(time.Minute)
		v.LastSeenAt = &t
	}
	return v, next
}

// projectSelf hides nothing: the viewer is the user.
func projectSelf(rec *record, r Rules, o outage, now time.Time) (View, time.Time) {
	d := derive(rec, r, o, now)
	v := View{UserID: rec.key.User, Status: d.status, CustomStatus: rec.custom.shown(now), LastSeenAt: rec.lastSeen}
	if d.seen != nil && rec.hiddenSince == nil && (v.LastSeenAt == nil || d.seen.After(*v.LastSeenAt)) {
		v.LastSeenAt = d.seen
	}
	if v.LastSeenAt != nil {
		t := v.LastSeenAt.UTC()
		v.LastSeenAt = &t
	}
	var latest time.Time
	for _, s := range rec.sessions {
		if s.EndedAt == nil && s.LastActiveAt.After(latest) {
			latest = s.LastActiveAt
			v.Device = &s.Device
		}
	}
	next := d.next
	if v.CustomStatus != nil && rec.custom.ExpiresAt != nil {
		next = sooner(next, *rec.custom.ExpiresAt)
	}
	return v, next
}

// nextChange is when the passage of time alone may change what anybody sees of
// the user; zero: not in sight.
func nextChange(rec *record, r Rules, o outage, now time.Time) time.Time {
	next := derive(rec, r, o, now).next
	if p := publicOf(rec, r, o, now); !p.next.IsZero() {
		next = sooner(next, p.next)
	}
	for _, c := range []Custom{rec.custom, rec.frozenLine} {
		if c.ExpiresAt != nil && c.ExpiresAt.After(now) {
			next = sooner(next, *c.ExpiresAt)
		}
	}
	for _, t := range []*time.Time{rec.settings.statusSharedSince, rec.settings.lastSeenSharedSince} {
		if r.Reciprocity && t != nil && t.Add(hysteresis).After(now) {
			next = sooner(next, t.Add(hysteresis))
		}
	}
	return next
}

// sooner is the earlier of two instants, zero meaning never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
