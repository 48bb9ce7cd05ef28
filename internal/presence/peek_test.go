package presence

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// TestAGateThatIsSureNeedsNobodyToWait: what May says Peek says, once that has been
// read; and where something was changed, or marked, since it was read last, it says
// nothing until it has been read again, whatever it is.
func TestAGateThatIsSureNeedsNobodyToWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	g := n.Watch.Gate(as(demo.Bob))
	defer g.Close()
	woken := wait.NewFlag()
	g.Woken(woken.Raise)
	users := []uuid.UUID{demo.Alice, demo.Carol}
	may := func() map[uuid.UUID]time.Time {
		t.Helper()
		may, err := g.May(t.Context(), users)
		if err != nil {
			t.Fatal(err)
		}
		return may
	}
	unsure := func(what string) {
		t.Helper()
		if seen, ok := g.Peek(users); ok {
			t.Errorf("%s, and it is known who is seen: %v", what, seen)
		}
	}
	settled := func(what string, want int) {
		t.Helper()
		eventually(t, what, func() bool {
			asked := may()
			peeked, ok := g.Peek(users)
			return ok && len(peeked) == want && maps.EqualFunc(asked, peeked, time.Time.Equal)
		})
	}
	if seen, ok := g.Peek(nil); !ok || len(seen) != 0 {
		t.Error("of nobody there is nothing to wait for:", seen)
	}
	unsure("nobody was asked about")
	other := n.Watch.Gate(as(demo.Dave)) // which has their records read
	defer other.Close()
	if _, err := other.May(t.Context(), users); err != nil {
		t.Fatal(err)
	}
	unsure("only another asked")
	settled("both are seen", 2)
	for name, c := range map[string][2]Change{
		"invisible":     {{InvisibleMode: ptr(true)}, {InvisibleMode: ptr(false)}},
		"not broadcast": {{BroadcastTyping: ptr(false)}, {BroadcastTyping: ptr(true)}},
		"seen by none":  {{Visibility: ptr(Nobody)}, {Visibility: ptr(Everyone)}},
	} {
		for i, want := range []int{1, 2} {
			r.holdBack()
			if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Alice), c[i], nil); err != nil {
				t.Fatal(err)
			}
			if seen, ok := g.Peek(users); ok && len(seen) != want { // it may have been read by chance
				t.Errorf("%s: that was answered, and by a record of before are seen: %v", name, seen)
			}
			settled(name, want)
			r.release()
			settled(name+", heard of", want)
		}
	}
	g.Stale() // what was before
	r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, demo.Carol, demo.Bob)
	n.Watch.Notify("audience/" + demo.Carol.String())
	late := 0
	for whose, all := g.Stale(); !slices.Contains(whose, demo.Carol); whose, all = g.Stale() {
		if all { // a late lease has everything looked at, but not every time
			if late++; late > 3 {
				t.Fatal("of one something is changed, and it is stale of anybody")
			}
			n.Watch.Notify("audience/" + demo.Carol.String())
		}
		<-woken // it is read by itself
	}
	unsure("one's audience has changed")
	settled("whoever blocks is not seen", 1)
	n.Watch.Notify("presence/" + demo.Bob.String() + "/" + primary)
	for whose, all := g.Stale(); !all; whose, all = g.Stale() {
		if slices.Contains(whose, demo.Bob) {
			t.Fatal("the viewer itself has changed, and it is not stale of anybody")
		}
		<-woken
	}
	n.stop()
	<-n.done // nobody reads any more
	n.Watch.Notify("presence/" + demo.Bob.String() + "/" + primary)
	unsure("the viewer itself has changed")
}
