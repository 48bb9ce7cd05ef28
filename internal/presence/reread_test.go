package presence

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestThePaceOfReadingAgain: however often a user is marked it is read twenty times at once
// and then twenty times a second, the last mark too; what somebody waits for at once,
// others not later for it, and nobody pays long for that.
func TestThePaceOfReadingAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(&world{clock: clock.New()})
		busy, other := Key{Tenant: "t", User: uuid.New()}, Key{Tenant: "t", User: uuid.New()}
		m.hold([]Key{busy, other})
		takes := func(marks int) (n int, later time.Duration) {
			for range marks {
				var keys []Key
				m.mark(busy)
				keys, later = m.takeDirty()
				for _, k := range keys {
					if k == busy {
						n++
					}
				}
			}
			return n, later
		}
		if n, later := takes(100); n != rereadBurst || later != rereadEvery {
			t.Fatalf("a hundred marks are %d reads, the next in %v", n, later)
		}
		m.mark(other)
		if keys, later := m.takeDirty(); len(keys) != 1 || keys[0] != other || later != rereadEvery {
			t.Errorf("another waits for it: %v, %v", keys, later)
		}
		<-time.After(rereadEvery - 1)
		if keys, later := m.takeDirty(); len(keys) > 0 || later != 1 {
			t.Errorf("%v are read too early, the next in %v", keys, later)
		}
		<-time.After(1)
		if keys, later := m.takeDirty(); len(keys) != 1 || later != 0 {
			t.Errorf("its time has come: %v, %v", keys, later)
		}
		m.mark(busy)
		if keys, _ := m.takeDirty(); len(keys) > 0 {
			t.Error("one more is read at once")
		}
		for what, wants := range map[string]func(){
			"what must be fresh": func() { m.hurry([]Key{busy}) },
			"what a stream begins with": func() {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				m.catchUp(ctx, busy)
			},
		} {
			for range 100 {
				m.mark(busy)
				wants()
				if keys, _ := m.takeDirty(); len(keys) != 1 {
					t.Fatalf("%s waits for the pace", what)
				}
			}
		}
		if n, later := takes(1); n != 0 || later != rereadEvery {
			t.Errorf("after those %d are read, the next in %v", n, later)
		}
	})
}

// TestWhatIsPacedIsReadAllTheSame when its time has come, though nothing else happens.
func TestWhatIsPacedIsReadAllTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.node(quick).Watch.mirror
	k := Key{Tenant: primary, User: demo.Alice}
	m.hold([]Key{k})
	defer m.drop([]Key{k})
	if _, err := m.get(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	news := m.hub.Subscribe(subject{Key: k})
	defer news.Close()
	m.mu.Lock()
	m.entries[k].paid = time.Now().Add(rereadBurst * rereadEvery)
	m.markLocked(k)
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := news.Next(ctx); err != nil {
		t.Errorf("it is never read for those who watch: %v", err)
	}
}

// TestAnAlarmThatIsLate: who is read just when time changes what is seen of it, before its
// alarm has come, is news to those who watch, though its row is the same.
func TestAnAlarmThatIsLate(t *testing.T) {
	t.Parallel()
	for what, changes := range map[string]func(r *record, at time.Time){
		"the end of what was seen of the invisible": func(r *record, at time.Time) {
			since := at.Add(-quick.over(time.Time{}).Sub(time.Time{}))
			r.hiddenSince, r.frozen = &since, Busy
		},
		"the end of a line": func(r *record, at time.Time) { r.custom = Custom{Text: ptr("lunch"), ExpiresAt: &at} },
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMirror(&world{clock: clock.New(), rules: quick})
			k, at := Key{Tenant: "t", User: uuid.New()}, time.Now().Add(time.Minute)
			m.hold([]Key{k})
			read := func() bool {
				rec := &record{key: k, known: true}
				changes(rec, at)
				return m.store(rec, 0)
			}
			if !read() || read() {
				t.Fatalf("%s: before", what)
			}
			<-time.After(time.Minute)
			if !read() {
				t.Errorf("%s: nobody is told", what)
			}
			if read() || m.alarm.Len() > 0 {
				t.Errorf("%s: told again", what)
			}
		})
	}
}

// TestAViewerThatComesBack sees others again in the streams it has.
func TestAViewerThatComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	r.connect(n, demo.Alice)
	r.exec(`update nchat_users set status = 'suspended' where id = $1`, demo.Bob)
	seen := r.watch(n, as(demo.Bob), demo.Alice)
	until(t, seen, func(v View) bool { return v.Status == Offline })
	r.exec(`update nchat_users set status = 'active' where id = $1`, demo.Bob)
	until(t, seen, func(v View) bool { return v.Status == Online })
}
