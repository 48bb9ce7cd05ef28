package feed

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestWhoComesWhileMessagesAreReadIsNotToldOfDeletions: a stream of a channel begins
// between the question whose messages anybody waits for, and their coming. Those not
// asked for are still to be read; else they are told as messages that are no more.
func TestWhoComesWhileMessagesAreReadIsNotToldOfDeletions(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	s := newService(pool, &bells{})
	mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, 'x')`, fixed('m', 1), fixed('c', 0))
	if err := s.sequencer.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := loadState(t.Context(), pool, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	list, err := loadFor(t.Context(), pool, viewer.Of("primary", fixed('u', 0)), []uuid.UUID{fixed('c', 0)}, false, 0, st.pos, tailRead)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	watched := false
	items, err := s.fill(t.Context(), pool, list[len(list)-1:], held, func(Entry) bool { defer func() { watched = true }(); return watched })
	if err != nil || len(items) != 1 || !watched {
		t.Fatalf("%v, %v", items, err)
	}
	if n, _, err := s.load(t.Context(), items, streamBytes); err != nil || n != 1 || items[0].Body == nil {
		t.Errorf("%d, %v: the message is not read: %+v", n, err, items[0])
	}
}

// TestWhatIsHiddenFillsNoPage: of what others read that the viewer may not learn of nothing is
// read, so that it costs no page, no statement and no row; of the rest whatever it may concern.
func TestWhatIsHiddenFillsNoPage(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	s, me, other, c := newService(pool, &bells{}), viewer.Of("primary", fixed('u', 0)), fixed('u', 1), fixed('c', 0)
	start, err := s.Sync(t.Context(), me, Query{})
	for err == nil && start.More {
		start, err = s.Sync(t.Context(), me, Query{Cursor: start.Cursor})
	}
	if err != nil {
		t.Fatal(err)
	}
	before, err := loadState(t.Context(), pool, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	const mark = `
with v as (
  insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, delivered_from, at, read_public, delivered_public, held, shown_to, hidden_from, read_hidden_from)
  select $1, $2, 0, 1, true, 0, now(), $4, $5, $6, $7, $8, $9 from generate_series(1, $3) returning id)
select realtime.note_marks($2, array_agg($1::uuid), array_agg(1::bigint), array_agg(v.id)) from v`
	nobody := []uuid.UUID{}
	only := []uuid.UUID{me.User}
	mustExec(t, pool, `select realtime.note_marks($2, array[$1::uuid], array[1::bigint], array[null::bigint])`, c, other)
	mustExec(t, pool, mark, c, other, pageEntries+1, true, true, true, nil, nobody, nobody)     // it hides
	mustExec(t, pool, mark, c, other, 1, true, true, false, []uuid.UUID{other}, nobody, nobody) // shown to others
	mustExec(t, pool, mark, c, other, 1, true, true, false, nil, only, nobody)                  // hidden from the viewer
	mustExec(t, pool, mark, c, other, 1, true, false, false, nil, nobody, only)                 // not returned
	mustExec(t, pool, mark, c, other, 1, false, true, false, nil, nobody, nobody)               // received
	mustExec(t, pool, mark, c, other, 1, true, false, false, only, nobody, nobody)              // read
	mustExec(t, pool, `select realtime.note_marks($2, array[$1::uuid], array[1::bigint], array[null::bigint])`, c, me.User)
	id := say(t, pool, c)
	page, err := s.Sync(t.Context(), me, Query{Cursor: start.Cursor})
	if err != nil || page.More || len(page.Messages) != 1 || texts(page.Messages)[0].ID != id {
		t.Errorf("%+v, %v", page, err)
	}
	now, err := loadState(t.Context(), pool, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	list, err := loadFor(t.Context(), pool, me, []uuid.UUID{c}, false, before.pos, now.pos, 100)
	if err != nil || len(list) != 4 || list[0].User != other || list[1].User != other || list[2].User != me.User || list[3].Message != id {
		t.Errorf("%+v, %v", list, err)
	}
}
