package presence

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
)

var (
	noon  = time.Date(2026, 5, 4, 12, 0, 30, 0, time.UTC)
	rules = Rules{IdleAfter: 5 * time.Minute, HiddenAfter: 150 * time.Second, Grace: 5 * time.Second, HTTPLapse: 75 * time.Second}
)

func target() *record {
	seen := noon.Add(-90 * time.Minute)
	return &record{key: Key{Tenant: primary, User: uuid.UUID{7}}, known: true, active: true, lastSeen: &seen,
		settings: Settings{Visibility: Everyone, ShowOnlineStatus: true, ShowLastSeen: true},
		custom:   Custom{Text: ptr("lunch")},
		sessions: []session{{ID: uuid.UUID{1}, Node: &uuid.UUID{2}, Counts: true, Device: DeviceIOS, ConnectedAt: noon.Add(-time.Hour), LastActiveAt: noon}}}
}

// TestDecisionTable walks every combination of who the viewer is and what the
// target chose, against the table written out a second time, as a person reads it.
func TestDecisionTable(t *testing.T) {
	t.Parallel()
	n := 0
	for _, vis := range []Visibility{Everyone, Contacts, Nobody, "", "friends"} {
		for bits := range 1 << 10 {
			b := func(i int) bool { return bits>>i&1 == 1 }
			rec := target()
			rec.settings.Visibility = vis
			rec.settings.ShowOnlineStatus, rec.settings.ShowLastSeen = b(0), b(1)
			rec.known = b(2)
			rel := relation{contact: b(3), blocked: b(4), viewer: b(5), sharesStatus: b(6), sharesLastSeen: b(7)}
			r := rules
			r.Reciprocity = b(8)
			if b(9) { // invisible since an hour
				since := noon.Add(-time.Hour)
				rec.settings.InvisibleMode, rec.hiddenSince, rec.frozen, rec.frozenLine = true, &since, Online, rec.custom
			}
			got, _ := project(rec, rel, r, outage{}, noon)

			want := neverSeen(rec.key.User)
			mayBeSeen := vis == Everyone || vis == Contacts && rel.contact
			if rec.known && rel.viewer && !rel.blocked && mayBeSeen {
				want.CustomStatus = &Custom{Text: ptr("lunch")}
				if rec.settings.ShowOnlineStatus && (rel.sharesStatus || !r.Reciprocity) && !rec.settings.InvisibleMode {
					want.Status = Online
				}
				if rec.settings.ShowLastSeen && (rel.sharesLastSeen || !r.Reciprocity) {
					at := time.Date(2026, 5, 4, 10, 30, 0, 0, time.UTC)
					if rec.settings.InvisibleMode {
						at = time.Date(2026, 5, 4, 11, 0, 0, 0, time.UTC)
					}
					want.LastSeenAt = &at
				}
			}
			if !got.equal(want) {
				t.Fatalf("visibility %q, bits %010b: got %s, want %s", vis, bits, show(got), show(want))
			}
			n++
		}
	}
	if n != 5*1024 {
		t.Fatal("not every combination")
	}
}

func show(v View) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// TestNothingHiddenIsSeen is the law: for whoever is not entitled, and for
// everybody while the target is invisible, the view is constant in all that
// the target does.
func TestNothingHiddenIsSeen(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		rec := target()
		since := noon.Add(-time.Duration(rng.IntN(20)) * time.Second)
		rel := relation{viewer: true, contact: rng.IntN(2) == 0, sharesStatus: true, sharesLastSeen: true}
		switch rng.IntN(4) {
		case 0:
			rec.settings.Visibility = Nobody
		case 1:
			rel.blocked = true
		case 2:
			rec.settings.Visibility, rel.contact = Contacts, false
		default:
			rec.settings.InvisibleMode, rec.hiddenSince = true, &since
			rec.frozen = []Status{Online, Away, Busy, Offline}[rng.IntN(4)]
			rec.frozenLine = Custom{Emoji: ptr("🍜")}
		}
		before, nextBefore := project(rec, rel, rules, outage{}, noon)
		live(rng, rec)
		after, nextAfter := project(rec, rel, rules, outage{}, noon)
		if !before.equal(after) || !nextBefore.Equal(nextAfter) {
			t.Fatalf("round %d: %s became %s", i, show(before), show(after))
		}
	}
}

