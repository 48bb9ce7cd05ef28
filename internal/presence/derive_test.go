package presence

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
)

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
	w := &world{rules: rules}
	w.restored(noon.Add(10*time.Second), noon.Add(90*time.Second))
	o := w.outage()
	if d := derive(rec, rules, o, noon.Add(100*time.Second)); d.status != Online {
		t.Fatal("lapsed while it could not report")
	}
	if d := derive(rec, rules, o, noon.Add(165*time.Second)); d.status != Offline {
		t.Fatal("never lapses")
	}
	// And another before its client has reported.
	w.restored(noon.Add(110*time.Second), noon.Add(120*time.Second))
	if d := derive(rec, rules, w.outage(), noon.Add(130*time.Second)); d.status != Online {
		t.Fatal("lapsed for the first of two outages")
	}
	w.restored(noon.Add(time.Hour), noon.Add(time.Hour+time.Minute))
	if d := derive(rec, rules, w.outage(), noon.Add(time.Hour+time.Minute)); d.status != Offline {
		t.Fatal("there again for an outage after its end")
	}
}

// TestNobodyIsAbsentForAnOutageOfOurs: who came back to another node meanwhile could not
// be written down, and has a whole grace from its end on; who hid looks the same.
func TestNobodyIsAbsentForAnOutageOfOurs(t *testing.T) {
	t.Parallel()
	o := outage{from: noon.Add(10 * time.Second), to: noon.Add(90 * time.Second)}
	again := rules.over(o.to)
	for what, c := range map[string]struct{ ended, over time.Time }{
		"ended in it":                    {noon.Add(20 * time.Second), again},
		"ended just before it":           {noon.Add(9 * time.Second), again},
		"over when it began":             {noon.Add(10*time.Second - rules.Grace - writeMargin), noon.Add(10 * time.Second)},
		"ended after it":                 {noon.Add(91 * time.Second), rules.over(noon.Add(91 * time.Second))},
		"ended after it, and there once": {noon.Add(time.Hour), rules.over(noon.Add(time.Hour))},
	} {
		gone := &record{known: true, active: true, sessions: []session{{Counts: true, LastActiveAt: noon, EndedAt: &c.ended}}}
		hidden := &record{known: true, active: true, frozen: Online, hiddenSince: &c.ended, sessions: []session{{Counts: true, LastActiveAt: noon}}}
		for which, rec := range map[string]*record{"gone": gone, "hidden": hidden} {
			rec.settings = Settings{Visibility: Everyone, ShowOnlineStatus: true, ShowLastSeen: true, InvisibleMode: rec.hiddenSince != nil}
			for at, want := range map[time.Time]Status{c.over.Add(-time.Millisecond): Online, c.over: Offline} {
				if p := publicOf(rec, rules, o, at); p.status != want || want == Online && !p.next.Equal(c.over) {
					t.Errorf("%s, %s: %s until %v, want %s until %v", what, which, p.status, p.next, want, c.over)
				}
			}
		}
	}
}

// TestAnOutageLasts until it is over, and one that comes before anybody had a grace
// is the same one.
func TestAnOutageLasts(t *testing.T) {
	t.Parallel()
	w := &world{clock: clock.New(), rules: rules}
	now := w.now()
	ended := now.Add(-time.Hour)
	w.missed(now.Add(-2 * time.Hour))
	if over := w.outage().over(rules, ended); !over.After(now.Add(rules.Grace)) {
		t.Errorf("over at %v while it lasts", over)
	}
	w.restored(now.Add(-2*time.Hour), now.Add(-2*time.Second))
	w.missed(now.Add(-time.Second))
	w.restored(now.Add(-time.Second), now)
	if over := w.outage().over(rules, ended); !over.Equal(rules.over(now)) {
		t.Errorf("over at %v after two in a row", over)
	}
	w.restored(now.Add(time.Hour), now.Add(2*time.Hour))
	if over := w.outage().over(rules, ended); !over.Equal(rules.over(ended)) {
		t.Errorf("over at %v after another one", over)
	}
}
