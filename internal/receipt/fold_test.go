package receipt_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// age makes a part of the moves as old as any, here and there among the others.
func (r *rig) age(part float64) {
	r.t.Helper()
	if err := r.settle(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.exec(`delete from realtime.log`) // which has forgotten them
	r.exec(`update realtime.moves set at = at - interval '40 days' - random() * interval '500 days' where not folded and random() < $1`, part)
}

func (r *rig) fold() {
	r.t.Helper()
	if err := sweep.All(r.t.Context(), r.s.Sweeps()...); err != nil {
		r.t.Fatal(err)
	}
}

// told is all that anybody is told of receipts, but when.
func (r *rig) told(users, messages []uuid.UUID) string {
	r.t.Helper()
	var b strings.Builder
	for _, u := range users {
		list, err := r.s.Deliveries(r.t.Context(), as(u), messages)
		if err != nil {
			r.t.Fatal(err)
		}
		ledger, err := r.s.Ledger(r.t.Context(), as(u), messages)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, d := range list {
			page, _, total, err := ledger.Receipts(d.MessageID, 1000, "")
			if err != nil {
				r.t.Fatal(err)
			}
			fmt.Fprintln(&b, u, d.MessageID, d.DeliveredCount, d.ReadCount, d.DeliveredAt != nil, d.ReadAt != nil, total)
			read := 0
			for _, x := range page {
				fmt.Fprintln(&b, "  ", x.UserID, x.ReadAt != nil)
				if x.ReadAt != nil {
					read++
				}
			}
			if read != d.ReadCount || len(page) != d.DeliveredCount {
				r.t.Errorf("the receipts of %v say %d and %d, the counts %d and %d", d.MessageID, len(page), read, d.DeliveredCount, d.ReadCount)
			}
		}
	}
	return b.String()
}

// TestFoldingChangesNoCount: whoever shares what with whom, whoever is told of
// what when moves are apart is told of it when they are folded.
func TestFoldingChangesNoCount(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, seed%2 == 1)
			dice := rand.New(rand.NewPCG(seed, 5)) //nolint:gosec // a test's dice
			users := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol}
			threads := []uuid.UUID{r.thread(), r.thread()}
			var messages []uuid.UUID
			for range 6 {
				for range 40 {
					r.something(dice, users, threads, &messages)
				}
				before := r.told(users, messages)
				r.age(dice.Float64())
				r.fold()
				if after := r.told(users, messages); after != before {
					t.Fatalf("folded, it says\n%s, and before\n%s", after, before)
				}
			}
			before, moves := r.told(users, messages), r.count(`select count(*) from realtime.moves where not held`)
			r.age(1)
			r.exec(`update realtime.moves set at = '2001-01-01'`)
			r.exec(`update realtime.moves set folded = false where id in (select min(id) from realtime.moves where not held group by user_id)`)
			r.fold()
			if after := r.told(users, messages); after != before {
				t.Errorf("folded, it says\n%s, and before\n%s", after, before)
			}
			if left := r.count(`select count(*) from realtime.moves where not held`); left > moves || r.count(`select count(*) from realtime.moves where not held and not folded`) > 0 {
				t.Errorf("%d moves were folded into %d", moves, left)
			}
		})
	}
}

