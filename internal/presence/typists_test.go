package presence

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

func TestAGateNoticesAndForgets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	g := n.Watch.Gate(as(demo.Bob))
	ask := func(u uuid.UUID) bool {
		t.Helper()
		may, err := g.May(t.Context(), []uuid.UUID{u})
		if err != nil {
			t.Fatal(err)
		}
		_, ok := may[u]
		return ok
	}
	eventually(t, "alice's typing is everybody's", func() bool { return ask(demo.Alice) })
	if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Alice), Change{BroadcastTyping: ptr(false)}, nil); err != nil {
		t.Fatal(err)
	}
	for ask(demo.Alice) {
		if err := g.Changed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * mostGated { // strangers who come and go are not kept for ever
		ask(uuid.New())
	}
	if len(g.t.users) > mostGated+1 {
		t.Fatalf("%d users watched", len(g.t.users))
	}
	// But whoever is shown is, whoever else comes and goes: that it hides is noticed.
	g.Keep(func() []uuid.UUID { return []uuid.UUID{demo.Carol} })
	if !ask(demo.Carol) {
		t.Fatal("carol's typing is everybody's")
	}
	for range mostGated {
		ask(uuid.New())
	}
	for stale := true; stale; {
		whose, all := g.Stale()
		stale = all || len(whose) > 0
	}
	if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Carol), Change{InvisibleMode: ptr(true)}, nil); err != nil {
		t.Fatal(err)
	}
	noticed, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := g.Changed(noticed); err != nil {
		t.Fatal("who is shown hides, and it is not noticed: ", err)
	}
	g.Close()
	if err := g.Changed(t.Context()); err == nil {
		t.Fatal("a closed gate goes on")
	}
	if len(n.Watch.mirror.entries) != 0 {
		t.Fatal("something is still watched")
	}
}

// TestTypingIsToldFromWhenItMayBeSeen: what was typed in hiding, or before a
// contact or a block changed, is not told; a change that hides nothing leaves those
// who saw it with what they saw.
func TestTypingIsToldFromWhenItMayBeSeen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	set := func(c Change) {
		t.Helper()
		if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Alice), c, nil); err != nil {
			t.Fatal(err)
		}
	}
	g := n.Watch.Gate(as(demo.Bob))
	defer g.Close()
	gate := func() (time.Time, bool) {
		t.Helper()
		may, err := g.May(t.Context(), []uuid.UUID{demo.Alice})
		if err != nil {
			t.Fatal(err)
		}
		at, ok := may[demo.Alice]
		return at, ok
	}
	once := func() (time.Time, bool) {
		t.Helper()
		may, err := n.Read.Typists(t.Context(), as(demo.Bob), []uuid.UUID{demo.Alice})
		if err != nil {
			t.Fatal(err)
		}
		at, ok := may[demo.Alice]
		return at, ok
	}
	r.exec(`delete from realtime.audience`) // as long after
	eventually(t, "all she types is told", func() bool { at, ok := gate(); return ok && at.IsZero() })
	for name, c := range map[string][2]Change{
		"invisible":      {{InvisibleMode: ptr(true)}, {InvisibleMode: ptr(false)}},
		"not broadcast":  {{BroadcastTyping: ptr(false)}, {BroadcastTyping: ptr(true)}},
		"typing nobody":  {{TypingVisibility: ptr(Nobody)}, {TypingVisibility: ptr(Contacts)}},
		"visible nobody": {{Visibility: ptr(Nobody)}, {Visibility: ptr(Everyone)}},
	} {
		set(c[0])
		eventually(t, name+": hidden", func() bool { _, seen := gate(); _, also := once(); return !seen && !also })
		before := n.Edit.w.now()
		set(c[1])
		eventually(t, name+": told from then", func() bool {
			at, seen := gate()
			also, ok := once()
			return seen && ok && at.Equal(also) && !at.Before(before)
		})
	}
	unasked := n.Edit.w.now()
	set(Change{BroadcastTyping: ptr(false)})
	set(Change{BroadcastTyping: ptr(true)})
	eventually(t, "also where nobody asked while it was hidden", func() bool { at, seen := gate(); return seen && !at.Before(unasked) })
	both := n.Edit.w.now()
	r.exec(`update realtime.presence_settings set typing_shared_since = $2 where user_id = $1`, demo.Alice, both) // hidden and shown between two looks
	eventually(t, "and where nobody looked", func() bool { at, seen := gate(); return seen && !at.Before(both.Truncate(time.Microsecond)) })
	was, _ := gate()
	set(Change{ShowLastSeen: ptr(false)})
	if at, seen := once(); !seen || !at.Equal(was) {
		t.Errorf("a setting that has nothing to do with it shows: %v, was %v", at, was)
	}
	r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, demo.Alice, demo.Carol)
	eventually(t, "who asks anew is told of what follows", func() bool { at, ok := once(); return ok && at.After(was) })
	fresh := n.Watch.Gate(as(demo.Bob))
	defer fresh.Close()
	eventually(t, "and whose gate is new", func() bool {
		may, err := fresh.May(t.Context(), []uuid.UUID{demo.Alice})
		at, ok := may[demo.Alice]
		return err == nil && ok && at.After(was)
	})
	var at time.Time
	eventually(t, "the gate has read it", func() bool { at, _ = gate(); return g.t.rels[demo.Alice].at.count > 0 })
	if !at.Equal(was) {
		t.Errorf("who saw her all along notices that she blocks another: %v, was %v", at, was)
	}
}

