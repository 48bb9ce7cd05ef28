package presence

import (
	"context"
	"testing"
	"testing/synctest"
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
		"gone, by hand until later":    {record{active: true, manual: Busy, manualUntil: ptr(noon.Add(time.Second)), sessions: []session{ended}}, 2 * time.Second, Busy, 5300 * time.Millisecond},
		"gone after it ran out":        {record{active: true, manual: Busy, manualUntil: ptr(noon), sessions: []session{ended}}, 2 * time.Second, Online, 5300 * time.Millisecond},
		"gone from one device":         {record{manual: Busy, manualUntil: ptr(noon.Add(time.Second)), sessions: []session{ended, idle}}, 2 * time.Second, Online, 5300 * time.Millisecond},
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

// TestAnEndThatIsLateCountsFromThen: an end that is written at once stands as it was; one
// that could not be counts from when it is, for everybody, and its grace is not over
// before anybody knew of it.
func TestAnEndThatIsLateCountsFromThen(t *testing.T) {
	t.Parallel()
	for late, same := range map[time.Duration]bool{0: true, writeMargin: true, writeMargin + time.Millisecond: false, time.Hour: false} {
		synctest.Test(t, func(t *testing.T) {
			s := newSessions(&world{clock: clock.New(), rules: rules})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { s.alarm.Run(ctx); close(done) }()
			defer func() { cancel(); <-done }()
			gone, expire := context.WithCancel(ctx)
			expire()
			id := uuid.New()
			s.Begin(gone, Opening{ID: id, Key: Key{Tenant: primary, User: uuid.New()}, Counts: true, Socket: newSocket()})
			s.written(s.takeDirty(nil))
			s.End(id)
			ended := time.Now()
			<-time.After(late) // nobody writes meanwhile
			synctest.Wait()
			c := s.takeDirty(nil)
			if len(c.gone) > 0 || len(c.ended) != 1 || c.ended[0].Equal(ended.Truncate(time.Microsecond)) != same || !same && time.Since(*c.ended[0]) > time.Millisecond {
				t.Fatalf("%v late: over %d, ended %v before", late, len(c.gone), time.Since(*c.ended[0]))
			}
			s.written(c)
			at := rules.over(*c.ended[0])
			<-time.After(time.Until(at) - time.Millisecond)
			synctest.Wait()
			if c := s.takeDirty(nil); len(c.owns) > 0 {
				t.Errorf("%v late: over before its grace is", late)
			}
			<-time.After(2 * time.Millisecond)
			synctest.Wait()
			if c := s.takeDirty(nil); len(c.gone) != 1 {
				t.Errorf("%v late: never over", late)
			}
		})
	}
}
