package presence

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

func TestWhoMaySeeWhomTyping(t *testing.T) {
	t.Parallel()
	for bits := range 1 << 8 {
		b := func(i int) bool { return bits>>i&1 == 1 }
		for _, vis := range []Visibility{Everyone, Contacts, Nobody, ""} {
			rec := target()
			rec.known, rec.settings.InvisibleMode = b(0), b(1)
			if b(2) {
				rec.hiddenSince = ptr(noon)
			}
			rec.settings.BroadcastTyping, rec.settings.TypingVisibility = b(3), vis
			rel := relation{self: b(4), viewer: b(5), blocked: b(6), contact: b(7)}
			want := b(0) && !b(1) && !b(2) && b(3) && !b(4) && b(5) && !b(6) && (vis == Everyone || vis == Contacts && b(7))
			if got := mayType(rec, rel); got != want {
				t.Fatalf("%08b %q: %v", bits, vis, got)
			}
		}
	}
}

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
