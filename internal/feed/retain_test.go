package feed

import (
	"testing"
	"time"

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
	if p, err := s.Past.Page(t.Context(), v, HistoryQuery{Channel: channels[0]}); err != nil || len(p.Messages) > 0 || p.Start != "" || p.More {
		t.Errorf("the past of what was emptied: %+v, %v", p, err)
	}
	say(t, pool, channels[1])
	sweepUntil(t, s, "what was emptied is ended", func() bool {
		return number(t, pool, `select count(*) from realtime.messages where not gone and channel_id = $1`, channels[0]) == 0
	})
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
	sweepUntil(t, s, "a channel that is no more is forgotten", func() bool { return left() == 0 }) // the log first, then what it spoke of
	if p := mustSync(t, s, v, Query{}); len(p.Messages) != 1 {
		t.Errorf("another channel's messages: %+v", p.Messages)
	}
}

// sweepUntil sweeps until something is so: a turn that meets the sequencer at the
// log leaves what it could not do to the next.
func sweepUntil(t *testing.T, s *Service, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
		if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
			t.Fatal(err)
		}
	}
}
