package receipt_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// TestInstallsWithoutThreads: where a table or a column of threads is not there, nothing
// is followed, or whoever has a row follows, and everything else is as everywhere.
func TestInstallsWithoutThreads(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	drop := func(q string) {
		t.Helper()
		r.exec(`drop trigger if exists realtime_followed on public.nchat_thread_members; drop trigger if exists realtime_followed_update on public.nchat_thread_members`)
		r.exec(q)
		pgtest.Migrate(t, r.pool)
	}
	follow := func(thread uuid.UUID, on bool) (receipt.ThreadState, error) {
		return r.s.Threads.Follow(t.Context(), as(demo.Bob), thread, on)
	}
	thread := r.thread()
	drop(`alter table public.nchat_thread_members drop column is_subscribed cascade, drop column last_read_message_id cascade, drop column last_read_at, drop column unread_count, drop column source_account_id cascade`)
	for range 2 {
		if s, err := follow(thread, true); err != nil || !s.Followed {
			t.Fatalf("a row alone: %+v, %v", s, err)
		}
	}
	one := r.reply(thread, demo.Alice)
	if s := r.threadState(demo.Bob, thread); s.UnreadCount != 1 || !s.Followed {
		t.Errorf("%+v", s)
	}
	r.ack(demo.Bob, demo.Team, one, true)
	if s, err := follow(thread, false); err != nil || s.Followed || s.UnreadCount != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	r.exec(`drop table public.nchat_thread_members cascade`)
	for _, table := range []string{"nchat_thread_members", "nchat_threads"} {
		r.exec(`drop table if exists public.` + table + ` cascade`)
		pgtest.Migrate(t, r.pool)
		if _, err := follow(thread, true); fault.From(err).Code != fault.Denied {
			t.Errorf("without %s: %v", table, err)
		}
		list, err := r.s.Threads.Current(t.Context(), as(demo.Bob), []uuid.UUID{thread})
		if there := table == "nchat_thread_members"; err != nil || (len(list) == 1) != there || there && (list[0].Followed || list[0].UnreadCount != 0) {
			t.Errorf("without %s: %+v, %v", table, list, err)
		}
		totals, err := r.s.CurrentTotals(t.Context(), as(demo.Bob))
		if err != nil || totals.Threads != 0 {
			t.Errorf("without %s: %+v, %v", table, totals, err)
		}
	}
	two := r.reply(thread, demo.Alice) // the column is there still
	before := r.channelState(demo.Bob).UnreadCount
	if s := r.ack(demo.Bob, demo.Team, two, true); s.UnreadCount != before || r.delivery(demo.Alice, two).ReadCount != 1 {
		t.Errorf("%+v", s)
	}
}

// TestAnAppsTriggersFindTheirTables: also where they hang on what a function of ours writes.
func TestAnAppsTriggersFindTheirTables(t *testing.T) {
	t.Parallel()
	r := (&rig{t: t}).on(pgtest.Nchat(t), false, true)
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	r.exec(`
create table changes (what text);
create function changed() returns trigger language plpgsql as $$ begin insert into changes values (tg_op || ' ' || tg_table_name); return null; end $$;
create trigger changed after insert or update or delete on nchat_thread_members for each row execute function changed();
create trigger changed after update on nchat_channel_members for each row execute function changed()`)
	changes := func(what, want string) {
		t.Helper()
		var got string
		if err := r.pool.QueryRow(t.Context(), `with gone as (delete from changes returning what) select coalesce(string_agg(what, ', '), '') from gone`).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	const members, inThreads = "UPDATE nchat_channel_members", " nchat_thread_members"
	thread := uuid.MustParse("00000000-0000-4000-a000-000000000001")
	for _, c := range []struct {
		on   bool
		want string
	}{{true, "INSERT" + inThreads}, {false, "UPDATE" + inThreads}} {
		if s, err := r.s.Threads.Follow(t.Context(), as(demo.Bob), thread, c.on); err != nil || s.Followed != c.on {
			t.Errorf("%+v, %v", s, err)
		}
		changes("following", c.want)
	}
	n := notifier(r.pool)
	if _, err := n.Set(t.Context(), as(demo.Bob), demo.Team, at(receipt.LevelMentions)); err != nil {
		t.Error(err)
	}
	changes("its level", members)
	if _, err := n.Set(t.Context(), as(demo.Bob), demo.Team, until(time.Now().Add(time.Hour))); err != nil {
		t.Error(err)
	}
	changes("muted", members)
	r.exec(`update realtime.notifications set muted_until = clock_timestamp() - interval '1 second'`)
	if n := r.count(`select realtime.unmute(10)`); n != 1 {
		t.Errorf("%d mutes are over", n)
	}
	changes("not any more", members)
}
