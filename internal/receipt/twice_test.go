package receipt_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestAThreadInTwoChannels: read in both by turns, each message is counted once for
// each who has read it, and whoever has read one has it; alone and together, and once
// its moves are folded.
func TestAThreadInTwoChannels(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.exec(`delete from public.nchat_blocked_users`)
	thread := r.thread()
	type told struct {
		channel    uuid.UUID
		has, reads map[uuid.UUID]bool
	}
	var ids []uuid.UUID
	all := map[uuid.UUID]told{}
	dice := rand.New(rand.NewPCG(1, 7)) //nolint:gosec // a test's dice
	for range 40 {
		channel := []uuid.UUID{demo.Team, demo.General}[dice.IntN(2)]
		if dice.IntN(3) == 0 || len(ids) < 2 {
			id := uuid.New()
			r.exec(`insert into public.nchat_messages (id, channel_id, thread_id, user_id, content) values ($1, $2, $3, $4, 'x')`, id, channel, thread, demo.Alice)
			ids, all[id] = append(ids, id), told{channel, map[uuid.UUID]bool{}, map[uuid.UUID]bool{}}
			continue
		}
		at, who, read := dice.IntN(len(ids)), []uuid.UUID{demo.Bob, demo.Carol}[dice.IntN(2)], dice.IntN(3) > 0
		r.ack(who, all[ids[at]].channel, ids[at], read)
		for _, id := range ids[:at+1] {
			if x := all[id]; x.channel == all[ids[at]].channel {
				x.has[who] = true
				if read {
					x.reads[who] = true
				}
			}
		}
	}
	check := func(what string) {
		t.Helper()
		together, err := r.s.Deliveries(t.Context(), as(demo.Alice), ids)
		if err != nil || len(together) != len(ids) {
			t.Fatal(what, len(together), err)
		}
		for i, id := range ids {
			if x, d := all[id], together[i]; d.DeliveredCount != len(x.has) || d.ReadCount != len(x.reads) || d.ReadCount > d.DeliveredCount || (d.ReadAt != nil) != (d.ReadCount > 0) {
				t.Errorf("%s, message %d: %+v, want %d, read by %d", what, i, d, len(x.has), len(x.reads))
			}
		}
		if d := r.delivery(demo.Alice, ids[0]); d.DeliveredCount != together[0].DeliveredCount || d.ReadCount != together[0].ReadCount {
			t.Errorf("%s, the first alone: %+v, together %+v", what, d, together[0])
		}
	}
	if n := r.count(`select count(*) from realtime.moves v join realtime.moves o on o.channel_id = v.channel_id and o.user_id = v.user_id and o.thread = v.thread
	  and v.id < o.id and o.from_seq < v.to_seq`); n == 0 {
		t.Error("nobody passed the same twice")
	}
	check("as it was")
	r.age(1)
	r.fold()
	check("folded")
}
