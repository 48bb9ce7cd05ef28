package message

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// thread is the demo world's, in its general channel.
var thread = uuid.MustParse("00000000-0000-4000-a000-000000000001")

// nchatRig is the demo world in nchat's own tables, with nchat's own triggers.
func nchatRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, pool: pgtest.Nchat(t)}
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	o := Options{Pool: r.pool, Committed: func() {}, Settle: r.settle, Content: 10000, Batch: 100, Log: slog.New(slog.DiscardHandler)}
	r.one, r.two = New(o), New(o)
	return r
}

// TestAnAppsTriggersFindTheirTables: by the search path of whoever sends, and not by that of a
// function of ours; which for the rest of what it does has its own back.
func TestAnAppsTriggersFindTheirTables(t *testing.T) {
	t.Parallel()
	r := nchatRig(t)
	counts := func() [2]int {
		return [2]int{r.count(`select message_count from public.nchat_channels where id = $1`, demo.General), r.count(`select message_count from public.nchat_threads where id = $1`, thread)}
	}
	before := counts()
	in := say("k", demo.General, "hello")
	in.Thread = &thread
	res := r.send(r.one, as(demo.Bob), in)
	if res.Err != nil || res.Message == nil {
		t.Fatal(res.Err)
	}
	if now := counts(); now != [2]int{before[0] + 1, before[1] + 1} {
		t.Errorf("%v messages of the channel and of the thread, before it %v", now, before)
	}
	if m, _, err := r.one.Edit(t.Context(), as(demo.Bob), res.Message.ID, "there", 1); err != nil || *m.Content != "there" {
		t.Error("edited:", err)
	}
	if _, err := r.one.Delete(t.Context(), as(demo.Bob), res.Message.ID); err != nil {
		t.Error("deleted:", err)
	}
	if again := r.send(r.one, as(demo.Bob), in); again.Err != nil || !again.Duplicate {
		t.Errorf("once more: %+v", again)
	}
}