// live changes at random everything a user changes by living.
func live(rng *rand.Rand, rec *record) {
	rec.sessions = nil
	for range rng.IntN(4) {
		s := session{ID: uuid.New(), Node: &uuid.UUID{2}, Counts: rng.IntN(4) > 0, Idle: rng.IntN(2) == 0, Device: DeviceWeb,
			ConnectedAt: noon.Add(-time.Duration(rng.IntN(1e6)) * time.Millisecond), LastActiveAt: noon.Add(-time.Duration(rng.IntN(1e6)) * time.Millisecond)}
		if rng.IntN(3) == 0 {
			s.EndedAt = ptr(noon.Add(-time.Duration(rng.IntN(1e4)) * time.Millisecond))
		}
		if rng.IntN(3) == 0 {
			s.ParkedAt = ptr(noon)
		}
		rec.sessions = append(rec.sessions, s)
	}
	rec.active = len(rec.sessions) > 0
	rec.manual = []Status{"", Away, Busy}[rng.IntN(3)]
	rec.custom = Custom{Text: ptr(fmt.Sprint(rng.Int()))}
	rec.updatedAt = ptr(noon.Add(-time.Duration(rng.IntN(1e6))))
	rec.settings.UpdatedAt = rec.updatedAt
	rec.held = []Status{"", Online, Away, Offline}[rng.IntN(4)]
}

func TestInvisibleLooksAsADisconnectionDoes(t *testing.T) {
	t.Parallel()
	for _, was := range []Status{Online, Away, Busy} {
		gone := target() // the same user, whose only socket closed at noon
		gone.sessions[0].EndedAt = ptr(noon)
		hidden := target() // and one that went invisible at noon
		hidden.settings.InvisibleMode, hidden.hiddenSince, hidden.frozen, hidden.frozenLine = true, ptr(noon), was, hidden.custom
		gone.sessions[0].Idle = was == Away
		if was == Busy {
			gone.manual = Busy
		}
		rel := relation{viewer: true}
		for ms := int64(0); ms < 8000; ms += 50 {
			now := noon.Add(time.Duration(ms) * time.Millisecond)
			a, na := project(gone, rel, rules, outage{}, now)
			b, nb := project(hidden, rel, rules, outage{}, now)
			if !a.equal(b) || !na.Equal(nb) {
				t.Fatalf("%s, %d ms on: disconnected %s until %v, invisible %s until %v", was, ms, show(a), na, show(b), nb)
			}
		}
	}
}

func TestFrozenLineStillRunsOut(t *testing.T) {
	t.Parallel()
	rec := target()
	rec.settings.InvisibleMode, rec.hiddenSince, rec.frozen = true, ptr(noon), Online
	rec.frozenLine = Custom{Text: ptr("back at one"), ExpiresAt: ptr(noon.Add(time.Minute))}
	rec.custom = Custom{Text: ptr("secret")}
	if v, _ := project(rec, relation{viewer: true}, rules, outage{}, noon); *v.CustomStatus.Text != "back at one" {
		t.Fatal(show(v))
	}
	if v, _ := project(rec, relation{viewer: true}, rules, outage{}, noon.Add(time.Minute)); v.CustomStatus != nil {
		t.Fatal(show(v))
	}
}

func TestOthersNeverSeeDeviceOrSeconds(t *testing.T) {
	t.Parallel()
	rec := target()
	v, _ := project(rec, relation{viewer: true, contact: true}, rules, outage{}, noon)
	if v.Device != nil || v.LastSeenAt.Second() != 0 {
		t.Fatal(show(v))
	}
	self, _ := project(rec, relation{self: true}, rules, outage{}, noon)
	if self.Device == nil || *self.Device != DeviceIOS || self.LastSeenAt.Second() != 30 {
		t.Fatal(show(self))
	}
}

