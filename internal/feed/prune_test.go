package feed

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// TestForgettingAtAnyMoment: a reader who pages on while entries are forgotten
// behind it, before it and under its cursor has every message at the end, in
// order, or was told to begin anew.
func TestForgettingAtAnyMoment(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			pool, s, v, channels := reading(t)
			dice := rand.New(rand.NewPCG(seed, 14)) //nolint:gosec // a test's dice
			said, have := map[uuid.UUID]bool{}, map[uuid.UUID]bool{}
			cursor, resets := "", 0
			page := func() bool {
				p := mustSync(t, s, v, Query{Cursor: cursor, First: 3})
				if p.Reset != "" {
					if p.Reset != Expired || cursor == "" {
						t.Fatalf("reset as %q after %q", p.Reset, cursor)
					}
					resets++
					clear(have)
				}
				for _, m := range texts(p.Messages) {
					have[m.ID] = true
				}
				cursor = p.Cursor
				return p.More
			}
			for range 120 {
				switch dice.IntN(4) {
				case 0, 1:
					said[say(t, pool, channels[dice.IntN(len(channels))])] = true
				case 2:
					page()
				case 3:
					mustExec(t, pool, `update realtime.log l set at = l.at - interval '2 hours' where l.pos <= realtime.log_floor() + $1`, dice.IntN(8))
					if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
						t.Fatal(err)
					}
				}
			}
			for page() {
			}
			for id := range said {
				if !have[id] {
					t.Errorf("%v was never told, after %d resets", id, resets)
				}
			}
			t.Logf("%d messages, %d resets", len(said), resets)
		})
	}
}

// TestAChannelThatIsNoMoreLeavesNothing: not even its row, once its receipts have
// gone; one that comes again under its id begins anew.
func TestAChannelThatIsNoMoreLeavesNothing(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	gone := channels[0]
	say(t, pool, gone)
	mustSync(t, s, v, Query{})
	mustExec(t, pool, `insert into realtime.marks (channel_id, user_id, read_seq, delivered_seq) values ($1, $2, 1, 1)`, gone, v.User)
	mustExec(t, pool, `delete from public.nchat_channels where id = $1`, gone)
	mustSync(t, s, v, Query{})
	mustExec(t, pool, `update realtime.log set at = at - interval '2 hours'`)
	forget := func() {
		t.Helper()
		for range 3 {
			if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
				t.Fatal(err)
			}
		}
	}
	forget()
	if n := number(t, pool, `select count(*) from realtime.channels where channel_id = $1`, gone); n != 1 {
		t.Fatal("forgotten before its marks, which nobody would find then")
	}
	mustExec(t, pool, `select realtime.forget_receipts(1000)`)
	forget()
	for _, table := range []string{"channels", "messages", "stints", "gates", "marks", "moves", "backfill"} {
		if n := number(t, pool, `select count(*) from realtime.`+table+` where channel_id = $1`, gone); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	mustExec(t, pool, `insert into public.nchat_channels (id, name, slug, type) values ($1, 'again', 'again', 'private')`, gone)
	mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, gone, v.User)
	id := say(t, pool, gone)
	p := mustSync(t, s, v, Query{})
	found := false
	for _, m := range texts(p.Messages) {
		found = found || m.ID == id
	}
	if !found {
		t.Error("what is said there now is not told")
	}
}

// TestComingAndGoingLeavesNothing where nothing was said meanwhile.
func TestComingAndGoingLeavesNothing(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	mustSync(t, s, v, Query{})
	stints := func() int64 {
		return number(t, pool, `select count(*) from realtime.stints where channel_id = $1 and user_id = $2`, channels[0], v.User)
	}
	before := stints()
	for range 5 {
		mustExec(t, pool, `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, channels[0], v.User)
		mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, channels[0], v.User)
		mustSync(t, s, v, Query{})
	}
	if n := stints(); n != before+5 {
		t.Fatalf("%d stints after %d, and this tests nothing", n, before)
	}
	mustExec(t, pool, `update realtime.stints set ended_at = ended_at - interval '2 hours'`)
	if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if n := stints(); n > before+1 {
		t.Errorf("%d stints are left of %d", n, before)
	}
	id := say(t, pool, channels[0])
	if p := mustSync(t, s, v, Query{}); len(p.Messages) == 0 || texts(p.Messages)[0].ID != id {
		t.Errorf("whoever came again is told %+v", p.Messages)
	}
}
