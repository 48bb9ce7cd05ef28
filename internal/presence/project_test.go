package presence

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
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
