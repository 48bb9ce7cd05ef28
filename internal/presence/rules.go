package presence

import (
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Here is decided who may learn what of whom, and nowhere else: pure functions
// of a user's record and of what a viewer is to it. What they do not know hides.

// hysteresis is how long after sharing again a viewer must wait to see what it
// shares: turning a setting on for a glance shows nothing.
const hysteresis = 24 * time.Hour

// open is the rule under all others: whether somebody else may learn anything of
// a user at all. Nothing of the unknown, nothing to the unknown, and nothing to
// whom the user blocked.
func open(rec *record, rel relation) bool { return rec.known && rel.viewer && !rel.blocked }

// allows is whether a visibility is wide enough for a viewer.
func (v Visibility) allows(contact bool) bool { return v == Everyone || v == Contacts && contact }

// invisible is whether others are to see of a user only what they saw before.
func (rec *record) invisible() bool { return rec.settings.InvisibleMode || rec.hiddenSince != nil }

// grants is what a viewer is entitled to, by the target's settings alone: it
// does not depend on anything the target does.
type grants struct{ presence, status, lastSeen bool }

// entitle is the decision table of presence.
func entitle(rec *record, rel relation, r Rules) grants {
	if rel.self {
		return grants{true, true, true}
	}
	s := rec.settings
	if !open(rec, rel) || !s.Visibility.allows(rel.contact) {
		return grants{}
	}
	return grants{
		presence: true,
		status:   s.ShowOnlineStatus && (!r.Reciprocity || rel.sharesStatus),
		lastSeen: s.ShowLastSeen && (!r.Reciprocity || rel.sharesLastSeen),
	}
}

// disclose is presenceVisibility: the viewer's rights, and nothing of the
// target's state.
func disclose(rec *record, rel relation, r Rules) Disclosure {
	g := entitle(rec, rel, r)
	return Disclosure{
		CanViewPresence:     g.presence,
		CanViewOnlineStatus: g.status,
		CanViewLastSeen:     g.lastSeen,
		IsContact:           g.presence && rel.contact && !rel.self,
		IsInvisible:         rel.self && rec.settings.InvisibleMode,
	}
}

// mayType is whether a viewer may see a target typing: never the invisible,
// whatever room they share; else who may see its presence (as of receipts), so far
// as the target's typing settings say. Nobody is shown its own typing.
func mayType(rec *record, rel relation) bool {
	s := rec.settings
	return !rel.self && open(rec, rel) && !rec.invisible() && s.Visibility.allows(rel.contact) && s.BroadcastTyping && s.TypingVisibility.allows(rel.contact)
}

// typedBefore is until when a target may have typed without this viewer being one
// to see it: what it typed by then is not told, nor when that began. Its settings
// say since when more see it; of contacts and blocks only that they changed.
func typedBefore(rec *record) time.Time {
	return latest(rec.settings.typingSharedSince, rec.audienceAt)
}

// latest is the last of instants; zero: there is none.
func latest(list ...*time.Time) (at time.Time) {
	for _, t := range list {
		if t != nil && t.After(at) {
			at = *t
		}
	}
	return at
}

// audience is who may learn that a user receives and reads: those who may see
// its presence, so far as it allows receipts. contacts and blocked are the
// user's. That what the invisible does is told later is decided as it does it, in
// the same transaction: hold_invisible is invisible in SQL.
func audience(rec *record, contacts, blocked []uuid.UUID) viewer.Audience {
	a := viewer.Audience{HiddenFrom: blocked}
	s := rec.settings
	if !open(rec, relation{viewer: true}) || !s.Visibility.allows(true) {
		return a
	}
	if !s.Visibility.allows(false) {
		a.ShownTo = append([]uuid.UUID{}, contacts...)
	}
	a.Read, a.Delivered = s.AllowReadReceipts, s.AllowDeliveryReceipts
	return a
}

// shared is whether somebody shares something, and has for long enough to see it
// of others.
func shared(on bool, since *time.Time, now time.Time) bool {
	return on && (since == nil || !now.Before(since.Add(hysteresis)))
}

// share fills in what the viewer shares itself, by its own record. A viewer
// unknown shares nothing.
func (rel *relation) share(own *record, now time.Time) {
	rel.sharesStatus, rel.sharesLastSeen = false, false
	if own != nil && own.known {
		rel.sharesStatus = shared(own.settings.ShowOnlineStatus, own.settings.statusSharedSince, now)
		rel.sharesLastSeen = shared(own.settings.ShowLastSeen, own.settings.lastSeenSharedSince, now)
	}
}

// sharesReading is whether a user shares its own reading, without which it sees
// nobody's where that is asked.
func sharesReading(rec *record, now time.Time) bool {
	return rec.known && shared(rec.settings.AllowReadReceipts, rec.settings.receiptsSharedSince, now)
}

// attend is where a user's own attention is: for the operator's own push service,
// and never for a viewer. looks: at a device whose session counts.
func attend(rec *record, looks bool, now time.Time) Attention {
	var d derived
	a := Attention{Looking: looks, Busy: d.manual(rec, now, now) == Busy}
	if a.Busy {
		a.BusyUntil = rec.manualUntil
	}
	return a
}
