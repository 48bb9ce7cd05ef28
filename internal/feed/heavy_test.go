package feed

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestABatchTooHeavyIsHalved: what Postgres cannot do at once it does in parts, and
// then more at once again.
func TestABatchTooHeavyIsHalved(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	start := mustSync(t, s, v, Query{}).Cursor
	mustExec(t, pool, `create function public.heavy() returns trigger language plpgsql as $$ begin
		if (select count(*) from many) > 100 then raise 'too many' using errcode = '54000'; end if; return null; end $$`)
	mustExec(t, pool, `create trigger heavy after insert on realtime.log referencing new table as many for each statement execute function public.heavy()`)
	mustExec(t, pool, `insert into public.nchat_messages (channel_id, content) select $1, 'x' from generate_series(1, 300)`, channels[0])
	if p := mustSync(t, s, v, Query{Cursor: start, First: 1000}); len(p.Messages) != 300 {
		t.Errorf("%d messages come of 300", len(p.Messages))
	}
	mustExec(t, pool, `drop trigger heavy on realtime.log`)
	for range 10 {
		mustExec(t, pool, `insert into public.nchat_messages (channel_id, content) select $1, 'x' from generate_series(1, 200)`, channels[0])
		mustSync(t, s, v, Query{})
	}
	if n := s.size.now(); n < 2*100 {
		t.Errorf("a batch has %d changes still", n)
	}
}

// TestANoteThatCannotBePlacedIsPassedOver: those before and after it get their places,
// and it is said and to be found.
func TestANoteThatCannotBePlacedIsPassedOver(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	passed := 0
	s.sequencer.o.PassedOver = func() { passed++ }
	start := mustSync(t, s, v, Query{}).Cursor
	mustExec(t, pool, `update realtime.channels set seq = 9223372036854775807 where channel_id = $1`, channels[0])
	want := []uuid.UUID{}
	for range 3 {
		want = append(want, say(t, pool, channels[1]))
		say(t, pool, channels[0])
	}
	want = append(want, say(t, pool, channels[1]))
	p := mustSync(t, s, v, Query{Cursor: start})
	if len(p.Messages) != len(want) {
		t.Fatalf("%d messages come of %d", len(p.Messages), len(want))
	}
	for i, m := range texts(p.Messages) {
		if m.ID != want[i] {
			t.Errorf("message %d is another", i)
		}
	}
	if passed != 3 {
		t.Errorf("%d are passed over", passed)
	}
	if n := number(t, pool, `select count(*) from realtime.unnoted() u where u.what = 'lacking'`); n != 3 {
		t.Errorf("%d are found", n)
	}
}

// TestWhatComesMeanwhileIsNotPassedOver: a change with a lower number, committed while
// another is tried in vain, is not the one that failed.
func TestWhatComesMeanwhileIsNotPassedOver(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	start := mustSync(t, s, v, Query{}).Cursor
	early, holding := begun(t, pool), begun(t, pool)
	var id uuid.UUID
	if err := early.QueryRow(t.Context(), `insert into public.nchat_messages (channel_id, content) values ($1, 'x') returning id`, channels[1]).Scan(&id); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, `update realtime.channels set seq = 9223372036854775807 where channel_id = $1`, channels[0])
	bad := say(t, pool, channels[0])
	if _, err := holding.Exec(t.Context(), `select from realtime.inbox where message_id = $1 for update`, bad); err != nil {
		t.Fatal(err)
	}
	passed := make(chan error, 1)
	go func() { passed <- s.sequencer.passOver(t.Context(), pool) }()
	pgtest.WaitsForLock(t, pool, 1, nil)
	if err := early.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := holding.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-passed; err != nil {
		t.Fatal(err)
	}
	if p := mustSync(t, s, v, Query{Cursor: start}); len(p.Messages) != 1 || texts(p.Messages)[0].ID != id {
		t.Errorf("%d messages come, want the one that came meanwhile", len(p.Messages))
	}
}

// begun is a transaction that ends with the test.
func begun(t *testing.T, pool *pgxpool.Pool) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

// TestWhatIsNoFaultOfANoteTakesNoneAway: with the database broken everything waits.
func TestWhatIsNoFaultOfANoteTakesNoneAway(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	start := mustSync(t, s, v, Query{}).Cursor
	mustExec(t, pool, `alter table realtime.log rename to was`)
	for range 3 {
		say(t, pool, channels[0])
	}
	if err := s.Settle(t.Context()); err == nil {
		t.Error("nothing is wrong without a log")
	}
	mustExec(t, pool, `alter table realtime.was rename to log`)
	if p := mustSync(t, s, v, Query{Cursor: start}); len(p.Messages) != 3 {
		t.Errorf("%d messages come of 3", len(p.Messages))
	}
}

// TestManyMentionsCountAsTheFirst: whoever names everybody in everything fills no note.
func TestManyMentionsCountAsTheFirst(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	id := say(t, pool, channels[0])
	for what, set := range map[string]string{
		"many":            `array_fill($2::uuid, array[100000])`,
		"of rows":         `array_fill($2::uuid, array[2, 50000])`,
		"counted from 5":  `array_fill($2::uuid, array[2000], array[5])`,
		"nulls at first":  `array_fill(null::uuid, array[100000]) || $2::uuid`,
		"as many as told": `array_fill($2::uuid, array[1000])`,
	} {
		mustExec(t, pool, `update public.nchat_messages set mentions = `+set+` where id = $1`, id, v.User)
		if n := number(t, pool, `select max(cardinality(mentions)) from realtime.inbox`); n > 1000 || n < 1 {
			t.Errorf("%s: a note has %d", what, n)
		}
		mustSync(t, s, v, Query{})
		if n := number(t, pool, `select cardinality(mentions) from realtime.messages where $1::text <> '' and $2::uuid = any (mentions)`, what, v.User); n > 1000 || n < 1 {
			t.Errorf("%s: the log keeps %d", what, n)
		}
	}
}
