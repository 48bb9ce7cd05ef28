package presence

import (
	"testing"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// Offline holds, though the node that saw the last activity has a clock that is
// ahead of the one that is told.
func TestOfflineHoldsWhateverTheClocks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	r.connect(one, demo.Alice)
	r.holdBack()
	r.exec(`update realtime.sessions set last_active_at = clock_timestamp() + interval '1 second' where user_id = $1`, demo.Alice)
	if _, err := two.Edit.SetStatus(t.Context(), as(demo.Alice), Offline, nil); err != nil {
		t.Fatal(err)
	}
	if got := r.see(two, as(demo.Bob), demo.Alice); got.Status != Offline {
		t.Errorf("parked: %+v", got)
	}
}

// A node that does not know yet that another has parked its socket's session
// writes nothing to count it again, and yet the later choice holds.
func TestAStatusChosenWhileParkingIsOnItsWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	alice := r.connect(one, demo.Alice)
	r.holdBack()
	if _, err := two.Edit.SetStatus(t.Context(), as(demo.Alice), Offline, nil); err != nil {
		t.Fatal(err)
	}
	if got := r.see(two, as(demo.Bob), demo.Alice); got.Status != Offline {
		t.Fatalf("parked: %+v", got)
	}
	if _, err := one.Edit.SetStatus(t.Context(), alice, Busy, nil); err != nil {
		t.Fatal(err)
	}
	r.release()
	eventually(t, "she is busy", func() bool { return r.see(two, as(demo.Bob), demo.Alice).Status == Busy })
}

// To choose is to be there: whoever had gone idle is so no more.
func TestAStatusChosenByTheIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connectIdle(n, demo.Alice)
	bob := r.watch(n, as(demo.Bob), demo.Alice)
	until(t, bob, func(v View) bool { return v.Status == Away })
	if _, err := n.Edit.SetStatus(t.Context(), alice, Online, nil); err != nil {
		t.Fatal(err)
	}
	until(t, bob, func(v View) bool { return v.Status == Online })
}
