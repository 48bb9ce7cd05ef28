package feed

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
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
	mustExec(t, pool, `update public.nchat_channels set type = 'public' where id = $1`, channels[0])
	for p := mustSync(t, s, v, Query{First: 10}); ; p = mustSync(t, s, v, Query{Cursor: p.Cursor, First: 10}) {
		if len(p.Deleted) > 0 || p.Total > 0 {
			t.Errorf("a fresh start tells of %d that were emptied, and counts %d", len(p.Deleted), p.Total)
		}
		if !p.More {
			break
		}
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

// TestMessagesThatAreNoMoreAreForgotten: with their versions, once nobody can ask for them;
// what is only not published, what came again, and what is not so old, are not.
func TestMessagesThatAreNoMoreAreForgotten(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	ids := make([]uuid.UUID, 6)
	for i := range ids {
		ids[i] = say(t, pool, channels[0])
	}
	mustSync(t, s, v, Query{})
	mustExec(t, pool, `update public.nchat_messages set content = 'y' where channel_id = $1`, channels[0])
	gone, withdrawn, back, young := ids[:2], ids[2], ids[3], ids[4]
	mustExec(t, pool, `delete from public.nchat_messages where id = any ($1)`, gone)
	mustExec(t, pool, `update public.nchat_messages set scheduled_at = 'infinity', published_at = null where id = $1`, withdrawn)
	mustExec(t, pool, `delete from public.nchat_messages where id = $1`, back)
	mustSync(t, s, v, Query{})
	mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, 'x')`, back, channels[0])
	start := mustSync(t, s, v, Query{}).Cursor
	rows := func(of ...uuid.UUID) int64 {
		return number(t, pool, `select count(*) from (select message_id from realtime.messages union all select message_id from realtime.revisions) x where x.message_id = any ($1)`, of)
	}
	sweepUntil(t, s, "what is young stays", func() bool { return true })
	if n := rows(gone...); n != 4 {
		t.Fatalf("%d rows are left of what was just deleted", n)
	}
	mustExec(t, pool, `update realtime.messages set gone_at = null where message_id = $1`, gone[0]) // from before there was a time
	if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, `update realtime.messages set gone_at = gone_at - interval '33 days'`)
	mustExec(t, pool, `delete from public.nchat_messages where id = $1`, young)
	p := mustSync(t, s, v, Query{Cursor: start})
	if len(p.Deleted) != 1 {
		t.Errorf("deleted since: %v", p.Deleted)
	}
	if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if n := rows(gone...); n != 0 {
		t.Errorf("%d rows are left of what is no more", n)
	}
	if n := number(t, pool, `select count(*) from realtime.messages where gone <> (gone_at is not null)`); n != 0 {
		t.Errorf("%d are gone without a time, or have one and are there", n)
	}
	if n := rows(withdrawn, back, young); n != 6 {
		t.Errorf("%d rows are left of what may come again, came again, or just went", n)
	}
	mustExec(t, pool, `update public.nchat_messages set scheduled_at = null where id = $1`, withdrawn)
	mustSync(t, s, v, Query{Cursor: p.Cursor})
	if n := number(t, pool, `select version from realtime.revisions where message_id = $1`, withdrawn); n < 3 {
		t.Errorf("what is published again is version %d", n)
	}
	page, err := s.Past.Page(t.Context(), v, HistoryQuery{Channel: channels[0]})
	if err != nil || len(page.Messages) != 3 {
		t.Errorf("the past has %+v: %v", page.Messages, err)
	}
	if err := Noted(t.Context(), pool); err != nil {
		t.Error(err)
	}
}

// TestWhatIsThereHoldsUpNoSweep: messages that are not published any more, however many, are
// looked at once in a while, and not before all others each time.
func TestWhatIsThereHoldsUpNoSweep(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	for range 20 {
		say(t, pool, channels[0])
	}
	gone := say(t, pool, channels[0])
	mustSync(t, s, v, Query{})
	mustExec(t, pool, `update public.nchat_messages set scheduled_at = 'infinity', published_at = null where channel_id = $1 and id <> $2`, channels[0], gone)
	mustExec(t, pool, `delete from public.nchat_messages where id = $1`, gone)
	mustSync(t, s, v, Query{})
	mustExec(t, pool, `update realtime.messages set gone_at = gone_at - case when message_id = $1 then interval '33 days' else interval '34 days' end where gone`, gone)
	for i, want := range []int64{10, 10, 1, 0} {
		if n := number(t, pool, `select realtime.sweep_gone('32 days', 10)`); n != want {
			t.Errorf("turn %d looks at %d, want %d", i, n, want)
		}
	}
	if n := number(t, pool, `select count(*) from realtime.messages where message_id = $1`, gone); n != 0 {
		t.Error("what is no more stays")
	}
	if n := number(t, pool, `select count(*) from realtime.messages where channel_id = $1 and gone`, channels[0]); n != 20 {
		t.Errorf("%d are left of what is there", n)
	}
}

// TestForgettingLooksAtFew entries, however many there are that are not old.
func TestForgettingLooksAtFew(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	s := newService(pool, &bells{})
	mustExec(t, pool, `insert into realtime.log (pos, at, tenant, channel_id, kind, seq, mark)
		select i, now() - case when i <= 100 then interval '2 hours' else interval '0' end, 'primary', $1, 'channel', 0, 1 from generate_series(1, 20000) i`, fixed('c', 0))
	mustExec(t, pool, `insert into realtime.message_versions (message_id, version, at)
		select gen_random_uuid(), 1, now() - case when i % 200 = 0 then interval '2 hours' else interval '0' end from generate_series(1, 20000) i`)
	mustExec(t, pool, `insert into realtime.stints (channel_id, user_id, from_seq, to_seq, ended_at)
		select $1, gen_random_uuid(), 1, 1, now() - case when i % 200 = 0 then interval '2 hours' else interval '0' end from generate_series(1, 20000) i`, fixed('c', 0))
	mustExec(t, pool, `vacuum analyze realtime.log, realtime.message_versions, realtime.stints`)
	for _, c := range []struct {
		q    string
		args []any
	}{{forgetLog, []any{s.o.Retention, 1000}}, {forgetVersions, []any{1000, s.o.Retention}}, {forgetStints, []any{1000, s.o.Retention}}} {
		n, plan := pgtest.Looked(t, pool, c.q, c.args...)
		if n > 1000 {
			t.Errorf("%g rows are looked at:\n%s", n, plan)
		}
	}
	if n := number(t, pool, `select count(*) from realtime.log`); n != 19900 || number(t, pool, `select floor from realtime.head`) != 100 {
		t.Errorf("%d are left", n)
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
