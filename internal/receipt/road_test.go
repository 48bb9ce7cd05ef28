package receipt_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reciprocal bool
		read       int
		delivered  int
	}{{false, 2, 2}, {true, 4, 2}} {
		r := newRig(t, c.reciprocal)
		pool, trips := pgtest.Counted(t, r.pool.Config().ConnString())
		counted := r.on(pool, c.reciprocal, false)
		ack := func(read bool) int {
			return trips.Fewest(func() {
				id := r.say(demo.Team, demo.Alice)
				if err := r.settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				list, err := counted.s.Acknowledge(t.Context(), as(demo.Bob), []receipt.Mark{{Channel: demo.Team, Message: id}}, read)
				if err != nil || len(list) != 1 {
					t.Fatal(list, err)
				}
			})
		}
		if n := ack(true); n > c.read {
			t.Errorf("reciprocal %v: %d round trips to read, want at most %d", c.reciprocal, n, c.read)
		}
		if n := ack(false); n > c.delivered {
			t.Errorf("reciprocal %v: %d round trips to have received, want at most %d", c.reciprocal, n, c.delivered)
		}
	}
}

// waitsForLock returns when somebody in the database waits for another's lock.
func (r *rig) waitsForLock() {
	r.t.Helper()
	pgtest.WaitsForLock(r.t, r.pool, 1, nil)
}

// acknowledging reads in another goroutine, while a transaction holds its row.
func (r *rig) acknowledging(holding func(tx pgx.Tx), user uuid.UUID, m receipt.Mark) error {
	r.t.Helper()
	return r.acknowledgingWhile(holding, func() {}, user, m)
}

// acknowledgingWhile does something more while that waits.
func (r *rig) acknowledgingWhile(holding func(tx pgx.Tx), meanwhile func(), user uuid.UUID, m receipt.Mark) error {
	r.t.Helper()
	tx, err := r.pool.Begin(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(r.t.Context())) }()
	holding(tx)
	done := make(chan error, 1)
	go func() {
		_, err := r.s.Acknowledge(r.t.Context(), as(user), []receipt.Mark{m}, true)
		done <- err
	}()
	r.waitsForLock()
	meanwhile()
	if err := tx.Commit(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return <-done
}

// TestAReceiptMadeAsHidingEnds: asked for in hiding and made when that has
// ended, it is not held for good; asked for before and made in hiding, it is
// not told at once.
func TestAReceiptMadeAsHidingEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hidden bool // when the receipt is asked for
		change string
		held   int
		read   int // what the sender is told of
	}{
		"ends":   {true, `update realtime.presence set hidden_since = null where user_id = $1`, 0, 1},
		"begins": {false, `update realtime.presence set hidden_since = clock_timestamp() where user_id = $1`, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, false)
			id := r.say(demo.Team, demo.Alice)
			if err := r.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := r.presence.Edit.SetInvisible(t.Context(), as(demo.Bob), true); err != nil {
				t.Fatal(err)
			}
			r.exec(`update realtime.presence_settings set invisible_mode = false where user_id = $1`, demo.Bob)
			if !c.hidden {
				r.exec(`update realtime.presence set hidden_since = null where user_id = $1`, demo.Bob)
			}
			err := r.acknowledging(func(tx pgx.Tx) {
				if _, err := tx.Exec(t.Context(), c.change, demo.Bob); err != nil {
					t.Fatal(err)
				}
			}, demo.Bob, receipt.Mark{Channel: demo.Team, Message: id})
			if err != nil {
				t.Fatal(err)
			}
			if n := r.count(`select count(*) from realtime.moves where user_id = $1 and held`, demo.Bob); n != c.held {
				t.Errorf("%d moves are held, want %d", n, c.held)
			}
			if d := r.delivery(demo.Alice, id); d.ReadCount != c.read {
				t.Errorf("read by %d, want %d", d.ReadCount, c.read)
			}
		})
	}
}

// TestWhoIsRemovedWhileItWaits moves no mark, neither there nor elsewhere.
func TestWhoIsRemovedWhileItWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	first, second := r.say(demo.Team, demo.Alice), r.say(demo.Team, demo.Alice)
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := r.ack(demo.Bob, demo.Team, first, true)
	err := r.acknowledging(func(tx pgx.Tx) {
		for _, q := range []string{`select from realtime.marks where user_id = $1 for update`, `delete from public.nchat_channel_members where user_id = $1`} {
			if _, err := tx.Exec(t.Context(), q, demo.Bob); err != nil {
				t.Fatal(err)
			}
		}
	}, demo.Bob, receipt.Mark{Channel: demo.Team, Message: second})
	if err == nil || fault.From(err).Code != fault.Denied {
		t.Errorf("removed meanwhile: %v", err)
	}
	if n := r.count(`select count(*) from realtime.marks k join realtime.messages m on m.channel_id = k.channel_id and m.seq = k.read_seq
	                  where k.user_id = $1 and m.message_id = $2`, demo.Bob, *before.LastReadMessageID); n != 1 {
		t.Error("a mark moved all the same")
	}
}

