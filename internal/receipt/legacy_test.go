package receipt_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// TestTheOldColumnsAreKept: last_read, unread and mentions, when reading and
// when something comes.
func TestTheOldColumnsAreKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	m := r.say(demo.Team, demo.Alice)
	const old = `select count(*) from public.nchat_channel_members where channel_id = $1 and user_id = $2 and unread_count = $3 and last_read_message_id is not distinct from $4`
	r.ack(demo.Bob, demo.Team, m, true)
	if r.count(old, demo.Team, demo.Bob, 0, m) != 1 {
		t.Error("reading is not kept")
	}
	came := r.say(demo.Team, demo.Alice)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.s.Run(ctx); close(done) }()
	kept := func(unread int) {
		t.Helper()
		end := time.Now().Add(30 * time.Second)
		for tick := time.NewTicker(20 * time.Millisecond); r.count(old, demo.Team, demo.Bob, unread, m) != 1; <-tick.C {
			r.count(`select realtime.sequence(1000, false)`)
			if time.Now().After(end) {
				t.Errorf("what came is not counted: %d unread expected", unread)
				return
			}
		}
	}
	kept(1)
	r.exec(`update public.nchat_messages set is_deleted = true where id = $1`, came)
	kept(0)
	cancel()
	<-done
}

// TestTheOldColumnsAreLeftAlone: unless they are asked for, nothing that is
// read changes a row of the app's own table.
func TestTheOldColumnsAreLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.s = receipt.New(receipt.Options{Pool: r.pool, Privacy: r.presence.Read, Committed: func() {}, Settle: r.settle, Log: slog.New(slog.DiscardHandler)})
	const rows = `select hashtext(string_agg(m::text || m.xmin, ',' order by m.channel_id, m.user_id)) from public.nchat_channel_members m`
	before := r.count(rows)
	m := r.say(demo.Team, demo.Alice)
	if s := r.ack(demo.Bob, demo.Team, m, true); s.UnreadCount != 0 {
		t.Errorf("unread after reading: %d", s.UnreadCount)
	}
	r.say(demo.Team, demo.Alice)
	r.s.Run(t.Context()) // has nothing to keep in step, and returns
	if r.count(rows) != before {
		t.Error("a row of nchat_channel_members was written")
	}
}