func TestUnknownHiddenBlockedAndNeverSeenAreByteIdentical(t *testing.T) {
	t.Parallel()
	never := target()
	*never = record{key: never.key, known: true, settings: Settings{Visibility: Everyone, ShowOnlineStatus: true, ShowLastSeen: true}}
	want, _ := project(never, relation{viewer: true}, rules, outage{}, noon)
	unknown := &record{key: never.key, settings: Settings{Visibility: Everyone, ShowOnlineStatus: true}}
	nobody := target()
	nobody.settings.Visibility = Nobody
	for name, c := range map[string]struct {
		rec *record
		rel relation
	}{
		"unknown": {unknown, relation{viewer: true}},
		"nobody":  {nobody, relation{viewer: true, contact: true}},
		"blocked": {target(), relation{viewer: true, contact: true, blocked: true}},
		"no user": {target(), relation{}},
	} {
		got, _ := project(c.rec, c.rel, rules, outage{}, noon)
		if show(got) != show(want) {
			t.Errorf("%s: %s, never seen: %s", name, show(got), show(want))
		}
	}
}

func TestDisclosureNeverTellsOfInvisibility(t *testing.T) {
	t.Parallel()
	rec := target()
	plain := disclose(rec, relation{viewer: true, contact: true}, rules)
	rec.settings.InvisibleMode, rec.hiddenSince, rec.frozen = true, ptr(noon), Online
	if got := disclose(rec, relation{viewer: true, contact: true}, rules); got != plain || got.IsInvisible {
		t.Fatalf("%+v, visible: %+v", got, plain)
	}
	if got := disclose(rec, relation{self: true}, rules); !got.IsInvisible {
		t.Fatal("not even to oneself")
	}
	for name, rel := range map[string]relation{"blocked": {viewer: true, contact: true, blocked: true}, "stranger of contacts": {viewer: true}} {
		rec.settings.Visibility = Contacts
		if got := disclose(rec, rel, rules); got != (Disclosure{}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	node := &uuid.UUID{9}
	live := func(change func(*session)) session {
		s := session{Node: node, Counts: true, LastActiveAt: noon}
		if change != nil {
			change(&s)
		}
		return s
	}
	idle := live(func(s *session) { s.Idle = true })
	ended := live(func(s *session) { s.EndedAt = ptr(noon) })
	parked := live(func(s *session) { s.ParkedAt = ptr(noon) })
	silent := live(func(s *session) { s.Counts = false })
	http := session{Counts: true, LastActiveAt: noon, LapsesAt: ptr(noon.Add(75 * time.Second)), IdleAt: ptr(noon.Add(time.Minute))}
	for name, c := range map[string]struct {
		rec  record
		at   time.Duration
		want Status
		next time.Duration // 0: none
	}{
		"nobody":                       {record{}, 0, Offline, 0},
		"active":                       {record{sessions: []session{live(nil)}}, 0, Online, 0},
		"idle":                         {record{sessions: []session{idle}}, 0, Away, 0},
		"one of two active":            {record{sessions: []session{idle, live(nil)}}, 0, Online, 0},
		"busy by hand, idle":           {record{manual: Busy, sessions: []session{idle}}, 0, Busy, 0},
		"away by hand, active":         {record{manual: Away, sessions: []session{live(nil)}}, 0, Away, 0},
		"by hand, until later":         {record{manual: Busy, manualUntil: ptr(noon.Add(time.Hour)), sessions: []session{live(nil)}}, 0, Busy, time.Hour},
		"by hand, over":                {record{manual: Busy, manualUntil: ptr(noon), sessions: []session{live(nil)}}, 0, Online, 0},
		"by hand, not connected":       {record{manual: Busy}, 0, Offline, 0},
		"closed, within the grace":     {record{active: true, sessions: []session{ended}}, 0, Online, 5300 * time.Millisecond},
		"closed, grace over":           {record{active: true, sessions: []session{ended}}, 5300 * time.Millisecond, Offline, 0},
		"parked":                       {record{sessions: []session{parked}}, 0, Offline, 0},
		"parked beside another":        {record{sessions: []session{parked, idle}}, 0, Away, 0},
		"a socket that must not count": {record{sessions: []session{silent}}, 0, Offline, 0},
		"http":                         {record{sessions: []session{http}}, 0, Online, time.Minute},
		"http idle":                    {record{sessions: []session{http}}, time.Minute, Away, 75 * time.Second},
		"http lapsed":                  {record{active: true, sessions: []session{http}}, 75 * time.Second, Offline, 0},
		"sessions lost in a crash":     {record{active: true, held: Away}, 0, Away, 0},
		"lost, nothing held":           {record{active: true}, 0, Online, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := derive(&c.rec, rules, outage{}, noon.Add(c.at))
			if d.status != c.want {
				t.Errorf("%s, want %s", d.status, c.want)
			}
			if c.next == 0 != d.next.IsZero() || c.next != 0 && !d.next.Equal(noon.Add(c.next)) {
				t.Errorf("next change %v, want %v on", d.next, c.next)
			}
		})
	}
}

func TestNobodyLapsesForAnOutageOfOurs(t *testing.T) {
	t.Parallel()
	rec := &record{active: true, sessions: []session{{Counts: true, LastActiveAt: noon, LapsesAt: ptr(noon.Add(75 * time.Second))}}}
	o := outage{from: noon.Add(10 * time.Second), to: noon.Add(90 * time.Second)}
	if d := derive(rec, rules, o, noon.Add(100*time.Second)); d.status != Online {
		t.Fatal("lapsed while it could not report")
	}
	if d := derive(rec, rules, o, noon.Add(165*time.Second)); d.status != Offline {
		t.Fatal("never lapses")
	}
}

func TestReciprocityCannotBePeekedAround(t *testing.T) {
	t.Parallel()
	me := &record{known: true, settings: Settings{ShowOnlineStatus: true, ShowLastSeen: true, statusSharedSince: ptr(noon)}}
	var rel relation
	rel.share(me, noon.Add(23*time.Hour))
	if rel.sharesStatus || !rel.sharesLastSeen {
		t.Fatalf("%+v: sharing again for a glance shows nothing for a day", rel)
	}
	rel.share(me, noon.Add(24*time.Hour))
	if !rel.sharesStatus {
		t.Fatal("never again")
	}
	rel.share(nil, noon)
	if rel.sharesStatus || rel.sharesLastSeen {
		t.Fatal("an unknown viewer shares")
	}
}

func TestStricterWins(t *testing.T) {
	t.Parallel()
	old := Settings{Visibility: Contacts, ShowOnlineStatus: false, ShowLastSeen: true, InvisibleMode: true, TypingVisibility: Nobody, BroadcastTyping: true}
	c := Change{Visibility: ptr(Everyone), ShowOnlineStatus: ptr(true), ShowLastSeen: ptr(false), InvisibleMode: ptr(false), TypingVisibility: ptr(Everyone)}
	got := c.apply(old, true, noon)
	want := old
	want.ShowLastSeen = false
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if got := c.apply(old, false, noon); got.Visibility != Everyone || !got.ShowOnlineStatus || got.InvisibleMode || got.statusSharedSince == nil {
		t.Fatalf("%+v", got)
	}
}

func TestEmoji(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"🎉", "👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "❤️", "3️⃣", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "☕", "‼️", "⚽", "▶️"} {
		if !isEmoji(ok) {
			t.Errorf("%q refused", ok)
		}
	}
	for _, bad := range []string{"", "a", "ab", "🎉🎉", "3", "#", "<b>", "é", "漢", "\u202e", "\xff", "🎉a", "\u200d", "\ufe0f", "👍" + string(make([]byte, 3))} {
		if isEmoji(bad) {
			t.Errorf("%q taken", bad)
		}
	}
}

func TestQualityInWords(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int]Quality{0: Excellent, 99: Excellent, 100: Good, 299: Good, 300: Fair, 599: Fair, 600: Poor} {
		if got := (Session{LatencyMs: &ms}).ConnectionQuality(); got != want {
			t.Errorf("%d ms: %s, want %s", ms, got, want)
		}
	}
	if (Session{}).ConnectionQuality() != Unmeasured {
		t.Error("no sample is no quality")
	}
}