// TestAGateKnowsOfAHidingThatWasAnswered: who hides and then types is not told to
// those who saw it before, however long the doorbell of that takes.
func TestAGateKnowsOfAHidingThatWasAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	g := n.Watch.Gate(as(demo.Bob))
	defer g.Close()
	seen := func() bool {
		t.Helper()
		may, err := g.May(t.Context(), []uuid.UUID{demo.Alice})
		if err != nil {
			t.Fatal(err)
		}
		_, ok := may[demo.Alice]
		return ok
	}
	for name, c := range map[string][2]Change{
		"invisible":     {{InvisibleMode: ptr(true)}, {InvisibleMode: ptr(false)}},
		"not broadcast": {{BroadcastTyping: ptr(false)}, {BroadcastTyping: ptr(true)}},
		"seen by none":  {{Visibility: ptr(Nobody)}, {Visibility: ptr(Everyone)}},
	} {
		eventually(t, name+": seen before", seen)
		r.holdBack()
		if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Alice), c[0], nil); err != nil {
			t.Fatal(err)
		}
		if seen() {
			t.Error(name + ": told from a record of before")
		}
		r.release()
		if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Alice), c[1], nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAReadOfBeforeIsNoneOfTheNextWatch: what was being read when the last stream of
// a user ended says nothing of what the next one waits for.
func TestAReadOfBeforeIsNoneOfTheNextWatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	m, keys := n.Watch.mirror, []Key{as(demo.Alice).Key}
	m.hold(keys)
	rec, err := m.get(t.Context(), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	n.stop()
	<-n.done // nobody else reads
	for range 50 {
		m.mark(keys...)
	}
	began := m.marksOf(keys)
	m.drop(keys)
	m.hold(keys)
	defer m.drop(keys)
	late := *rec
	m.store(&late, began[0])
	m.await(keys...) // something was changed, and answered
	if e := m.entries[keys[0]]; e.read >= e.marks {
		t.Errorf("a read of before counts for %d marks, of %d", e.read, e.marks)
	}
}

// TestAGateThatCannotReadTellsNothing: while a record that is to be read cannot be,
// nobody is said to type; and when it can, it is as before.
func TestAGateThatCannotReadTellsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	g := n.Watch.Gate(as(demo.Bob))
	defer g.Close()
	eventually(t, "seen before", func() bool {
		may, err := g.May(t.Context(), []uuid.UUID{demo.Alice})
		_, ok := may[demo.Alice]
		return err == nil && ok
	})
	n.stop()
	<-n.done // nobody reads any more
	n.Watch.Notify("presence/" + demo.Alice.String() + "/" + primary)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if may, err := g.May(ctx, []uuid.UUID{demo.Alice}); err == nil {
		t.Errorf("told from a record that is to be read again: %v", may)
	}
}
