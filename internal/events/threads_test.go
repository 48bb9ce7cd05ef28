package events

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// thread makes a thread in the team's channel.
func (r *rig) thread() (id uuid.UUID) {
	r.t.Helper()
	id = uuid.New()
	r.exec(`insert into public.nchat_threads (id, channel_id) values ($1, $2)`, id, demo.Team)
	return id
}

func (r *rig) replies(thread, user uuid.UUID) (id uuid.UUID) {
	r.t.Helper()
	id = uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, thread_id, user_id, content) values ($1, $2, $3, $4, 'x')`, id, demo.Team, thread, user)
	return id
}

// TestThreadsAreLive: whoever follows a thread is told of what others do there, by the
// subscription and among events; reading, following and marking unread at once, of any
// thread; and the channel's own state does not move by it.
func TestThreadsAreLive(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Millisecond)
	followed, other := r.thread(), r.thread()
	if _, err := r.o.Receipts.Threads.Follow(t.Context(), bob, followed, true); err != nil {
		t.Fatal(err)
	}
	if err := r.o.Feed.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	states, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.ThreadState, error) {
		return r.ThreadStates(ctx, bob, fail)
	})
	all := r.events(bob, Query{Kinds: []Kind{KindReadStates}})
	want[StreamReset](t, all)
	told := func(what string, thread uuid.UUID, unread int, follows bool) {
		t.Helper()
		s, open := next(t, states)
		if !open || s.ThreadID != thread || s.UnreadCount != unread || s.Followed != follows {
			t.Fatalf("%s: %+v, want %d", what, s, unread)
		}
		for {
			e, open := next(t, all)
			if !open {
				t.Fatal(what, ": events have ended")
			}
			if p, is := e.Payload.(ReadStateChanged); is && p.ReadState.UnreadCount != 0 {
				t.Fatalf("%s: the channel's own: %+v", what, p)
			}
			if p, is := e.Payload.(ThreadReadStateChanged); is && p.ThreadReadState.ThreadID == thread && p.ThreadReadState.UnreadCount == unread {
				return
			}
		}
	}
	r.replies(other, demo.Alice) // nobody follows it: the first that comes is of the other
	one := r.replies(followed, demo.Alice)
	told("a reply", followed, 1, true)
	if _, err := r.o.Receipts.Acknowledge(t.Context(), bob, []receipt.Mark{{Channel: demo.Team, Message: one}}, true); err != nil {
		t.Fatal(err)
	}
	told("read", followed, 0, true)
	if _, err := r.o.Receipts.MarkUnread(t.Context(), bob, one); err != nil {
		t.Fatal(err)
	}
	told("marked unread", followed, 1, true)
	r.exec(`delete from public.nchat_messages where id = $1`, one)
	told("deleted for good", followed, 0, true)
	r.exec(`update public.nchat_thread_members set is_subscribed = false where thread_id = $1`, followed)
	told("followed no more", followed, 0, false)
	r.replies(followed, demo.Alice)
	r.exec(`insert into public.nchat_thread_members (thread_id, user_id) values ($1, $2)`, other, demo.Bob)
	told("another followed", other, 1, true)
	r.replies(other, demo.Alice)
	told("a reply there", other, 2, true)
}

// TestMarkedUnreadIsTold: to one's own devices, and to nobody else.
func TestMarkedUnreadIsTold(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Millisecond)
	sender := r.events(alice, Query{Kinds: []Kind{KindDeliveries, KindReadStates, KindMessages}})
	want[StreamReset](t, sender)
	one := r.says(demo.Alice, demo.Team, "one")
	want[MessageCreated](t, sender)
	mine := r.events(bob, Query{Kinds: []Kind{KindReadStates}})
	want[StreamReset](t, mine)
	if _, err := r.o.Receipts.Acknowledge(t.Context(), bob, []receipt.Mark{{Channel: demo.Team, Message: one}}, true); err != nil {
		t.Fatal(err)
	}
	if p, _ := want[ReadStateChanged](t, mine); p.ReadState.UnreadCount != 0 {
		t.Errorf("%+v", p)
	}
	want[DeliveryChanged](t, sender)
	if _, err := r.o.Receipts.MarkUnread(t.Context(), bob, one); err != nil {
		t.Fatal(err)
	}
	if p, _ := want[ReadStateChanged](t, mine); p.ReadState.UnreadCount != 1 {
		t.Errorf("%+v", p)
	}
	if _, err := r.o.Receipts.Acknowledge(t.Context(), bob, []receipt.Mark{{Channel: demo.Team, Message: one}}, true); err != nil {
		t.Fatal(err)
	}
	if p, _ := want[ReadStateChanged](t, mine); p.ReadState.UnreadCount != 0 {
		t.Errorf("%+v", p)
	}
	r.says(demo.Alice, demo.Team, "two")
	want[MessageCreated](t, sender) // and nothing of bob before it
}

// TestMembersAreCounted: every membership that begins or ends says how many members there
// are after it, to those who may read the channel still, live and among what was missed.
func TestMembersAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t).run()
	all := r.events(alice, Query{Kinds: []Kind{KindMembers}})
	start, _ := want[StreamReset](t, all)
	gone := r.events(bob, Query{Kinds: []Kind{KindMembers}})
	want[StreamReset](t, gone)
	members := func() (n int) {
		t.Helper()
		if err := r.pool.QueryRow(t.Context(), `select count(*) from public.nchat_channel_members where channel_id = $1 and can_read is not false`, demo.Team).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var counts []int
	joined := func() {
		t.Helper()
		p, _ := want[MemberJoined](t, all)
		if p.MemberCount == nil || *p.MemberCount != members() || p.Change.MemberCount == nil {
			t.Errorf("%+v, want %d", p, members())
		}
		counts = append(counts, members())
	}
	left := func() {
		t.Helper()
		p, _ := want[MemberLeft](t, all)
		if p.MemberCount == nil || *p.MemberCount != members() {
			t.Errorf("%+v, want %d", p, members())
		}
		counts = append(counts, members())
	}
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Dave)
	joined()
	want[MemberJoined](t, gone)
	r.exec(`update public.nchat_channel_members set role = 'admin' where channel_id = $1 and user_id = $2`, demo.Team, demo.Dave)
	joined()
	want[MemberJoined](t, gone)
	r.exec(`update public.nchat_channel_members set can_read = false where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	left()
	if p, _ := want[MemberLeft](t, gone); p.MemberCount != nil || p.Change.MemberCount != nil {
		t.Errorf("who may not read the channel is told that it has %d members", *p.MemberCount)
	}
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Dave)
	left()
	page, err := r.o.Feed.Sync(t.Context(), alice, feed.Query{Cursor: start.Cursor})
	if err != nil || len(page.Members) != len(counts) {
		t.Fatalf("%+v, %v", page.Members, err)
	}
	for i, m := range page.Members {
		if m.MemberCount == nil || *m.MemberCount != counts[i] {
			t.Errorf("missed: %+v, want %d", m, counts[i])
		}
	}
	list, err := r.o.Feed.Channels(t.Context(), alice, []uuid.UUID{demo.Team})
	if err != nil || list[0].MemberCount() != members() {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestAThreadNotFollowedCostsNothing: which threads are followed is asked once, and after a
// reset again; what is written in others, by oneself, or beside threads, reads nothing.
func TestAThreadNotFollowedCostsNothing(t *testing.T) {
	t.Parallel()
	followed, other, me, somebody := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	lists := 0
	x := newThreads(time.Hour, nil, func(context.Context) ([]uuid.UUID, error) { lists++; return []uuid.UUID{followed}, nil }, nil)
	item := func(kind feed.Kind, thread, user uuid.UUID) feed.Item {
		return feed.Item{Entry: feed.Entry{Kind: kind, Thread: thread, User: user}}
	}
	for name, c := range map[string]struct {
		item feed.Item
		due  bool
	}{
		"another thread": {item(feed.Created, other, somebody), false}, "one's own": {item(feed.Created, followed, me), false},
		"the channel": {item(feed.Created, uuid.Nil, somebody), false}, "another's mark": {item(feed.Mark, followed, somebody), false},
		"a reply": {item(feed.Created, followed, somebody), true}, "an edit": {item(feed.Updated, followed, somebody), true},
		"a deletion": {item(feed.Deleted, followed, somebody), true}, "the system's": {item(feed.Created, followed, uuid.Nil), true},
	} {
		clear(x.due)
		if err := x.heard(t.Context(), []feed.Item{c.item}, me); err != nil {
			t.Fatal(err)
		}
		if _, due := x.due[followed]; due != c.due || len(x.due) > 1 {
			t.Errorf("%s: due is %v", name, x.due)
		}
	}
	if lists != 1 {
		t.Errorf("asked %d times which are followed", lists)
	}
	x.keep([]receipt.ThreadState{{ThreadID: other, Followed: true}, {ThreadID: followed}})
	clear(x.due)
	if err := x.heard(t.Context(), []feed.Item{item(feed.Created, followed, somebody), item(feed.Created, other, somebody)}, me); err != nil || len(x.due) != 1 || lists != 1 {
		t.Errorf("due is %v, want the one followed since: %v", x.due, err)
	}
	if !x.differs(receipt.ThreadState{ThreadID: followed}) || x.differs(receipt.ThreadState{ThreadID: followed}) {
		t.Error("what is told once is told again, or never")
	}
	if err := x.anew(func() error { return nil }); err != nil || !x.differs(receipt.ThreadState{ThreadID: followed}) {
		t.Error("what was told before a reset is held to be known", err)
	}
	if err := x.heard(t.Context(), []feed.Item{item(feed.Created, other, somebody)}, me); err != nil || lists != 2 {
		t.Errorf("after a reset asked %d times: %v", lists, err)
	}
}
