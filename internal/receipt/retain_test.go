package receipt_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/push"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// TestMovesThatTellNothingAreForgotten: those made in private, and those of a
// channel that is no more; what senders were told stays so.
func TestMovesThatTellNothingAreForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	m := r.say(demo.Team, demo.Alice)
	r.ack(demo.Carol, demo.Team, m, true)
	r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false), AllowDeliveryReceipts: ptr(false)})
	r.ack(demo.Bob, demo.Team, m, true)
	before := r.delivery(demo.Alice, m)
	sweep := func(left int) {
		t.Helper()
		if err := sweep.All(t.Context(), r.s.Sweeps()...); err != nil {
			t.Fatal(err)
		}
		if n := r.count(`select count(*) from realtime.moves where channel_id = $1`, demo.Team); n != left {
			t.Errorf("%d moves are left, want %d", n, left)
		}
	}
	sweep(1)
	if after := r.delivery(demo.Alice, m); after.ReadCount != before.ReadCount || after.DeliveredCount != before.DeliveredCount || after.ReadCount != 1 {
		t.Errorf("told %+v, and before %+v", after, before)
	}
	r.exec(`delete from public.nchat_channels where id = $1`, demo.Team)
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	sweep(1)
	r.exec(`delete from realtime.log`)
	sweep(0)
}

// TestADeletedThreadLeavesNoMarks: once the log has forgotten it; another's stay.
func TestADeletedThreadLeavesNoMarks(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	ended, kept := r.thread(), r.thread()
	for _, thread := range []uuid.UUID{ended, kept} {
		m := r.reply(thread, demo.Alice)
		r.ack(demo.Bob, demo.Team, m, true)
		r.ack(demo.Carol, demo.Team, m, true)
	}
	marks := func(thread uuid.UUID) int {
		return r.count(`select count(*) from realtime.thread_marks where thread_id = $1`, thread)
	}
	sweeps := func() {
		t.Helper()
		if err := sweep.All(t.Context(), r.s.Sweeps()...); err != nil {
			t.Fatal(err)
		}
	}
	if marks(ended) != 2 || marks(kept) != 2 {
		t.Fatalf("%d and %d marks, and this tests nothing", marks(ended), marks(kept))
	}
	r.exec(`delete from public.nchat_threads where id = $1`, ended)
	sweeps()
	if marks(ended) != 0 || marks(kept) != 2 {
		t.Errorf("%d and %d marks are left", marks(ended), marks(kept))
	}
	if n := r.count(`select count(*) from realtime.ended_threads`); n != 0 {
		t.Errorf("%d threads are still to be forgotten", n)
	}
	third := r.thread()
	r.ack(demo.Bob, demo.Team, r.reply(third, demo.Alice), true)
	r.exec(`truncate public.nchat_threads cascade`)
	sweeps()
	if marks(third) != 0 || marks(kept) != 0 {
		t.Errorf("%d and %d marks are left of what was truncated", marks(third), marks(kept))
	}
	past := uuid.New() // a thread that went past the trigger, with its messages
	r.exec(`insert into realtime.thread_marks (thread_id, user_id, channel_id, read_seq) values ($1, $2, $3, 1)`, past, demo.Bob, demo.Team)
	r.exec(`select realtime.find_ended()`)
	sweeps()
	if marks(past) != 0 {
		t.Errorf("%d marks are left of one that was not noted", marks(past))
	}
}

// TestADeletedUserLeavesNothing but what others were told: after a month. Who came
// back meanwhile finds its own.
func TestADeletedUserLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	m := r.say(demo.Team, demo.Alice)
	for _, user := range []uuid.UUID{demo.Bob, demo.Carol} {
		r.ack(user, demo.Team, m, true)
		r.set(user, presence.Change{ShowLastSeen: ptr(false)})
		r.exec(`insert into realtime.quiet_hours (tenant, user_id, from_minute, to_minute, zone) values ('primary', $1, 0, 1, 'UTC')`, user)
	}
	before := r.delivery(demo.Alice, m)
	left := func(user uuid.UUID) int {
		return r.count(`select (select count(*) from realtime.presence where user_id = $1) + (select count(*) from realtime.presence_settings where user_id = $1)
			+ (select count(*) from realtime.marks where user_id = $1 and channel_id = $2) + (select count(*) from realtime.notifications where user_id = $1)
			+ (select count(*) from realtime.quiet_hours where user_id = $1)`, user, demo.Team)
	}
	sweeps := func() {
		t.Helper()
		quiet := push.New(push.Options{Pool: r.pool}).Sweeps()
		for range 2 { // the last of them looks whether the others have done theirs
			if err := sweep.All(t.Context(), slices.Concat(r.presence.Sweeps(), r.s.Sweeps(), quiet)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.exec(`create table public.was as select * from public.nchat_users where id = $1`, demo.Carol)
	r.exec(`delete from public.nchat_users where id = any ($1)`, []uuid.UUID{demo.Bob, demo.Carol})
	for _, user := range []uuid.UUID{demo.Bob, demo.Carol} { // a membership may outlive its user
		r.exec(`insert into realtime.notifications (user_id, channel_id, level) values ($1, $2, 'all')`, user, demo.Team)
	}
	sweeps()
	if left(demo.Bob) != 5 || left(demo.Carol) != 5 {
		t.Fatalf("%d and %d rows are left of who has just gone", left(demo.Bob), left(demo.Carol))
	}
	r.exec(`insert into public.nchat_users select * from public.was`)
	r.exec(`update realtime.departed set at = at - interval '33 days'`)
	sweeps()
	if left(demo.Bob) != 0 || left(demo.Carol) != 5 {
		t.Errorf("%d rows are left of who has gone, %d of who came back", left(demo.Bob), left(demo.Carol))
	}
	if n := r.count(`select count(*) from realtime.departed`); n != 0 {
		t.Errorf("%d users are still to be forgotten", n)
	}
	if after := r.delivery(demo.Alice, m); after.ReadCount != before.ReadCount || after.ReadCount != 2 {
		t.Errorf("told %+v, and before %+v", after, before)
	}
	r.exec(`insert into realtime.presence_settings (tenant, user_id) values ('primary', gen_random_uuid()), ('elsewhere', $1)`, demo.Alice) // past the trigger
	r.exec(`select realtime.find_departed()`)
	r.exec(`update realtime.departed set at = at - interval '33 days'`)
	sweeps()
	if n := r.count(`select count(*) from realtime.presence_settings s where not exists (select from public.nchat_users u where u.id = s.user_id and u.source_account_id = s.tenant)`); n != 0 || left(demo.Carol) != 5 {
		t.Errorf("%d settings are left of nobody, %d rows of somebody", n, left(demo.Carol))
	}
	r.exec(`truncate public.nchat_users cascade`)
	if n := r.count(`select count(*) from realtime.departed`); n < 5 {
		t.Errorf("%d of all users are noted", n)
	}
}
