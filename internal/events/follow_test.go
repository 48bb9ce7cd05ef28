package events

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// TestWhatCouldNotBeMadeForAllIsMadeForEach: a panic as one viewer is told costs the
// others the sharing, and nothing else.
func TestWhatCouldNotBeMadeForAllIsMadeForEach(t *testing.T) {
	t.Parallel()
	r := newRig(t).run()
	var all []*MessageReader
	woken := wait.NewFlag()
	for _, u := range []uuid.UUID{demo.Bob, demo.Carol} {
		x, err := r.ReadMessages(t.Context(), viewer.Of("primary", u), demo.General, "hole")
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		for quiet := false; !quiet; _, quiet = x.Now() {
			if _, err := x.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, x)
	}
	all[0].Woken(woken.Raise)
	id := r.says(demo.Alice, demo.General, "hello")
	var items []*feed.Item
	for len(items) == 0 {
		<-woken
		var ok bool
		if items, ok = all[0].t.st.Now(); !ok {
			t.Fatal("a message in memory has to be waited for")
		}
	}
	func() {
		defer func() { _ = recover() }()
		items[0].Once(feed.ForMessages, func() any { panic("a bug") })
	}()
	mine := all[0].told(items)[0]
	if m := mine.Event.Message; m.ID != id || *m.Content != "hello" || mine.Cursor == "" || mine.Event.Cursor != "hole" || !mine.Alike {
		t.Errorf("%+v", mine)
	}
	others, ok := all[1].Now()
	if !ok || len(others) != 1 || !others[0].Alike || others[0].Class != mine.Class {
		t.Errorf("%+v, %v", others, ok)
	}
}
