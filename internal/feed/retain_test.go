package feed

import (
	"testing"

	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// TestWhatChannelsLeaveIsForgotten: once the log speaks of it no more; and what
// an emptied channel leaves is ended, however much it is.
func TestWhatChannelsLeaveIsForgotten(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	mustExec(t, pool, `insert into public.nchat_messages (channel_id, content) select $1, 'x' from generate_series(1, 2500)`, channels[0])
	say(t, pool, channels[1])
	mustSync(t, s, v, Query{})
	mustExec(t, pool, `truncate public.nchat_messages cascade`)
	mustSync(t, s, v, Query{})
	if n := number(t, pool, `select count(*) from realtime.messages where not gone`); n != 1500 {
		t.Fatalf("%d are left to the sweep, and this tests nothing", n)
	}
	say(t, pool, channels[1])
	if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if n := number(t, pool, `select count(*) from realtime.messages where not gone`); n != 0 && number(t, pool, `select count(*) from realtime.messages where not gone and channel_id = $1`, channels[0]) != 0 {
		t.Errorf("%d are still there", n)
	}
	mustExec(t, pool, `delete from public.nchat_channels where id = $1`, channels[0])
	mustSync(t, s, v, Query{})
	left := func() int64 {
		return number(t, pool, `select (select count(*) from realtime.messages where channel_id = $1) + (select count(*) from realtime.stints where channel_id = $1)`, channels[0])
	}
	if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if left() == 0 {
		t.Error("forgotten although the log speaks of it")
	}
	mustExec(t, pool, `update realtime.log set at = at - interval '2 hours'`)
	for range 2 { // the log first, then what it spoke of
		if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
			t.Fatal(err)
		}
	}
	if n := left(); n != 0 {
		t.Errorf("%d rows are left of a channel that is no more", n)
	}
	if p := mustSync(t, s, v, Query{}); len(p.Messages) != 1 {
		t.Errorf("another channel's messages: %+v", p.Messages)
	}
}
