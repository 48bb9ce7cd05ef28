package presence

import (
	"testing"

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
		return may[u]
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
	g.Close()
	if err := g.Changed(t.Context()); err == nil {
		t.Fatal("a closed gate goes on")
	}
	if len(n.Watch.mirror.entries) != 0 {
		t.Fatal("something is still watched")
	}
}
