package receipt_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/presence"
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
		end := time.Now().Add(time.Minute)
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

// TestTheOldColumnsTellNothingPrivate: everybody reads them in an install of
// nchat's. What is read in private, or hidden from anybody, changes nothing
// there, no row's version even; what was read while invisible comes when that
// ends, and not with its true time.
func TestTheOldColumnsTellNothingPrivate(t *testing.T) {
	t.Parallel()
	no, contacts, nobody := false, presence.Contacts, presence.Nobody
	for what, c := range map[string]struct {
		how      func(r *rig)
		released bool
	}{
		"no receipts":   {how: func(r *rig) { r.set(demo.Bob, presence.Change{AllowReadReceipts: &no}) }},
		"contacts only": {how: func(r *rig) { r.set(demo.Bob, presence.Change{Visibility: &contacts}) }},
		"nobody":        {how: func(r *rig) { r.set(demo.Bob, presence.Change{Visibility: &nobody}) }},
		"somebody blocked": {how: func(r *rig) {
			r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, demo.Bob, demo.Frank)
		}},
		"a sender who shares none": {how: func(r *rig) { r.set(demo.Alice, presence.Change{AllowReadReceipts: &no}) }},
		"invisible":                {how: func(r *rig) { r.invisible(demo.Bob, true) }, released: true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, true)
			const row = `select hashtext(m::text || m.xmin) from public.nchat_channel_members m where channel_id = $1 and user_id = $2`
			const old = `select count(*) from public.nchat_channel_members where channel_id = $1 and user_id = $2 and unread_count = $3 and last_read_message_id = $4`
			first := r.say(demo.Team, demo.Alice)
			r.ack(demo.Bob, demo.Team, first, true)
			c.how(r)
			second := r.say(demo.Team, demo.Alice)
			r.exec(`select realtime.sequence(1000, false)`)
			r.exec(`select realtime.legacy_count($1)`, demo.Team)
			if r.count(old, demo.Team, demo.Bob, 1, first) != 1 {
				t.Fatal("what everybody may know is not told")
			}
			before := r.count(row, demo.Team, demo.Bob)
			if s := r.ack(demo.Bob, demo.Team, second, true); s.UnreadCount != 0 {
				t.Fatalf("his own count: %d", s.UnreadCount)
			}
			r.exec(`select realtime.legacy_count($1)`, demo.Team)
			if r.count(row, demo.Team, demo.Bob) != before {
				t.Error("his row was written")
			}
			if !c.released {
				return
			}
			var shown time.Time
			if err := r.pool.QueryRow(t.Context(), `select clock_timestamp()`).Scan(&shown); err != nil {
				t.Fatal(err)
			}
			r.invisible(demo.Bob, false)
			r.exec(`select realtime.legacy_count($1)`, demo.Team)
			if r.count(old+` and last_read_at >= $5`, demo.Team, demo.Bob, 0, second, shown) != 1 {
				t.Error("what was read while invisible does not come when that ends, or at another time")
			}
		})
	}
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

// TestTheOldColumnsOfThreadsTellNothingPrivate: as those of channels.
func TestTheOldColumnsOfThreadsTellNothingPrivate(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	const (
		thread = "00000000-0000-4000-a000-000000000001"
		last   = "00000000-0000-4000-b000-000000000013"
		row    = `select count(*) from public.nchat_thread_members where thread_id = '` + thread + `' and user_id = $1 and last_read_message_id is not distinct from $2`
	)
	r.exec(`select realtime.sequence(1000, false)`)
	no := false
	r.set(demo.Erin, presence.Change{AllowReadReceipts: &no})
	for _, user := range []uuid.UUID{demo.Dave, demo.Alice, demo.Erin} {
		if _, err := r.s.Acknowledge(t.Context(), as(user), []receipt.Mark{{Channel: demo.General, Thread: uuid.MustParse(thread), Message: uuid.MustParse(last)}}, true); err != nil {
			t.Fatal(err)
		}
	}
	if r.count(row, demo.Dave, last) != 1 {
		t.Error("what everybody may know is not told")
	}
	if r.count(row, demo.Erin, nil) != 1 || r.count(row, demo.Alice, nil) != 1 { // alice blocked somebody
		t.Error("what is read in private is told")
	}
}
