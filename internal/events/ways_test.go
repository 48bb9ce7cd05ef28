package events

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// counts are what a viewer is told of how much it has to read: in the team's channel,
// in threads, and in all.
type counts struct {
	last     map[uuid.UUID]int // of each thread, as it was told last
	t        *testing.T
	channels <-chan receipt.State
	threads  <-chan receipt.ThreadState
	totals   <-chan receipt.Totals
	sum      *receipt.Totals // as it was told last
}

// counting is a viewer that has read everything, and is told of nothing else than
// the team's channel in all.
func counting(r *rig, v viewer.Viewer) *counts {
	r.t.Helper()
	r.exec(`update public.nchat_channel_members set is_muted = true where user_id = $1 and channel_id <> $2`, v.User, demo.Team)
	if _, err := r.o.Receipts.AcknowledgeAll(r.t.Context(), v, demo.Team); err != nil {
		r.t.Fatal(err)
	}
	if err := r.o.Feed.Settle(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	c := &counts{t: r.t, last: map[uuid.UUID]int{}}
	c.channels, _ = begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.State, error) {
		return r.ReadStates(ctx, v, fail)
	})
	c.threads, _ = begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.ThreadState, error) {
		return r.ThreadStates(ctx, v, fail)
	})
	c.totals, _ = begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.Totals, error) {
		return r.Totals(ctx, v, fail)
	})
	return c
}

func (c *counts) thread(what string, thread uuid.UUID, unread int) {
	c.t.Helper()
	for last, ok := c.last[thread]; !ok || last != unread; last, ok = c.last[thread] { // of two threads either may come first
		s, open := next(c.t, c.threads)
		if !open {
			c.t.Fatal(what, ": the subscription has ended")
		}
		c.last[s.ThreadID] = s.UnreadCount
	}
}

func (c *counts) all(what string, want receipt.Totals) {
	c.t.Helper()
	for c.sum == nil || *c.sum != want { // what came and went between two looks is not told
		got, open := next(c.t, c.totals)
		if !open {
			c.t.Fatal(what, ": the subscription has ended")
		}
		c.sum = &got
	}
}

// TestUnreadByEveryWay: what others' statements do to what is unread is told, too: a
// message that becomes another's, one that leaves its thread, a thread that is no more.
func TestUnreadByEveryWay(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Millisecond)
	hers, his := counting(r, alice), counting(r, bob)
	one := r.says(demo.Alice, demo.Team, "one")
	until(t, his.channels, "a message", 1, 0)
	his.all("a message", receipt.Totals{Channels: 1, Messages: 1})
	r.exec(`update public.nchat_messages set user_id = $2 where id = $1`, one, demo.Bob)
	until(t, his.channels, "it is one's own now", 0, 0)
	his.all("it is one's own now", receipt.Totals{})
	until(t, hers.channels, "it is another's now", 1, 0)

	from, to := r.thread(), r.thread()
	for _, thread := range []uuid.UUID{from, to} {
		if _, err := r.o.Receipts.Threads.Follow(t.Context(), bob, thread, true); err != nil {
			t.Fatal(err)
		}
	}
	reply := r.replies(from, demo.Alice)
	his.thread("a reply", from, 1)
	his.all("a reply", receipt.Totals{Threads: 1})
	r.exec(`update public.nchat_messages set thread_id = $2 where id = $1`, reply, to)
	his.thread("moved away", from, 0)
	his.thread("moved to another", to, 1)
	r.exec(`update public.nchat_messages set thread_id = null where id = $1`, reply)
	his.thread("moved out", to, 0)
	until(t, his.channels, "moved into the channel", 1, 0)
	his.all("moved into the channel", receipt.Totals{Channels: 1, Messages: 1})
	r.exec(`update public.nchat_messages set thread_id = $2 where id = $1`, reply, from)
	his.thread("moved back", from, 1)
	until(t, his.channels, "moved out of the channel", 0, 0)
	his.all("moved back", receipt.Totals{Threads: 1})
	r.exec(`delete from public.nchat_threads where id = $1`, from)
	his.all("the thread is no more", receipt.Totals{})
	r.replies(to, demo.Alice)
	his.all("a reply in the other", receipt.Totals{Threads: 1})
	r.exec(`truncate public.nchat_thread_members`)
	his.all("nobody follows anything", receipt.Totals{})
	r.exec(`insert into public.nchat_thread_members (thread_id, user_id) values ($1, $2)`, to, demo.Bob)
	his.all("followed again", receipt.Totals{Threads: 1})
	r.exec(`truncate public.nchat_threads cascade`)
	his.all("no thread is left", receipt.Totals{})
}

// TestATruncateLeavesNothingUnread: however much was, and wherever it is counted.
func TestATruncateLeavesNothingUnread(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Millisecond)
	his := counting(r, bob)
	thread := r.thread()
	if _, err := r.o.Receipts.Threads.Follow(t.Context(), bob, thread, true); err != nil {
		t.Fatal(err)
	}
	r.replies(thread, demo.Alice)
	his.thread("a reply", thread, 1)
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content) select $1, $2, 'x' from generate_series(1, 1500)`, demo.Team, demo.Alice)
	until(t, his.channels, "messages", 1500, 0)
	his.all("messages", receipt.Totals{Channels: 1, Messages: 1500, Threads: 1})
	r.exec(`truncate public.nchat_messages cascade`)
	until(t, his.channels, "a truncate", 0, 0)
	his.all("a truncate", receipt.Totals{})
	his.thread("a truncate", thread, 0)
	var badge, unread int
	err := r.pool.QueryRow(t.Context(), `select realtime.badge('primary', $1, 1000), (select max(u.n) from realtime.unread($2) u)`, demo.Bob, demo.Team).Scan(&badge, &unread)
	if err != nil || badge != 0 || unread != 0 {
		t.Errorf("a badge of %d, and %d unread: %v", badge, unread, err)
	}
	list, err := r.o.Receipts.Current(t.Context(), bob, []uuid.UUID{demo.Team})
	if err != nil || len(list) != 1 || list[0].LastReadMessageID != nil {
		t.Errorf("read up to %+v: %v", list, err)
	}
	r.says(demo.Alice, demo.Team, "after")
	until(t, his.channels, "a message after it", 1, 0)
}
