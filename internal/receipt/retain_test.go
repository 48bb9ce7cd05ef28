package receipt_test

import (
	"testing"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// TestMovesThatTellNothingAreForgotten: those made in private, and those of a
// channel that is no more; what senders were told stays so.
func TestMovesThatTellNothingAreForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	m := r.say(demo.Team, demo.Alice)
	r.ack(demo.Carol, demo.Team, m, true)
	r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false), AllowDeliveryReceipts: ptr(false)})
	r.ack(demo.Bob, demo.Team, m, true)
	before := r.delivery(demo.Alice, m)
	sweep := func(left int) {
		t.Helper()
		if err := sweep.All(t.Context(), r.s.Sweeps()...); err != nil {
			t.Fatal(err)
		}
		if n := r.count(`select count(*) from realtime.moves where channel_id = $1`, demo.Team); n != left {
			t.Errorf("%d moves are left, want %d", n, left)
		}
	}
	sweep(1)
	if after := r.delivery(demo.Alice, m); after.ReadCount != before.ReadCount || after.DeliveredCount != before.DeliveredCount || after.ReadCount != 1 {
		t.Errorf("told %+v, and before %+v", after, before)
	}
	r.exec(`delete from public.nchat_channels where id = $1`, demo.Team)
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	sweep(1)
	r.exec(`delete from realtime.log`)
	sweep(0)
}
