package presence

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// lawSeed is LAW_SEED, to have a run again, else another each time.
func lawSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("LAW_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("LAW_SEED=%d", seed)
	return seed
}

// lot is what chance gives the law's worlds: quick, for there are many.
type lot struct{ *rand.Rand }

func (l lot) yes() bool { return l.Uint64()&1 == 0 }

func (l lot) before(most time.Duration) *time.Time {
	return ptr(noon.Add(-time.Duration(l.Int64N(int64(most)))))
}

func (l lot) line() Custom {
	if l.yes() {
		return Custom{}
	}
	c := Custom{Text: ptr([]string{"lunch", "back at one", "away"}[l.IntN(3)])}
	if l.yes() {
		c.ExpiresAt = ptr(noon.Add(time.Duration(l.IntN(200)-100) * time.Second))
	}
	return c
}

// user is any record, consistent or not: the law holds for all.
func (l lot) user() *record {
	visibility := func() Visibility { return []Visibility{Everyone, Everyone, Contacts, Nobody, "", "friends"}[l.IntN(6)] }
	rec := &record{key: Key{Tenant: primary, User: uuid.UUID{7}}, known: l.IntN(8) > 0, lastSeen: l.before(time.Hour), frozenLine: l.line(),
		settings: Settings{Visibility: visibility(), ShowOnlineStatus: l.IntN(4) > 0, ShowLastSeen: l.IntN(4) > 0, AllowReadReceipts: l.yes(),
			AllowDeliveryReceipts: l.yes(), InvisibleMode: l.IntN(3) == 0, BroadcastTyping: l.yes(), TypingVisibility: visibility()}}
	if l.IntN(3) == 0 {
		rec.hiddenSince, rec.frozen = l.before(20*time.Second), []Status{"", Online, Away, Busy, Offline}[l.IntN(5)]
	}
	l.lives(rec)
	return rec
}

// lives changes all that a user changes by living: nothing that it shows is among it.
func (l lot) lives(rec *record) {
	rec.sessions = rec.sessions[:0:0]
	for i := range l.IntN(3) {
		s := session{ID: uuid.UUID{byte(i)}, Node: &uuid.UUID{2}, Counts: l.IntN(4) > 0, Idle: l.yes(), Device: DeviceIOS, LastActiveAt: *l.before(time.Hour)}
		if l.IntN(3) == 0 {
			s.EndedAt = l.before(10 * time.Second)
		}
		if l.IntN(4) == 0 {
			s.ParkedAt = l.before(time.Minute)
		}
		rec.sessions = append(rec.sessions, s)
	}
	rec.active, rec.held = l.yes(), []Status{"", Online, Away, Offline}[l.IntN(4)]
	rec.manual, rec.custom = []Status{"", Away, Busy}[l.IntN(3)], l.line()
	rec.updatedAt, rec.settings.UpdatedAt = l.before(time.Hour), l.before(time.Hour)
}

func (l lot) relation() relation {
	return relation{contact: l.yes(), blocked: l.IntN(6) == 0, viewer: l.IntN(8) > 0, sharesStatus: l.yes(), sharesLastSeen: l.yes()}
}

// told is all that a viewer could learn of a user, by every rule there is.
type told struct {
	view     View
	next     time.Time
	rights   Disclosure
	typing   bool
	receipts viewer.Audience
}

func (a told) equal(b told) bool {
	return a.view.equal(b.view) && a.next.Equal(b.next) && a.rights == b.rights && a.typing == b.typing &&
		a.receipts.Read == b.receipts.Read && a.receipts.Delivered == b.receipts.Delivered
}

func (a told) String() string {
	return fmt.Sprintf("%s until %v, %+v, typing %v, receipts %+v", show(a.view), a.next, a.rights, a.typing, a.receipts)
}

var (
	lawViewer = uuid.UUID{9}
	lawFriend = []uuid.UUID{{8}}
)

// tell asks every rule.
func tell(rec *record, rel relation, r Rules) told {
	contacts, blocked := lawFriend[:1:1], lawFriend[:0:0]
	if rel.contact {
		contacts = append(contacts, lawViewer)
	}
	if rel.blocked {
		blocked = append(blocked, lawViewer)
	}
	x := told{rights: disclose(rec, rel, r), typing: mayType(rec, rel), receipts: audience(rec, contacts, blocked)}
	x.view, x.next = project(rec, rel, r, outage{}, noon)
	if a := &x.receipts; a.ShownTo != nil && !slices.Contains(a.ShownTo, lawViewer) || slices.Contains(a.HiddenFrom, lawViewer) {
		a.Read, a.Delivered = false, false
	}
	return x
}

// closed is who may learn nothing of a user, as the settings' words say it.
func closed(rec *record, rel relation) bool {
	return !rec.known || !rel.viewer || rel.blocked ||
		rec.settings.Visibility != Everyone && (rec.settings.Visibility != Contacts || !rel.contact)
}

