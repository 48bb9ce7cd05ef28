package receipt_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// thread makes a thread in the team's channel.
func (r *rig) thread() (id uuid.UUID) {
	r.t.Helper()
	id = uuid.New()
	r.exec(`insert into public.nchat_threads (id, channel_id) values ($1, $2)`, id, demo.Team)
	return id
}

// reply writes in a thread of the team's channel.
func (r *rig) reply(thread, sender uuid.UUID, mentions ...uuid.UUID) uuid.UUID {
	r.t.Helper()
	id := uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, thread_id, user_id, content, mentions) values ($1, $2, $3, $4, 'x', $5)`, id, demo.Team, thread, sender, mentions)
	return id
}

func (r *rig) threadState(user, thread uuid.UUID) receipt.ThreadState {
	r.t.Helper()
	list, err := r.s.Threads.Current(r.t.Context(), as(user), []uuid.UUID{thread})
	if err != nil || len(list) != 1 {
		r.t.Fatal(list, err)
	}
	return list[0]
}

func (r *rig) channelState(user uuid.UUID) receipt.State {
	r.t.Helper()
	list, err := r.s.Current(r.t.Context(), as(user), []uuid.UUID{demo.Team})
	if err != nil || len(list) != 1 {
		r.t.Fatal(list, err)
	}
	return list[0]
}

// TestAThreadIsReadByItself: what is read in a thread moves nothing in its channel nor
// in other threads, and the other way round, for the reader and for the senders.
func TestAThreadIsReadByItself(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	first, second := r.thread(), r.thread()
	inChannel := r.say(demo.Team, demo.Alice)
	one, two := r.reply(first, demo.Alice, demo.Bob), r.reply(second, demo.Alice)
	last := r.reply(first, demo.Alice)
	before := r.channelState(demo.Bob).UnreadCount
	if s := r.threadState(demo.Bob, first); s.UnreadCount != 2 || s.MentionCount != 1 || s.Followed || s.ChannelID != demo.Team {
		t.Errorf("before: %+v", s)
	}
	if s := r.ack(demo.Bob, demo.Team, last, true); s.UnreadCount != before {
		t.Errorf("reading a thread reads the channel: %d unread, %d before", s.UnreadCount, before)
	}
	if s := r.threadState(demo.Bob, first); s.UnreadCount != 0 || s.MentionCount != 0 || *s.LastReadMessageID != last || s.LastReadAt == nil {
		t.Errorf("after: %+v", s)
	}
	if s := r.threadState(demo.Bob, second); s.UnreadCount != 1 || s.LastReadMessageID != nil {
		t.Errorf("another thread: %+v", s)
	}
	for id, want := range map[uuid.UUID]receipt.Status{inChannel: receipt.Sent, two: receipt.Sent, one: receipt.Read, last: receipt.Read} {
		if d := r.delivery(demo.Alice, id); d.Status() != want {
			t.Errorf("%+v, want %s", d, want)
		}
	}
	after := r.say(demo.Team, demo.Alice)
	late := r.reply(second, demo.Alice)
	if s := r.ack(demo.Bob, demo.Team, r.say(demo.Team, demo.Alice), true); s.UnreadCount != 0 {
		t.Errorf("the channel: %+v", s)
	}
	if s := r.threadState(demo.Bob, second); s.UnreadCount != 2 {
		t.Errorf("reading the channel reads a thread: %+v", s)
	}
	for id, want := range map[uuid.UUID]receipt.Status{inChannel: receipt.Read, after: receipt.Read, two: receipt.Delivered, late: receipt.Delivered} {
		d := r.delivery(demo.Alice, id)
		if d.Status() != want || d.DeliveredCount != 1 {
			t.Errorf("%+v, want %s", d, want)
		}
		ledger, err := r.s.Ledger(t.Context(), as(demo.Alice), []uuid.UUID{id})
		if err != nil {
			t.Fatal(err)
		}
		page, _, n, err := ledger.Receipts(id, 10, "")
		if err != nil || n != 1 || (page[0].ReadAt != nil) != (want == receipt.Read) {
			t.Errorf("receipts %+v, %v", page, err)
		}
	}
	// The thread named is to be the message's.
	for name, m := range map[string]receipt.Mark{"another": {Channel: demo.Team, Thread: second, Message: one}, "none": {Channel: demo.Team, Thread: first, Message: after}} {
		if _, err := r.s.Acknowledge(t.Context(), as(demo.Bob), []receipt.Mark{m}, true); fault.From(err).Code != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	list, err := r.s.Acknowledge(t.Context(), as(demo.Bob), []receipt.Mark{{Channel: demo.Team, Thread: second, Message: late}, {Channel: demo.Team, Message: after}}, true)
	if err != nil || len(list) != 1 || r.threadState(demo.Bob, second).UnreadCount != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := r.s.AcknowledgeAll(t.Context(), as(demo.Carol), demo.Team); err != nil || r.channelState(demo.Carol).UnreadCount != 0 {
		t.Errorf("all of a channel whose newest message is in a thread: %v", err)
	}
}

// TestReadingAThreadIsPrivateToo: what its reader does not share, and what is owed to
// nobody, no sender learns of by a thread either.
func TestReadingAThreadIsPrivateToo(t *testing.T) {
	t.Parallel()
	r := newRig(t, true)
	thread := r.thread()
	a, b := r.reply(thread, demo.Alice), r.reply(thread, demo.Carol)
	r.set(demo.Carol, presence.Change{AllowReadReceipts: ptr(false)})
	r.ack(demo.Bob, demo.Team, r.say(demo.Team, demo.Alice), true) // past both, in the channel
	r.ack(demo.Bob, demo.Team, b, true)
	if d := r.delivery(demo.Alice, a); d.Status() != receipt.Read {
		t.Errorf("%+v", d)
	}
	if n := r.count(`select count(*) from realtime.moves where thread = $1 and $2 = any (read_hidden_from)`, thread, demo.Carol); n != 1 {
		t.Error("who shares no reading of its own may learn of a thread's")
	}
	r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)})
	c := r.reply(thread, demo.Alice)
	r.ack(demo.Bob, demo.Team, c, true)
	r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(true)})
	if d := r.delivery(demo.Alice, c); d.Status() != receipt.Sent {
		t.Errorf("read in private: %+v", d)
	}
}

// TestWhomAThreadsMarkIsToldTo: the senders in the thread alone, of their messages there,
// and what is read while invisible when that ends.
func TestWhomAThreadsMarkIsToldTo(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	thread, other := r.thread(), r.thread()
	r.say(demo.Team, demo.Carol)
	mine := []uuid.UUID{r.reply(thread, demo.Alice)}
	r.say(demo.Team, demo.Alice)
	r.reply(other, demo.Alice)
	mine = append(mine, r.reply(thread, demo.Alice))
	r.reply(other, demo.Carol)
	last := r.reply(thread, demo.Bob)
	r.set(demo.Bob, presence.Change{InvisibleMode: ptr(true)})
	r.ack(demo.Bob, demo.Team, last, true)
	move := int64(r.count(`select id from realtime.moves where thread = $1`, thread))
	told := func() (senders, passed []uuid.UUID) {
		t.Helper()
		by, err := receipt.Senders(t.Context(), r.pool, []int64{move})
		if err != nil {
			t.Fatal(err)
		}
		if passed, err = r.s.Passed(t.Context(), as(demo.Alice), []int64{move}); err != nil {
			t.Fatal(err)
		}
		return by[move], passed
	}
	if senders, passed := told(); len(senders)+len(passed) != 0 || r.delivery(demo.Alice, mine[0]).Status() != receipt.Sent {
		t.Errorf("while invisible: %v, %v", senders, passed)
	}
	r.set(demo.Bob, presence.Change{InvisibleMode: ptr(false)})
	if senders, passed := told(); !slices.Equal(senders, []uuid.UUID{demo.Alice}) || !slices.Equal(passed, mine) {
		t.Errorf("told to %v of %v, want %v", senders, passed, mine)
	}
	if n := r.count(`select count(*) from realtime.inbox where kind = 'mark' and thread = $1 and ref = $2`, thread, move); n == 0 {
		t.Error("what is shown now is not told as the thread's")
	}
	if d := r.delivery(demo.Alice, mine[1]); d.Status() != receipt.Read {
		t.Errorf("%+v", d)
	}
}

// TestMarkUnread: from a message on there is something to read again; nobody else
// learns of it, and of what is read once more nothing new.
func TestMarkUnread(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	thread := r.thread()
	one, two, three := r.say(demo.Team, demo.Alice), r.say(demo.Team, demo.Alice), r.say(demo.Team, demo.Alice)
	reply := r.reply(thread, demo.Alice)
	r.ack(demo.Bob, demo.Team, two, true)
	r.ack(demo.Bob, demo.Team, reply, true)
	was := r.delivery(demo.Alice, two)
	unread := func(id uuid.UUID) receipt.State {
		t.Helper()
		s, err := r.s.MarkUnread(t.Context(), as(demo.Bob), id)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	moves := r.count(`select count(*) from realtime.moves`)
	for range 2 { // again changes nothing
		if s := unread(two); s.UnreadCount != 2 || *s.LastReadMessageID != one {
			t.Errorf("%+v", s)
		}
	}
	if s := unread(three); s.UnreadCount != 2 {
		t.Errorf("what is unread already: %+v", s)
	}
	if s := unread(reply); s.UnreadCount != 2 || r.threadState(demo.Bob, thread).UnreadCount != 1 {
		t.Errorf("in a thread: %+v, %+v", s, r.threadState(demo.Bob, thread))
	}
	if d := r.delivery(demo.Alice, two); d.Status() != receipt.Read || !d.ReadAt.Equal(*was.ReadAt) {
		t.Errorf("a receipt shown is taken back: %+v", d)
	}
	r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)})
	r.ack(demo.Bob, demo.Team, three, true)
	unread(one)
	r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(true)})
	for _, id := range []uuid.UUID{one, two, three, reply} { // step by step and not at once
		r.ack(demo.Bob, demo.Team, id, true)
	}
	if s := r.channelState(demo.Bob); s.UnreadCount != 0 || r.threadState(demo.Bob, thread).UnreadCount != 0 {
		t.Errorf("%+v", s)
	}
	if d := r.delivery(demo.Alice, three); d.ReadCount != 0 {
		t.Errorf("read in private, and shown as it is read again: %+v", d)
	}
	if d := r.delivery(demo.Alice, two); d.ReadCount != 1 || d.DeliveredCount != 1 {
		t.Errorf("read twice: %+v", d)
	}
	if n := r.count(`select count(*) from realtime.moves`); n != moves+1 {
		t.Errorf("%d moves for one new reading", n-moves)
	}
	four := r.say(demo.Team, demo.Alice)
	r.ack(demo.Bob, demo.Team, four, true)
	if d := r.delivery(demo.Alice, four); d.ReadCount != 1 {
		t.Errorf("what is new: %+v", d)
	}
	foreign, hidden := r.say(demo.AliceBob, demo.Alice), r.say(demo.Team, demo.Alice)
	for name, c := range map[string]struct{ user, message uuid.UUID }{"nowhere": {demo.Bob, uuid.New()}, "another's": {demo.Carol, foreign}, "from outside": {demo.Erin, hidden}, "by nobody": {uuid.Nil, hidden}} {
		_, err := r.s.MarkUnread(t.Context(), as(c.user), c.message)
		if f, ok := errors.AsType[*fault.Error](err); !ok || *f != *fault.Access() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFollowing: who follows a thread, by whichever way, has it counted; what may not be
// followed is refused alike.
func TestFollowing(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	thread := r.thread()
	early := r.reply(thread, demo.Alice)
	if _, err := r.s.AcknowledgeAll(t.Context(), as(demo.Bob), demo.Team); err != nil {
		t.Fatal(err)
	}
	total := func() int {
		t.Helper()
		s, err := r.s.CurrentTotals(t.Context(), as(demo.Bob))
		if err != nil {
			t.Fatal(err)
		}
		return s.Threads
	}
	base := total()
	for range 2 {
		s, err := r.s.Threads.Follow(t.Context(), as(demo.Bob), thread, true)
		if err != nil || !s.Followed || s.UnreadCount != 0 {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	if n := total(); n != base {
		t.Errorf("following makes %d threads unread", n-base)
	}
	if d := r.delivery(demo.Alice, early); d.Status() == receipt.Read {
		t.Errorf("what is followed is no more than that: %+v", d)
	}
	if _, err := r.s.MarkUnread(t.Context(), as(demo.Bob), early); err != nil || r.threadState(demo.Bob, thread).UnreadCount != 1 {
		t.Errorf("marked unread, what was there before it was followed: %v", err)
	}
	if r.ack(demo.Bob, demo.Team, early, true); r.delivery(demo.Alice, early).Status() != receipt.Read || total() != base {
		t.Errorf("what is read after following is not told")
	}
	last := r.reply(thread, demo.Alice)
	if n := total(); n != base+1 {
		t.Errorf("%d threads with something to read", n-base)
	}
	r.exec(`update public.nchat_channel_members set is_muted = true where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	if n := total(); n != base {
		t.Errorf("%d in a muted channel", n-base)
	}
	r.exec(`update public.nchat_channel_members set is_muted = false where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	s, err := r.s.Threads.Follow(t.Context(), as(demo.Bob), thread, false)
	if err != nil || s.Followed || s.UnreadCount != 1 || total() != base {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := r.s.Threads.Follow(t.Context(), as(demo.Bob), thread, false); err != nil || s.Followed {
		t.Errorf("again: %+v, %v", s, err)
	}
	r.exec(`update public.nchat_thread_members set is_subscribed = true where thread_id = $1`, thread) // by the app
	if s := r.threadState(demo.Bob, thread); !s.Followed || total() != base+1 {
		t.Errorf("%+v", s)
	}
	r.exec(`insert into public.nchat_thread_members (thread_id, user_id, last_read_message_id) values ($1, $2, $3)`, thread, demo.Carol, last)
	if s := r.threadState(demo.Carol, thread); !s.Followed || s.UnreadCount != 0 {
		t.Errorf("as far as nchat's column says: %+v", s)
	}
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	if n := total(); n != base {
		t.Errorf("%d threads of a channel left", n-base)
	}
	for name, who := range map[string]struct{ user, thread uuid.UUID }{"left": {demo.Bob, thread}, "never there": {demo.Erin, thread}, "nowhere": {demo.Carol, uuid.New()}, "nobody": {uuid.Nil, thread}} {
		_, err := r.s.Threads.Follow(t.Context(), as(who.user), who.thread, true)
		if f, ok := errors.AsType[*fault.Error](err); !ok || *f != *fault.Access() {
			t.Errorf("%s: %v", name, err)
		}
		if who.user == uuid.Nil {
			continue
		}
		if list, err := r.s.Threads.Current(t.Context(), as(who.user), []uuid.UUID{who.thread}); err != nil || len(list) != 0 {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
	if n := r.count(`select count(*) from public.nchat_thread_members where user_id = $1 and thread_id = $2`, demo.Erin, thread); n != 0 {
		t.Error("who is refused follows")
	}
}

// TestThreadsAgainstAModel: whatever is written, read, marked unread, deleted, and
// whoever comes and goes, the counts of channel and threads are those of counting the slow
// way, and nobody is told of a reading twice or loses one it was told of.
func TestThreadsAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r, dice := newRig(t, false), rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test's dice
			r.exec(`delete from public.nchat_blocked_users`)
			r.exec(`delete from public.nchat_messages where channel_id = $1`, demo.Team)
			places := []uuid.UUID{uuid.Nil, r.thread(), r.thread()}
			users := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol}
			type message struct {
				id, thread, sender uuid.UUID
				deleted            bool
				unread             map[uuid.UUID]bool // by those who were members
				read               map[uuid.UUID]bool // ever, as members
			}
			var list []*message
			member := map[uuid.UUID]bool{demo.Alice: true, demo.Bob: true, demo.Carol: true}
			for range 160 {
				who := users[dice.IntN(len(users))]
				var m *message
				if len(list) > 0 {
					m = list[dice.IntN(len(list))]
				}
				switch n := dice.IntN(10); {
				case n < 4 && member[who]:
					x := &message{thread: places[dice.IntN(3)], sender: who, unread: map[uuid.UUID]bool{}, read: map[uuid.UUID]bool{}}
					if x.thread == uuid.Nil {
						x.id = r.say(demo.Team, who)
					} else {
						x.id = r.reply(x.thread, who)
					}
					for u, in := range member {
						if in && u != who {
							x.unread[u] = true
						}
					}
					list = append(list, x)
				case n < 6 && m != nil && member[who]:
					if _, known := m.unread[who]; !known && m.sender != who {
						continue // from before its time: that is another test's
					}
					r.ack(who, demo.Team, m.id, true)
					for _, x := range list {
						if was, known := x.unread[who]; x.thread == m.thread && known {
							x.unread[who] = false
							x.read[who] = x.read[who] || was
						}
						if x == m {
							break
						}
					}
				case n < 8 && m != nil && member[who]:
					if _, known := m.unread[who]; !known && m.sender != who {
						continue
					}
					if _, err := r.s.MarkUnread(t.Context(), as(who), m.id); err != nil {
						t.Fatal(err)
					}
					after := false
					for _, x := range list {
						after = after || x == m
						if _, known := x.unread[who]; after && known && x.thread == m.thread {
							x.unread[who] = true
						}
					}
				case n == 8 && m != nil:
					m.deleted = true
					r.exec(`update public.nchat_messages set is_deleted = true where id = $1`, m.id)
				case n == 9 && dice.IntN(3) == 0 && who != demo.Alice:
					if member[who] = !member[who]; member[who] {
						r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, who)
					} else {
						r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, who)
						if err := r.settle(t.Context()); err != nil {
							t.Fatal(err)
						}
						list = slices.DeleteFunc(list, func(*message) bool { return true }) // what comes back begins anew
						r.exec(`update public.nchat_messages set is_deleted = true where channel_id = $1`, demo.Team)
					}
				}
				for _, u := range users {
					if !member[u] {
						continue
					}
					for i, place := range places {
						want := 0
						for _, x := range list {
							if x.thread == place && x.unread[u] && !x.deleted {
								want++
							}
						}
						got := r.channelState(u).UnreadCount
						if i > 0 {
							got = r.threadState(u, place).UnreadCount
						}
						if got != want {
							t.Fatalf("place %d: %d unread, want %d", i, got, want)
						}
					}
				}
				for _, x := range list {
					if d := r.delivery(x.sender, x.id); member[x.sender] && d.ReadCount != len(x.read)-falses(x.read) {
						t.Fatalf("%+v, read by %v", d, x.read)
					}
				}
			}
		})
	}
}

func falses(m map[uuid.UUID]bool) (n int) {
	for _, x := range m {
		if !x {
			n++
		}
	}
	return n
}
