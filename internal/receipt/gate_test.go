package receipt_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// TestWhoMayLearnOfAMove: the three gates of a move, each condition by itself.
func TestWhoMayLearnOfAMove(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	maker, viewer, other := uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}
	none := []uuid.UUID{}
	open := map[string]any{"user_id": maker, "read": true, "read_public": true, "delivered_public": true, "held": false,
		"hidden_from": none, "read_hidden_from": none}
	for what, c := range map[string]struct {
		change             map[string]any
		who                uuid.UUID
		shown, read, toAll bool
	}{
		"open to all":                     {nil, viewer, true, true, true},
		"its maker":                       {nil, maker, false, true, true},
		"held":                            {map[string]any{"held": true}, viewer, false, true, false},
		"shown to it":                     {map[string]any{"shown_to": []uuid.UUID{other, viewer}}, viewer, true, true, false},
		"shown to others":                 {map[string]any{"shown_to": []uuid.UUID{other}}, viewer, false, true, false},
		"shown to nobody":                 {map[string]any{"shown_to": none}, viewer, false, true, false},
		"hidden from it":                  {map[string]any{"hidden_from": []uuid.UUID{other, viewer}}, viewer, false, true, false},
		"hidden from others":              {map[string]any{"hidden_from": []uuid.UUID{other}}, viewer, true, true, false},
		"shown to and hidden":             {map[string]any{"shown_to": []uuid.UUID{viewer}, "hidden_from": []uuid.UUID{viewer}}, viewer, false, true, false},
		"received only":                   {map[string]any{"read": false, "read_public": false}, viewer, true, false, false},
		"reading that is private":         {map[string]any{"read_public": false}, viewer, true, false, false},
		"not read, though that is public": {map[string]any{"read": false}, viewer, true, false, false},
		"reading not returned to it":      {map[string]any{"read_hidden_from": []uuid.UUID{viewer}}, viewer, true, false, false},
		"reading not returned to others":  {map[string]any{"read_hidden_from": []uuid.UUID{other}}, viewer, true, true, false},
	} {
		move := maps.Clone(open)
		maps.Copy(move, c.change)
		row, err := json.Marshal(move)
		if err != nil {
			t.Fatal(err)
		}
		var shown, read, toAll bool
		const q = `
select realtime.shown(v, $2), realtime.reading_shown(v, $2), realtime.told_to_all(v)
  from jsonb_populate_record(null::realtime.moves, $1::jsonb) v`
		if err := pool.QueryRow(t.Context(), q, string(row), c.who).Scan(&shown, &read, &toAll); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if shown != c.shown || read != c.read || toAll != c.toAll {
			t.Errorf("%s: shown %t, its reading %t, to all %t", what, shown, read, toAll)
		}
	}
}

// TestAMoveThatTellsNothingIsToldNobody, whatever else is written of it: one whose
// delivery and reading are private has no part in counts, lists and news.
func TestAMoveThatTellsNothingIsToldNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	m := r.say(demo.Team, demo.Alice)
	r.ack(demo.Bob, demo.Team, m, true)
	ask := func() (n int) {
		t.Helper()
		moves := r.moves()
		learns, err := receipt.Senders(t.Context(), r.pool, moves)
		if err != nil {
			t.Fatal(err)
		}
		passed, err := r.s.Passed(t.Context(), as(demo.Alice), moves)
		if err != nil {
			t.Fatal(err)
		}
		return r.delivery(demo.Alice, m).DeliveredCount + len(learns) + len(passed)
	}
	if n := ask(); n < 3 {
		t.Fatalf("a public one is told %d times", n)
	}
	r.exec(`update realtime.moves set delivered_public = false, read_public = false`)
	if n := ask(); n != 0 {
		t.Errorf("it is told %d times", n)
	}
	r.exec(`update realtime.moves set read_public = true, held = true`)
	if n := ask(); n != 0 {
		t.Errorf("one that is held is told %d times", n)
	}
}

// TestWhoLeftIsToldOfNothing: who reads on in a channel is not its former member's to know.
func TestWhoLeftIsToldOfNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	m := r.say(demo.Team, demo.Alice)
	r.ack(demo.Bob, demo.Team, m, true)
	if d := r.delivery(demo.Alice, m); d.ReadCount != 1 {
		t.Fatalf("a member is told %+v", d)
	}
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Alice)
	list, err := r.s.Deliveries(t.Context(), as(demo.Alice), []uuid.UUID{m})
	if err != nil || len(list) != 0 {
		t.Errorf("who left is told %+v, %v", list, err)
	}
	ledger, err := r.s.Ledger(t.Context(), as(demo.Alice), []uuid.UUID{m})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, total, err := ledger.Receipts(m, 10, ""); err != nil || total != 0 {
		t.Errorf("and of %d receipts, %v", total, err)
	}
}

