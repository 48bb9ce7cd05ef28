package receipt_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
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
		counted := r.on(pool, c.reciprocal)
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
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for {
		var n int
		const q = `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
		if err := r.pool.QueryRow(ctx, q).Scan(&n); err != nil {
			r.t.Fatal("nobody waits: ", err)
		}
		if n > 0 {
			return
		}
	}
}

// acknowledging reads in another goroutine, while a transaction holds its row.
func (r *rig) acknowledging(holding func(tx pgx.Tx), user uuid.UUID, m receipt.Mark) error {
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
