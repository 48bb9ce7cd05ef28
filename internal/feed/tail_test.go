package feed

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// TestTheTailIsBounded: by entries, and by what their messages take; streams
// that still read what was there are not disturbed.
func TestTheTailIsBounded(t *testing.T) {
	t.Parallel()
	x := newTail()
	body := text{Said: "x"}
	big := func(pos int64, size int) Item {
		return Item{Entry: Entry{Pos: pos, Kind: Created, Channel: uuid.New()}, Body: body, loaded: true, size: size}
	}
	pos := int64(0)
	for range 70 { // of a megabyte each
		pos++
		x.push([]Item{big(pos, 1<<20)})
		if x.bytes > 2*held+1<<20 {
			t.Fatalf("%d bytes at %d", x.bytes, pos)
		}
	}
	before, _, ok := x.since(0)
	if !ok || len(before) != 70 {
		t.Fatalf("%d entries", len(before))
	}
	var with int
	for _, it := range before {
		if it.Body != nil {
			with++
		} else if it.loaded {
			t.Fatal("a message that was dropped counts as read")
		}
	}
	if with < 16 || with > 33 || before[69].Body == nil {
		t.Fatalf("%d messages are kept", with)
	}
	for range 3 * kept {
		pos++
		x.push([]Item{big(pos, 1)})
		if len(x.items) > 2*kept || pos > 2*kept && len(x.items) < kept {
			t.Fatalf("%d entries", len(x.items))
		}
	}
	if list, _, ok := x.since(pos - kept); !ok || len(list) != kept || list[0].Pos != pos-kept+1 {
		t.Fatalf("%v, %d entries", ok, len(list))
	}
	if before[69].Pos != 70 {
		t.Fatal("what a stream reads was written over")
	}
}

// TestWhatWasTakenBackIsToldNobody: who comes back gets a message as it is now,
// also where the server remembers it as it was.
func TestWhatWasTakenBackIsToldNobody(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	start := mustSync(t, s, v, Query{}).Cursor
	live, err := s.Open(t.Context(), v, start, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	id := say(t, pool, channels[0])
	told(t, live, id)
	mustExec(t, pool, `update public.nchat_messages set is_deleted = true where id = $1`, id)
	told(t, live, id)
	_, now, _ := s.tail.since(0)
	if items, _, ok := s.tail.since(now.pos - 2); !ok || items[0].Body == nil || items[0].Body.(text).Erased {
		t.Fatalf("the tail does not remember it, and this tests nothing: %+v", items)
	}
	back, err := s.Open(t.Context(), v, start, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	for seen := 0; seen < 2; {
		b, err := back.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range b.Items {
			if it.Message != id {
				continue
			}
			if seen++; it.Body != nil && !it.Body.(text).Erased {
				t.Errorf("%s tells %q", it.Kind, it.Body.(text).Said)
			}
		}
	}
}

// TestAStormOfEditsIsReadOnce: what was changed again within a batch is told as the last
// change found it, and no stream reads it for itself.
func TestAStormOfEditsIsReadOnce(t *testing.T) {
	t.Parallel()
	pool, _, v, channels := reading(t)
	var loads atomic.Int64
	s := newService(pool, &bells{})
	load := s.o.Load
	s.o.Load = func(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Body, error) {
		loads.Add(1)
		return load(ctx, db, tenant, ids)
	}
	run(t, s)
	var list []*Stream
	for range 20 {
		x, err := s.Open(t.Context(), v, "", channels[:1])
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		for live := false; !live; {
			b, err := x.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			live = b.Live
		}
		list = append(list, x)
	}
	_, st, _ := s.tail.since(0)
	begun, id := st.pos, say(t, pool, channels[0])
	const edits = 5
	for i := range edits {
		mustExec(t, pool, `update public.nchat_messages set content = $2 where id = $1`, id, fmt.Sprint("edit ", i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for known := 0; known <= edits; {
		if !wait.For(ctx, 5*time.Millisecond) {
			t.Fatal("the tail does not come so far")
		}
		items, _, _ := s.tail.since(begun)
		known = len(items)
	}
	loads.Store(0)
	for _, x := range list {
		for n := 0; n <= edits; {
			b, err := eitherWay(ctx, x)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range b.Items {
				if n++; it.Message != id || it.Body == nil || it.Body.(text).Said != fmt.Sprint("edit ", edits-1) {
					t.Errorf("%s tells %+v", it.Kind, it.Body)
				}
			}
		}
	}
	if n := loads.Load(); n != 0 {
		t.Errorf("%d loads for %d streams", n, len(list))
	}
}

// TestWhoIsBannedIsNoLongerTold: also whoever never was a member, and read a
// public channel.
func TestWhoIsBannedIsNoLongerTold(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	c := channels[0]
	mustExec(t, pool, `update public.nchat_channels set type = 'public' where id = $1`, c)
	mustExec(t, pool, `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, c, v.User)
	x, err := s.Open(t.Context(), v, "", []uuid.UUID{c})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told(t, x, say(t, pool, c))
	mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id, can_read) values ($1, $2, false)`, c, v.User)
	hidden := say(t, pool, c)
	for err == nil {
		var b Batch
		b, err = x.Next(ctx)
		for _, it := range b.Items {
			if it.Message == hidden {
				t.Error("told after the ban")
			}
		}
	}
	if err.Error() != fault.Access().Error() {
		t.Errorf("it ends with %v", err)
	}
}

// TestWaitingPassesWhatConcernsOthers: whatever much happened that the viewer
// does not see, what it does see is there at once.
func TestWaitingPassesWhatConcernsOthers(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	start := mustSync(t, s, v, Query{}).Cursor
	mustExec(t, pool, `insert into realtime.inbox (channel_id, kind, user_id, seq, ref)
		select $1, 'mark', gen_random_uuid(), 0, -i from generate_series(1, $2::int) i`, channels[0], 2*pageEntries+100)
	id := say(t, pool, channels[0])
	ctx, cancel := context.WithTimeout(t.Context(), MaxWait/2)
	defer cancel()
	p, err := s.Sync(ctx, v, Query{Cursor: start, Wait: MaxWait})
	if err != nil || len(p.Messages) != 1 || texts(p.Messages)[0].ID != id {
		t.Fatalf("%+v %v", p, err)
	}
}

// TestALoneMessagesTrips: one numbers it, one finds it in the log, one reads it.
func TestALoneMessagesTrips(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	counted, trips := pgtest.Counted(t, pool.Config().ConnString())
	s := New(Options{Pool: counted, Bell: &bells{}, Log: slog.New(slog.DiscardHandler), Load: loadText})
	defer s.tail.hub.Subscribe(topic{id: fixed('c', 1)}).Close()
	readOn := func() {
		if _, err := s.readOn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	readOn() // where the log stands
	fewest := 100
	for range 6 { // of which some prepare their statements
		id := say(t, pool, fixed('c', 1))
		fewest = min(fewest, trips.During(func() {
			if err := s.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			readOn()
		}))
		if last := s.tail.items[len(s.tail.items)-1]; last.Message != id || last.Body == nil {
			t.Fatalf("%+v is the last, want %s", last, id)
		}
	}
	if fewest != 3 {
		t.Errorf("%d trips", fewest)
	}
}