// TestWhatIsHeldLeavesNoMoment: of what was read in hiding the mark knows the minute.
func TestWhatIsHeldLeavesNoMoment(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.invisible(demo.Bob, true)
	for _, read := range []bool{false, true} { // one of them at least is not at the turn of a minute
		r.ack(demo.Bob, demo.Team, r.say(demo.Team, demo.Alice), read)
	}
	if n := r.count(`select count(*) from realtime.marks where user_id = $1 and channel_id = $2
		and (read_at <> date_trunc('minute', read_at) or delivered_at <> date_trunc('minute', delivered_at))`, demo.Bob, demo.Team); n > 0 {
		t.Error("the mark says when it was")
	}
}

// TestWhatIsHeldInAThread leaves no moment either.
func TestWhatIsHeldInAThread(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	threads := []uuid.UUID{r.thread(), r.thread()}
	r.invisible(demo.Bob, true)
	for _, thread := range threads { // one of them at least is not at the turn of a minute
		r.ack(demo.Bob, demo.Team, r.reply(thread, demo.Alice), true)
	}
	if n := r.count(`select count(*) from realtime.thread_marks where user_id = $1 and read_at = date_trunc('minute', read_at)`, demo.Bob); n != 2 {
		t.Errorf("%d of 2 marks do not say when it was", n)
	}
}

// TestWhomABlockKeepsAThreadFrom: a sender whom the reader had blocked learns of no
// reading in a thread, also when the block is over.
func TestWhomABlockKeepsAThreadFrom(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	thread := r.thread()
	hers, carols := r.reply(thread, demo.Alice), r.reply(thread, demo.Carol)
	r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, demo.Bob, demo.Alice)
	r.ack(demo.Bob, demo.Team, carols, true)
	r.exec(`delete from public.nchat_blocked_users`)
	if d := r.delivery(demo.Alice, hers); d.Status() != receipt.Sent {
		t.Errorf("who was blocked is told %+v", d)
	}
	if d := r.delivery(demo.Carol, carols); d.Status() != receipt.Read {
		t.Errorf("who was not is told %+v", d)
	}
}

// TestWhatPassedIsOnesOwn: news of receipts name the viewer's messages alone, and of
// reading only while it shares its own.
func TestWhatPassedIsOnesOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, true)
	r.set(demo.Bob, presence.Change{AllowDeliveryReceipts: ptr(false)})
	mine := r.say(demo.Team, demo.Alice)
	r.ack(demo.Bob, demo.Team, r.say(demo.Team, demo.Carol), true)
	passed := func() []uuid.UUID {
		t.Helper()
		ids, err := r.s.Passed(t.Context(), as(demo.Alice), r.moves())
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	ids := passed()
	if n := r.count(`select count(*) from public.nchat_messages where id = any ($1) and user_id <> $2`, ids, demo.Alice); n > 0 || !slices.Contains(ids, mine) {
		t.Errorf("%d of others; %v", n, ids)
	}
	r.set(demo.Alice, presence.Change{AllowReadReceipts: ptr(false)})
	if ids := passed(); len(ids) > 0 {
		t.Errorf("to who shares none: %v", ids)
	}
}

// TestAMarkNeedsItsStint: who came after a message, or is in a public channel no
// more, has no mark at it, numbered or not yet.
func TestAMarkNeedsItsStint(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	before, public := r.say(demo.Team, demo.Alice), r.say(demo.General, demo.Alice)
	settle := func() {
		t.Helper()
		if err := r.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	settle()
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Dave)
	settle()
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.General, demo.Bob)
	for _, c := range []struct {
		who uuid.UUID
		m   receipt.Mark
	}{{demo.Dave, receipt.Mark{Channel: demo.Team, Message: before}}, {demo.Bob, receipt.Mark{Channel: demo.General, Message: public}}} {
		if list, err := r.s.Acknowledge(t.Context(), as(c.who), []receipt.Mark{c.m}, true); err == nil || *fault.From(err) != *fault.Access() || len(list) > 0 {
			t.Errorf("%v: %v, %v", c.m, list, err)
		}
	}
	// Its stint ends with what numbers its going: nothing has, in this transaction.
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	may := func() (began *int64) {
		t.Helper()
		if err := tx.QueryRow(t.Context(), `select realtime.may_mark('primary', $1, $2, 1000)`, demo.Carol, demo.General).Scan(&began); err != nil {
			t.Fatal(err)
		}
		return began
	}
	if may() == nil {
		t.Error("a member may mark nothing, and this tests nothing")
	}
	if _, err := tx.Exec(t.Context(), `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.General, demo.Carol); err != nil {
		t.Fatal(err)
	}
	if may() != nil {
		t.Error("who only reads a public channel by now moves a member's mark")
	}
}