// gone is a user as it would be had all its sessions ended when it became invisible.
func gone(rec *record) *record {
	x := *rec
	at := rec.hiddenSince
	x.settings.InvisibleMode, x.hiddenSince, x.custom, x.manual, x.active = false, nil, rec.frozenLine, "", false
	x.sessions = nil
	if at != nil && rec.frozen != "" && rec.frozen != Offline {
		x.sessions = []session{{Node: &uuid.UUID{2}, Counts: true, EndedAt: at, Idle: rec.frozen == Away, LastActiveAt: *at}}
		if x.active = true; rec.frozen == Busy {
			x.manual = Busy
		}
	} else if at == nil {
		x.custom = Custom{} // on doubt, hide
	}
	return &x
}

// breaks says how what a viewer is told breaks the law; "": it does not.
func breaks(l lot, rec *record, rel relation, r Rules) string {
	x := tell(rec, rel, r)
	s := rec.settings
	hidden := s.InvisibleMode || rec.hiddenSince != nil
	if closed(rec, rel) {
		if !x.view.equal(neverSeen(rec.key.User)) || !x.next.IsZero() || x.rights != (Disclosure{}) {
			return "somebody shut out learns: " + x.String()
		}
		if rel.viewer && (x.receipts.Read || x.receipts.Delivered) { // members alone are told of receipts
			return "somebody shut out learns of receipts: " + x.String()
		}
	}
	if x.typing && (!rec.known || !rel.viewer || rel.blocked || hidden || !s.BroadcastTyping || s.TypingVisibility != Everyone && (s.TypingVisibility != Contacts || !rel.contact)) {
		return "typing shows: " + x.String()
	}
	if x.receipts.Read && !s.AllowReadReceipts || x.receipts.Delivered && !s.AllowDeliveryReceipts {
		return "receipts show: " + x.String()
	}
	if x.view.Status != Offline && (!s.ShowOnlineStatus || r.Reciprocity && !rel.sharesStatus) {
		return "the status shows: " + x.String()
	}
	if x.view.LastSeenAt != nil && (!s.ShowLastSeen || r.Reciprocity && !rel.sharesLastSeen || !x.view.LastSeenAt.Equal(x.view.LastSeenAt.Truncate(time.Minute))) {
		return "last seen shows: " + x.String()
	}
	if c := x.view.CustomStatus; c != nil && c.ExpiresAt != nil && !noon.Before(*c.ExpiresAt) {
		return "a line that ran out shows: " + x.String()
	}
	if x.view.Device != nil || x.rights.IsInvisible {
		return "the device or the hiding shows: " + x.String()
	}
	if !hidden && !closed(rec, rel) {
		return ""
	}
	if hidden {
		if y := tell(gone(rec), rel, r); !y.view.equal(x.view) || !y.next.Equal(x.next) || y.rights != x.rights {
			return "invisible is not as disconnected: " + x.String() + " and " + y.String()
		}
	}
	l.lives(rec)
	if y := tell(rec, rel, r); !x.equal(y) {
		return "life shows: " + x.String() + " and " + y.String()
	}
	return ""
}

// TestTheLawOverAMillionWorlds: a viewer shut out is told a constant, of the
// invisible what is told of the disconnected, of all others not more than they
// show; and two worlds that differ in what is hidden are told alike. Of
// 640,000 users and viewers each is projected once for the viewer and once for
// the user itself, and once or twice more where something is hidden: a million
// and a half projections, or more.
func TestTheLawOverAMillionWorlds(t *testing.T) {
	t.Parallel()
	const workers, each = 4, 160_000
	seed := lawSeed(t)
	for w := range uint64(workers) {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			t.Parallel()
			l := lot{rand.New(rand.NewPCG(seed, w))} //nolint:gosec // a test's choices
			for i := range each {
				rec, rel, r := l.user(), l.relation(), rules
				r.Reciprocity = l.yes()
				if why := breaks(l, rec, rel, r); why != "" {
					t.Fatalf("LAW_SEED=%d, world %d of %d: %s\nof %+v by %+v", seed, i, w, why, rec, rel)
				}
				if !rel.viewer {
					continue
				}
				if self := tell(rec, relation{self: true, viewer: true}, r); self.typing {
					t.Fatalf("LAW_SEED=%d: own typing is shown", seed)
				}
				if l.shares(rec) {
					t.Fatalf("LAW_SEED=%d: a glance, or nobody, counts as sharing", seed)
				}
			}
		})
	}
}

// shares is whether somebody counts as sharing who does not, or not for a day.
func (l lot) shares(own *record) bool {
	s := &own.settings
	since := func() *time.Time {
		if l.yes() {
			return nil
		}
		return l.before(2 * hysteresis)
	}
	s.statusSharedSince, s.lastSeenSharedSince, s.receiptsSharedSince = since(), since(), since()
	wrong := func(counts, on bool, since *time.Time) bool {
		return counts && (!own.known || !on || since != nil && noon.Sub(*since) < hysteresis)
	}
	var rel relation
	rel.share(own, noon)
	return wrong(rel.sharesStatus, s.ShowOnlineStatus, s.statusSharedSince) || wrong(rel.sharesLastSeen, s.ShowLastSeen, s.lastSeenSharedSince) ||
		wrong(sharesReading(own, noon), s.AllowReadReceipts, s.receiptsSharedSince)
}