// something happens that has to do with receipts.
func (r *rig) something(dice *rand.Rand, users, threads []uuid.UUID, messages *[]uuid.UUID) {
	r.t.Helper()
	who, other := users[dice.IntN(len(users))], users[dice.IntN(len(users))]
	switch n := dice.IntN(28); {
	case n < 6 || len(*messages) == 0:
		*messages = append(*messages, r.say(demo.Team, who))
	case n < 14:
		r.ack(who, demo.Team, (*messages)[dice.IntN(len(*messages))], dice.IntN(3) > 0)
	case n == 14:
		r.set(who, presence.Change{AllowReadReceipts: ptr(dice.IntN(2) == 0)})
	case n == 15:
		r.set(who, presence.Change{AllowDeliveryReceipts: ptr(dice.IntN(2) == 0)})
	case n == 16 && who != other:
		r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2) on conflict do nothing`, who, other)
	case n == 17:
		r.exec(`delete from public.nchat_blocked_users where blocker_id = $1`, who)
	case n == 18:
		if _, err := r.presence.Edit.SetInvisible(r.t.Context(), as(who), dice.IntN(2) == 0); err != nil {
			r.t.Fatal(err)
		}
	case n < 26 && n > 19:
		*messages = append(*messages, r.reply(threads[dice.IntN(len(threads))], who))
	case n > 25:
		if _, err := r.s.MarkUnread(r.t.Context(), as(who), (*messages)[dice.IntN(len(*messages))]); err != nil {
			r.t.Fatal(err)
		}
	case n == 19:
		r.set(who, presence.Change{Visibility: ptr([]presence.Visibility{presence.Everyone, presence.Contacts, presence.Nobody}[dice.IntN(3)])})
	}
}

// TestMovesThatFollowEachOtherBecomeOne: a thousand of one who reads on and on.
func TestMovesThatFollowEachOtherBecomeOne(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	m := r.say(demo.Team, demo.Alice)
	r.ack(demo.Bob, demo.Team, m, true)
	const more = `
insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, delivered_from, at, read_public, delivered_public)
select v.channel_id, v.user_id, v.to_seq + i - 1, v.to_seq + i, true, v.to_seq + i - 1, date_trunc('month', now()) - interval '90 days' + i * interval '10 seconds', true, true
  from realtime.moves v cross join generate_series(1, 2500) i`
	r.exec(more)
	r.age(0)
	r.exec(`update realtime.moves set at = date_trunc('month', now()) - interval '90 days' where at > now() - interval '1 day'`)
	r.fold()
	if n := r.count(`select count(*) from realtime.moves`); n != 2 { // what was read, and what was received
		t.Errorf("%d moves are left", n)
	}
	if n := r.count(`select max(to_seq)::int from realtime.moves where read`) - r.count(`select max(m.seq)::int from realtime.messages m where m.message_id = $1`, m); n != 2500 {
		t.Errorf("they pass %d messages", n)
	}
	if d := r.delivery(demo.Alice, m); d.ReadCount != 1 || d.DeliveredCount != 1 {
		t.Errorf("%+v", d)
	}
}

// TestWhatTheLogSpeaksOfIsNotFolded: whoever resumes is still to be told of it.
func TestWhatTheLogSpeaksOfIsNotFolded(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.ack(demo.Bob, demo.Team, r.say(demo.Team, demo.Alice), true)
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.exec(`update realtime.moves set at = at - interval '40 days'`)
	r.exec(`update realtime.log set at = at - interval '40 days'`)
	r.fold()
	if n := r.count(`select count(*) from realtime.moves where not folded`); n != 1 {
		t.Errorf("%d moves are as they were", n)
	}
	r.exec(`delete from realtime.log`)
	r.fold()
	if n := r.count(`select count(*) from realtime.moves where not folded`); n != 0 {
		t.Errorf("%d moves are as they were", n)
	}
}

// TestWhatIsReadInPrivateLeavesNoMoment: no row that tells of it, no exact time,
// whether the reader hides for now or for good.
func TestWhatIsReadInPrivateLeavesNoMoment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hide  func(r *rig)
		moves int
		exact bool
	}{
		"shares it": {func(*rig) {}, 1, true},
		"shares nothing": {func(r *rig) {
			r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false), AllowDeliveryReceipts: ptr(false)})
		}, 0, false},
		"seen by nobody":  {func(r *rig) { r.set(demo.Bob, presence.Change{Visibility: ptr(presence.Nobody)}) }, 0, false},
		"received before": {func(r *rig) { r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)}) }, 0, false},
		"invisible":       {func(r *rig) { r.invisible(demo.Bob, true) }, 1, false},
		"invisible and no": {func(r *rig) {
			r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)})
			r.invisible(demo.Bob, true)
		}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, false)
			m := r.say(demo.Team, demo.Alice)
			before := 0
			if strings.HasSuffix(name, "before") || strings.HasSuffix(name, "no") {
				r.ack(demo.Bob, demo.Team, m, false)
				before = 1
			}
			c.hide(r)
			state := r.ack(demo.Bob, demo.Team, m, true)
			if n := r.count(`select count(*) from realtime.moves`) - before; n != c.moves {
				t.Errorf("%d moves tell of it", n)
			}
			var at pgtype.Timestamptz
			if err := r.pool.QueryRow(t.Context(), `select read_at from realtime.marks where user_id = $1 and channel_id = $2`, demo.Bob, demo.Team).Scan(&at); err != nil {
				t.Fatal(err)
			}
			if exact := !at.Time.Equal(at.Time.Truncate(1e9 * 60)); before == 0 && exact != c.exact || state.LastReadAt == nil || state.UnreadCount != 0 {
				t.Errorf("the mark says %v, its user is told %+v", at.Time, state)
			}
			// Its own devices are told all the same.
			if err := r.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := r.count(`select count(*) from realtime.log where kind = 'mark' and user_id = $1`, demo.Bob); n != before+1 {
				t.Errorf("the log tells of %d", n)
			}
		})
	}
}

// TestAnOldMessagesReceiptsAreFoundAmongMany: what is asked of one message reads
// about as many moves as passed it, whatever came before and after; of many, each
// move once.
func TestAnOldMessagesReceiptsAreFoundAmongMany(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	old := r.say(demo.Team, demo.Alice)
	r.ack(demo.Bob, demo.Team, old, true)
	r.ack(demo.Carol, demo.Team, old, false)
	const many = `
insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, delivered_from, at, read_public, delivered_public)
select $1, u, 1000 + i, 1001 + i, true, 1000 + i, now(), true, true from generate_series(1, 20000) i cross join unnest($2::uuid[]) u`
	r.exec(many, demo.Team, []uuid.UUID{demo.Bob, demo.Carol})
	r.exec(`analyze realtime.moves`)
	if d := r.delivery(demo.Alice, old); d.ReadCount != 1 || d.DeliveredCount != 2 {
		t.Errorf("%+v", d)
	}
	read := func(q string, args ...any) int64 {
		t.Helper()
		conn, err := r.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		var before, after int64
		const rows = `select coalesce(sum(idx_tup_fetch + seq_tup_read), 0) from pg_stat_xact_user_tables where relid = 'realtime.moves'::regclass`
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(t.Context()) }()
		for i, to := range []*int64{&before, &after} {
			if i == 1 {
				if _, err := tx.Exec(t.Context(), q, args...); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.QueryRow(t.Context(), rows).Scan(to); err != nil {
				t.Fatal(err)
			}
		}
		return after - before
	}
	seqs := []int64{int64(r.count(`select seq from realtime.messages where message_id = $1`, old))}
	const passing = `select * from realtime.passing($1, true, array_fill($2::uuid, array[cardinality($3::bigint[])]), array_fill(null::uuid, array[cardinality($3::bigint[])]), array_fill(0, array[cardinality($3::bigint[])]), $3)`
	one := read(passing, demo.Alice, demo.Team, seqs)
	if one > 10 {
		t.Errorf("for one message %d moves were read", one)
	}
	r.exec(`insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, delivered_from, at, read_public, delivered_public, held)
	        select channel_id, $2, from_seq, to_seq, read, delivered_from, at, true, true, true from realtime.moves cross join generate_series(1, 50)
	         where channel_id = $1 and user_id = $3 and to_seq < 1000`, demo.Team, demo.Dave, demo.Bob)
	if n := read(passing, demo.Alice, demo.Team, seqs); n != one {
		t.Errorf("for one message %d moves were read, and %d where somebody invisible has read it", one, n)
	}
	for i := range int64(50) {
		seqs = append(seqs, 1100+i*300)
	}
	if n := read(passing, demo.Alice, demo.Team, seqs); n > 51*2*5 {
		t.Errorf("for %d messages %d moves were read", len(seqs), n)
	}
}

// TestReceiptsOfManyHaveALimit: of several messages no more moves are held than may be, and
// their sender is told; of one, and of how many there are, it is told all the same.
func TestReceiptsOfManyHaveALimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r = r.on(r.pool, false, false, func(o *receipt.Options) { o.Moves = 5 })
	var sent []uuid.UUID
	for range 3 {
		sent = append(sent, r.say(demo.Team, demo.Alice))
		r.ack(demo.Bob, demo.Team, sent[len(sent)-1], true)
		r.ack(demo.Carol, demo.Team, sent[len(sent)-1], true)
	}
	f, ok := errors.AsType[*fault.Error](second(r.s.Ledger(t.Context(), as(demo.Alice), sent)))
	if !ok || f.Code != fault.Invalid || !strings.Contains(f.Message, "more than 5 receipts") {
		t.Fatalf("of three messages, read by two, five may be held: %v", f)
	}
	for _, ids := range [][]uuid.UUID{sent[:2], sent[:1]} {
		ledger, err := r.s.Ledger(t.Context(), as(demo.Alice), ids)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, total, err := ledger.Receipts(ids[0], 1, ""); total != 2 || err != nil {
			t.Errorf("%d have it (%v)", total, err)
		}
	}
	r = r.on(r.pool, false, false, func(o *receipt.Options) { o.Moves = 1 })
	if _, err := r.s.Ledger(t.Context(), as(demo.Alice), sent[:1]); err != nil {
		t.Errorf("of one alone: %v", err)
	}
	if list, err := r.s.Deliveries(t.Context(), as(demo.Alice), sent); err != nil || len(list) != 3 || list[0].ReadCount != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestThreadsAreFoldedApart: what follows each other in numbers is one only where it
// was read in the same place.
func TestThreadsAreFoldedApart(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	one, other := r.thread(), r.thread()
	var in, out []uuid.UUID
	for range 6 {
		in = append(in, r.reply(one, demo.Alice))
		out = append(out, r.say(demo.Team, demo.Alice), r.reply(other, demo.Alice))
		r.ack(demo.Bob, demo.Team, in[len(in)-1], true)
	}
	r.age(0)
	r.exec(`update realtime.moves set at = date_trunc('month', now()) - interval '90 days'`)
	before := r.told([]uuid.UUID{demo.Alice}, append(in, out...))
	r.fold()
	if after := r.told([]uuid.UUID{demo.Alice}, append(in, out...)); after != before {
		t.Errorf("folded, it says\n%s, and before\n%s", after, before)
	}
	if n := r.count(`select count(*) from realtime.moves where thread = $1`, one); n != 1 {
		t.Errorf("%d moves are left of the thread's", n)
	}
	for _, m := range in {
		if d := r.delivery(demo.Alice, m); d.ReadCount != 1 {
			t.Errorf("%+v", d)
		}
	}
	for _, m := range out {
		if d := r.delivery(demo.Alice, m); d.ReadCount != 0 {
			t.Errorf("%+v", d)
		}
	}
	rows := r.count(`select max(id)::int from realtime.moves where thread = $1`, one) // what is read in another thread leaves them alone
	r.ack(demo.Bob, demo.Team, out[len(out)-1], true)
	r.age(0)
	r.exec(`update realtime.moves set at = date_trunc('month', now()) - interval '90 days'`)
	before = r.told([]uuid.UUID{demo.Alice}, append(in, out...))
	r.fold()
	if after := r.told([]uuid.UUID{demo.Alice}, append(in, out...)); after != before {
		t.Errorf("folded, it says\n%s, and before\n%s", after, before)
	}
	if n := r.count(`select max(id)::int from realtime.moves where thread = $1`, one); n != rows {
		t.Error("a thread's moves are written anew with each that is read elsewhere")
	}
}

// TestWhatIsReadInPrivateInAThreadLeavesNoMoment either.
func TestWhatIsReadInPrivateInAThreadLeavesNoMoment(t *testing.T) {
	t.Parallel()
	for share, moves := range map[bool]int{false: 0, true: 1} {
		r := newRig(t, false)
		m := r.reply(r.thread(), demo.Alice)
		r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(share)})
		r.ack(demo.Bob, demo.Team, m, true)
		if n := r.count(`select count(*) from realtime.moves where thread is not null`); n != moves {
			t.Errorf("%d moves tell of it where sharing is %v", n, share)
		}
		if n := r.count(`select count(*) from realtime.thread_marks where user_id = $1 and read_at <> date_trunc('minute', read_at)`, demo.Bob); n != moves {
			t.Errorf("%d marks tell the moment where sharing is %v", n, share)
		}
	}
}
