package presence

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/hub"
)

// TestALookEndsTheAsking: what Now asks to be looked at, Look has looked at, also where
// a subscription was poked or closed.
func TestALookEndsTheAsking(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.node(quick).Watch.Changes(as(demo.Bob), []uuid.UUID{demo.Alice})
	defer c.Close()
	look := func() bool {
		t.Helper()
		_, told, err := c.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	if !look() || look() {
		t.Fatal("it begins with the one user")
	}
	c.t.sub.Poke()
	if _, _, ok := c.Now(); ok {
		t.Fatal("poked, and nobody is to look")
	}
	if look() {
		t.Error("told what nobody changed")
	}
	if _, told, ok := c.Now(); told || !ok {
		t.Error("looked at, and still to be looked at")
	}
	c.t.sub.Close()
	if _, _, ok := c.Now(); ok {
		t.Error("closed, and nothing to be looked at")
	}
	if _, _, err := c.Look(t.Context()); !errors.Is(err, hub.ErrClosed) {
		t.Errorf("after its end: %v", err)
	}
}
