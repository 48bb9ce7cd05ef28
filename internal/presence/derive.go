package presence

import "time"

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
	counting, live, active, at := d.merge(rec.sessions, r, o, now)
	manual := d.manual(rec, at, now)
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

// merge is whether any session counts at all, still lives, and is active; and when the
// last socket closed, where nothing lives but what is in its grace, else now. Whoever
// left is shown as they were then until the grace is over, as the invisible are as they
// were when that began: a choice that runs out meanwhile would tell the two apart.
func (d *derived) merge(sessions []session, r Rules, o outage, now time.Time) (counting, live, active bool, at time.Time) {
	here := false
	for _, s := range sessions {
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
		switch {
		case s.EndedAt == nil:
			here = true
		case s.EndedAt.After(at):
			at = *s.EndedAt
		}
		if s.idleAt(now) {
			continue
		}
		active = true
		if s.IdleAt != nil {
			d.soonest(*s.IdleAt, now)
		}
	}
	if here || at.IsZero() {
		at = now
	}
	return counting, live, active, at
}

// manual is the choice by hand, where it holds at an instant: now, or when the
// user left.
func (d *derived) manual(rec *record, at, now time.Time) Status {
	if rec.manualUntil != nil {
		if at.Equal(now) {
			d.soonest(*rec.manualUntil, now)
		}
		if !at.Before(*rec.manualUntil) {
			return ""
		}
	}
	return rec.manual
}
