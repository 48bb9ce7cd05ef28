package feed

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// TestEachRoundBeginsAfterWhoeverWaitsForIt: any number of callers share two
// runs, the one under way when they came being none of theirs.
func TestEachRoundBeginsAfterWhoeverWaitsForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r rounds
		var begun atomic.Int64
		gate := make(chan struct{})
		job := func(context.Context) error { begun.Add(1); <-gate; return nil }
		first := make(chan error, 1)
		go func() { first <- r.join(t.Context(), job) }()
		synctest.Wait()
		rest := make(chan error, 50)
		for range 50 {
			go func() { rest <- r.join(t.Context(), job) }()
		}
		synctest.Wait()
		if n := begun.Load(); n != 1 || len(rest) != 0 {
			t.Fatalf("%d runs, %d answered before one began for them", n, len(rest))
		}
		gate <- struct{}{}
		synctest.Wait()
		if err := <-first; err != nil || begun.Load() != 2 || len(rest) != 0 {
			t.Fatalf("%v, %d runs, %d answered", err, begun.Load(), len(rest))
		}
		gate <- struct{}{}
		for range 50 {
			if err := <-rest; err != nil {
				t.Fatal(err)
			}
		}
		if n := begun.Load(); n != 2 {
			t.Fatalf("%d runs", n)
		}
	})
}

// TestARoundOutlivesThoseWhoGiveUp: nobody waits for ever for somebody who has
// gone, and a job that panics is an error to the others.
func TestARoundOutlivesThoseWhoGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r rounds
		gate := make(chan struct{})
		stuck := func(ctx context.Context) error { <-gate; return ctx.Err() }
		leads, leave := context.WithCancel(t.Context())
		led := make(chan error, 1)
		go func() { led <- r.join(leads, stuck) }()
		synctest.Wait()
		follows, giveUp := context.WithCancel(t.Context())
		followed := make(chan error, 1)
		go func() { followed <- r.join(follows, stuck) }()
		synctest.Wait()
		giveUp()
		if err := <-followed; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		leave() // it runs the job for the others to its end
		gate <- struct{}{}
		if err := <-led; err != nil {
			t.Fatalf("the run ended with its caller: %v", err)
		}
		synctest.Wait()
		// The round that nobody waits for any more is led by whoever comes.
		go func() { gate <- struct{}{} }()
		if err := r.join(t.Context(), stuck); err != nil {
			t.Fatal(err)
		}
		others := make(chan error, 1)
		func() {
			defer func() { _ = recover() }()
			_ = r.join(t.Context(), func(context.Context) error {
				go func() { others <- r.join(t.Context(), func(context.Context) error { return nil }) }()
				synctest.Wait()
				panic("a bug")
			})
		}()
		if err := <-others; err != nil {
			t.Fatalf("after a panic: %v", err)
		}
	})
}

// TestWhereManyWriteTheySettleTogether: a moment apart they share a run, whatever becomes
// of the first of them; and nobody waits where few write.
func TestWhereManyWriteTheySettleTogether(t *testing.T) {
	t.Parallel()
	for load, want := range map[int]int64{hotLoad: 1, hotLoad - 1: 3} {
		synctest.Test(t, func(t *testing.T) {
			var s sequencer
			s.meter.add(time.Now(), load)
			r := rounds{gather: s.gather}
			var runs atomic.Int64
			job := func(ctx context.Context) error { runs.Add(1); return ctx.Err() }
			leads, leave := context.WithCancel(t.Context())
			defer leave()
			answers, began := make(chan error, 3), time.Now()
			for _, ctx := range []context.Context{leads, t.Context(), t.Context()} {
				go func() { answers <- r.join(ctx, job) }()
				wait.For(t.Context(), time.Millisecond)
				leave()
			}
			for range cap(answers) {
				if err := <-answers; err != nil {
					t.Error(err)
				}
			}
			if n, d := runs.Load(), time.Since(began); n != want || d > gathering {
				t.Errorf("after %d changes three share %d runs in %v", load, n, d)
			}
		})
	}
}

// TestWhoeverSettlesUnderLoadPromisesToLook: or everybody's writers would ring
// for each message while this node's own are numbered without.
func TestWhoeverSettlesUnderLoadPromisesToLook(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	s := New(Options{Pool: pool, Bell: &bells{}, Log: slog.New(slog.DiscardHandler), Load: loadText})
	settle := func() {
		t.Helper()
		mustExec(t, pool, `insert into public.nchat_messages (channel_id, content) select $1, 'x' from generate_series(1, $2::int)`, fixed('c', 0), hotLoad)
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	settle()
	if s.meter.now < hotLoad {
		t.Errorf("of %d changes it has seen %d", hotLoad, s.meter.now)
	}
	s.meter.since = time.Now().Add(time.Hour) // that is the load of now, however long this takes
	var began time.Time
	if err := pool.QueryRow(t.Context(), `select clock_timestamp()`).Scan(&began); err != nil {
		t.Fatal(err)
	}
	settle()
	const promised = `select count(*) from realtime.head where hot between $1::timestamptz + $2::interval and clock_timestamp() + $2::interval`
	if n := number(t, pool, promised, began, promise); n != 1 {
		t.Error("it has not promised")
	}
	if len(s.wake) != 1 {
		t.Error("nobody keeps the promise")
	}
}

// TestWhoReadsDoesNotWaitForWrites: where nothing can be written what has no number yet
// keeps neither pages nor streams from being answered, and comes once it can.
func TestWhoReadsDoesNotWaitForWrites(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	for what, state := range map[string]string{"read-only": "25006", "a full disk": "53100"} {
		before := mustSync(t, s, v, Query{}).Cursor
		mustExec(t, pool, `create or replace function public.full() returns trigger language plpgsql as $$ begin raise exception 'full' using errcode = '`+state+`'; end $$`)
		mustExec(t, pool, `create trigger a_full before delete on realtime.inbox for each statement execute function public.full()`)
		id := say(t, pool, channels[0])
		if p := mustSync(t, s, v, Query{Cursor: before}); len(p.Messages) != 0 {
			t.Errorf("%s: %v has a number", what, p.Messages)
		}
		x, err := s.Open(t.Context(), v, "", nil)
		if err != nil {
			t.Fatalf("%s: a stream: %v", what, err)
		}
		mustExec(t, pool, `drop trigger a_full on realtime.inbox`)
		if got, kinds := told(t, x, id); len(got) != 1 {
			t.Errorf("%s: the stream was told %s", what, kinds)
		}
		x.Close()
		if got := ids(texts(mustSync(t, s, v, Query{Cursor: before}).Messages)); len(got) != 1 || got[0] != id {
			t.Errorf("%s: %v came after it", what, got)
		}
	}
}