// TestAReceiptObeysWhatItWaitedFor: settings that change while it waits decide
// who learns of it, not those it was asked for with; of a user who has never
// chosen anything as well.
func TestAReceiptObeysWhatItWaitedFor(t *testing.T) {
	t.Parallel()
	const row = `insert into realtime.presence (tenant, user_id) values ('primary', $1) on conflict (tenant, user_id) do update set updated_at = clock_timestamp()`
	for name, change := range map[string]string{
		"shows nobody":   `insert into realtime.presence_settings as s (tenant, user_id, visibility) values ('primary', $1, 'nobody') on conflict (tenant, user_id) do update set visibility = 'nobody', updated_at = clock_timestamp()`,
		"shares no more": `insert into realtime.presence_settings as s (tenant, user_id, allow_read_receipts) values ('primary', $1, false) on conflict (tenant, user_id) do update set allow_read_receipts = false, updated_at = clock_timestamp()`,
		"blocks":         `insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, '` + demo.Alice.String() + `')`,
		"hides":          `update realtime.presence set hidden_since = clock_timestamp() where user_id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, false)
			id := r.say(demo.Team, demo.Alice)
			if err := r.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.exec(`delete from realtime.presence where user_id = $1`, demo.Bob)
			err := r.acknowledging(func(tx pgx.Tx) {
				for _, q := range []string{row, change} {
					if _, err := tx.Exec(t.Context(), q, demo.Bob); err != nil {
						t.Fatal(err)
					}
				}
			}, demo.Bob, receipt.Mark{Channel: demo.Team, Message: id})
			if err != nil {
				t.Fatal(err)
			}
			if d := r.delivery(demo.Alice, id); d.ReadCount != 0 {
				t.Errorf("read by %d, though its reader changed its mind before", d.ReadCount)
			}
		})
	}
}

// TestReadingIsReturnedToWhomItIsOwed: also of what has its number only just.
func TestReadingIsReturnedToWhomItIsOwed(t *testing.T) {
	t.Parallel()
	r := newRig(t, true)
	r.set(demo.Alice, presence.Change{AllowReadReceipts: ptr(false)})
	id := r.say(demo.Team, demo.Alice)
	r.ack(demo.Bob, demo.Team, id, true)
	if n := r.count(`select count(*) from realtime.moves where user_id = $1 and $2 = any (read_hidden_from)`, demo.Bob, demo.Alice); n != 1 {
		t.Errorf("%d moves are kept from her who shares none", n)
	}
}

// TestOldColumnsHoldNobodyUp: the app may hold the row of a member; that one's
// receipt waits with nothing in its hands that anybody else needs.
func TestOldColumnsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	id := r.say(demo.Team, demo.Alice)
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	free := false
	err := r.acknowledgingWhile(func(tx pgx.Tx) {
		if _, err := tx.Exec(t.Context(), `select from public.nchat_channel_members where user_id = $1 for update`, demo.Bob); err != nil {
			t.Fatal(err)
		}
	}, func() {
		tag, err := r.pool.Exec(t.Context(), `update realtime.presence set updated_at = clock_timestamp() where user_id = $1 and user_id in (
		  select p.user_id from realtime.presence p where p.user_id = $1 for update nowait)`, demo.Bob)
		free = err == nil && tag.RowsAffected() == 1
	}, demo.Bob, receipt.Mark{Channel: demo.Team, Message: id})
	if err != nil {
		t.Fatal(err)
	}
	if !free {
		t.Error("its presence was held meanwhile")
	}
	if n := r.count(`select count(*) from public.nchat_channel_members where user_id = $1 and channel_id = $2 and last_read_message_id = $3`, demo.Bob, demo.Team, id); n != 1 {
		t.Error("the old columns are behind")
	}
}

// TestWhoReadsDoesNotWaitForWrites: where nothing can be written, what has no number yet
// is not counted yet, nor told how far it has come, and who would mark it is to try
// again, and not refused.
func TestWhoReadsDoesNotWaitForWrites(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	ctx, bob := t.Context(), as(demo.Bob)
	own := r.say(demo.Team, demo.Bob)
	if err := r.settle(ctx); err != nil {
		t.Fatal(err)
	}
	before, err := r.s.Current(ctx, bob, []uuid.UUID{demo.Team})
	if err != nil {
		t.Fatal(err)
	}
	m := r.say(demo.Team, demo.Alice)
	r.exec(`create function public.full() returns trigger language plpgsql as $$ begin raise exception 'full' using errcode = 'disk_full'; end $$`)
	r.exec(`create trigger a_full before delete on realtime.inbox for each statement execute function public.full()`)
	if now, err := r.s.Current(ctx, bob, []uuid.UUID{demo.Team}); err != nil || len(now) != 1 || now[0].UnreadCount != before[0].UnreadCount {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := r.s.CurrentTotals(ctx, bob); err != nil {
		t.Error(err)
	}
	if _, err := r.s.Threads.Current(ctx, bob, nil); err != nil {
		t.Error(err)
	}
	asked := []uuid.UUID{own, m, r.say(demo.Team, demo.Bob)}
	if list, err := r.s.Deliveries(ctx, bob, asked); err != nil || len(list) != 1 || list[0].MessageID != own {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := r.s.Ledger(ctx, bob, asked); err != nil {
		t.Error(err)
	}
	if _, err := r.s.Acknowledge(ctx, bob, []receipt.Mark{{Channel: demo.Team, Message: m}}, true); !postgres.Retryable(err) {
		t.Errorf("marking it: %v", err)
	}
}
