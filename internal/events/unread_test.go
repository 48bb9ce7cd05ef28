package events

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// until reads states of the team's channel until one is as wanted.
func until(t *testing.T, in <-chan receipt.State, what string, unread, mentions int) {
	t.Helper()
	for {
		s, open := next(t, in)
		if !open {
			t.Fatal(what, ": the subscription has ended")
		}
		if s.ChannelID == demo.Team && s.UnreadCount == unread && s.MentionCount == mentions {
			return
		}
	}
}

// unreadRig is a node that tells of unread messages at a pace, where bob has read everything.
func unreadRig(t *testing.T, every time.Duration) *rig {
	t.Helper()
	r := newRig(t)
	r.every = every
	if _, err := r.run().o.Receipts.AcknowledgeAll(t.Context(), bob, demo.Team); err != nil {
		t.Fatal(err)
	}
	if err := r.o.Feed.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestUnreadIsLive: whatever changes how much there is to read is told, whoever
// did it and by whichever way.
func TestUnreadIsLive(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Millisecond)
	states, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.State, error) {
		return r.ReadStates(ctx, bob, fail)
	})
	all := r.events(bob, Query{Kinds: []Kind{KindReadStates}})
	want[StreamReset](t, all)
	one := r.says(demo.Alice, demo.Team, "one")
	until(t, states, "a message", 1, 0)
	two := r.says(demo.Alice, demo.Team, "two")
	until(t, states, "another", 2, 0)
	r.exec(`update public.nchat_messages set mentions = array[$2::uuid] where id = $1`, one, demo.Bob)
	until(t, states, "a mention edited in", 2, 1)
	r.exec(`update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`, two)
	until(t, states, "a deletion", 1, 1)
	r.exec(`delete from public.nchat_messages where id = $1`, one)
	until(t, states, "a deletion for good", 0, 0)
	r.says(demo.Alice, demo.Team, "three")
	until(t, states, "one more", 1, 0)
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	until(t, states, "the end of a membership", 0, 0)
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Bob)
	for range 3 {
		one = r.says(demo.Alice, demo.Team, "four")
	}
	until(t, states, "after coming back", 3, 0)
	after(t, all, unreadIn(demo.Team, 3)) // what was passed over meanwhile is not told; that there is a gap is
	r.setBack()
	after(t, all, func(StreamReset) bool { return true })
	r.exec(`update public.nchat_messages set content = 'five' where id = $1`, one)
	after(t, all, unreadIn(demo.Team, 3)) // as it was told before, and who fetched anew may have had another
}

// TestWhatWasReadBeforeAResetIsToldBefore it.
func TestWhatWasReadBeforeAResetIsToldBefore(t *testing.T) {
	t.Parallel()
	var told []string
	var ended <-chan error
	var u *unread[receipt.State]
	u = newUnread(time.Hour, func(_ context.Context, channels []uuid.UUID) ([]receipt.State, error) {
		again := make(chan error, 1)
		ended = again
		go func() { again <- u.anew(func() error { told = append(told, "reset"); return nil }) }()
		return []receipt.State{{ChannelID: channels[0]}}, nil
	}, func(context.Context, receipt.State) error { told = append(told, "state"); return nil })
	if _, err := u.round(t.Context(), []uuid.UUID{uuid.New()}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || !slices.Equal(told, []string{"state", "reset"}) || len(u.told) > 0 {
		t.Errorf("told %v, and %v is held to be known: %v", told, u.told, err)
	}
}

// TestABusyChannelIsToldOfOnce: further changes within the pause are told
// together, and what the viewer reads itself at once all the same.
func TestABusyChannelIsToldOfOnce(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Hour)
	states, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.State, error) {
		return r.ReadStates(ctx, bob, fail)
	})
	r.says(demo.Alice, demo.Team, "one")
	if s, _ := next(t, states); s.UnreadCount != 1 {
		t.Fatalf("%+v", s)
	}
	var last uuid.UUID
	for range 5 {
		last = r.says(demo.Alice, demo.Team, "more")
		if err := r.o.Feed.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.o.Receipts.Acknowledge(t.Context(), bob, []receipt.Mark{{Channel: demo.Team, Message: last}}, true); err != nil {
		t.Fatal(err)
	}
	if s, _ := next(t, states); s.UnreadCount != 0 || s.LastReadMessageID == nil || *s.LastReadMessageID != last {
		t.Errorf("%+v comes, want what was read, and nothing before it", s)
	}
}

// TestUnreadsPace: at once, once a pause while it goes on, the last change
// always; what is as was told is not told again; by one reading for all channels.
func TestUnreadsPace(t *testing.T) {
	t.Parallel()
	a, b := uuid.New(), uuid.New()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		counts, reads := map[uuid.UUID]int{}, 0
		type told struct {
			channel uuid.UUID
			n       int
			at      time.Duration
		}
		var got []told
		u := newUnread(time.Second, func(_ context.Context, channels []uuid.UUID) (list []receipt.State, _ error) {
			reads++
			for _, c := range channels {
				list = append(list, receipt.State{ChannelID: c, UnreadCount: counts[c]})
			}
			return list, nil
		}, func(_ context.Context, s receipt.State) error {
			got = append(got, told{s.ChannelID, s.UnreadCount, time.Since(began)})
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- u.run(ctx) }()
		synctest.Wait()
		for range 50 { // five seconds of ten messages each
			counts[a]++
			u.changed(a, 0)
			<-time.After(100 * time.Millisecond)
			synctest.Wait()
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if len(got) != 6 || got[0].n != 1 || got[5].n != 50 {
			t.Errorf("told %v", got)
		}
		for i := 1; i < len(got); i++ {
			if d := got[i].at - got[i-1].at; d < time.Second {
				t.Errorf("told %v after the one before", d)
			}
		}
		got, reads = nil, 0
		u.changed(a, 0) // nothing is new
		<-time.After(2 * time.Second)
		synctest.Wait()
		counts[a], counts[b] = 0, 7
		u.mu.Lock()
		u.due[a], u.due[b] = 0, 0
		u.mu.Unlock()
		u.wake.Raise()
		synctest.Wait()
		if len(got) != 2 || reads != 2 {
			t.Errorf("told %v by %d readings", got, reads)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestOwnReadingsPace: who reads message by message is told at once, and while it goes
// on once a pause, the last always; what others do does not put that off.
func TestOwnReadingsPace(t *testing.T) {
	t.Parallel()
	a := uuid.New()
	synctest.Test(t, func(t *testing.T) {
		began, read := time.Now(), 0
		var got []int
		var at []time.Duration
		tell := func(s receipt.State) error {
			got, at = append(got, s.UnreadCount), append(at, time.Since(began))
			return nil
		}
		u := newUnread(time.Second, func(_ context.Context, channels []uuid.UUID) (list []receipt.State, _ error) {
			for _, c := range channels {
				list = append(list, receipt.State{ChannelID: c, UnreadCount: read})
			}
			return list, nil
		}, func(_ context.Context, s receipt.State) error { return tell(s) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- u.run(ctx) }()
		read = -1
		u.changed(a, 0) // somebody else, just before
		synctest.Wait()
		got, at = nil, nil
		for read = 1; read <= 50; read++ {
			if err := u.atOnce(ctx, a, int64(read), tell); err != nil {
				t.Error(err)
			}
			<-time.After(100 * time.Millisecond)
			synctest.Wait()
		}
		read = 50
		<-time.After(2 * time.Second)
		synctest.Wait()
		if len(got) == 0 || len(got) > 6 || got[0] != 1 || at[0] != 0 || got[len(got)-1] != 50 {
			t.Errorf("told %v at %v", got, at)
		}
		for i := 1; i < len(at); i++ {
			if d := at[i] - at[i-1]; d < time.Second {
				t.Errorf("told %v after the one before", d)
			}
		}
		if u.ripe(time.Now()); len(u.own)+len(u.last)+len(u.due)+len(u.now) > 0 {
			t.Errorf("kept of what is told: %v %v %v %v", u.own, u.last, u.due, u.now)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestACountThatTakesLongRests: whoever has much to read has it counted a tenth of the
// time, and half a minute late at most.
func TestACountThatTakesLongRests(t *testing.T) {
	t.Parallel()
	for took, most := range map[time.Duration]int{100 * time.Millisecond: 101, 2 * time.Second: 6, 20 * time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			// It ends beside the moments in which they read: a reading of an ended context takes no time.
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second-5*time.Millisecond)
			defer cancel()
			all, each := 0, 0
			sums := &totals{every: time.Second, wake: wait.NewFlag(), tell: func(context.Context, receipt.Totals) error { return nil },
				read: func(ctx context.Context) (receipt.Totals, error) {
					all++
					wait.For(ctx, took)
					return receipt.Totals{}, nil
				}}
			u := newUnread(time.Second, func(ctx context.Context, _ []uuid.UUID) ([]receipt.State, error) {
				each++
				wait.For(ctx, took)
				return nil, nil
			},
				func(context.Context, receipt.State) error { return nil })
			for _, run := range []func(context.Context) error{sums.run, u.run} {
				go func() { _ = run(ctx) }()
			}
			for ctx.Err() == nil {
				sums.wake.Raise()
				u.changed(uuid.New(), 0)
				<-time.After(10 * time.Millisecond)
			}
			synctest.Wait()
			if all > most || each > most || all == 0 || each == 0 {
				t.Errorf("counts of %v: %d and %d in %v, not some %d", took, all, each, 100*time.Second, most)
			}
		})
	}
}

// TestUnreadGivesUp: what reading fails with for good ends the stream.
func TestUnreadGivesUp(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	u := newUnread(time.Second, func(context.Context, []uuid.UUID) ([]receipt.State, error) { return nil, no }, nil)
	u.changed(uuid.New(), 0)
	if err := u.run(t.Context()); !errors.Is(err, no) {
		t.Error(err)
	}
}

func TestWhatAffectsUnread(t *testing.T) {
	t.Parallel()
	me, other, thread := uuid.New(), uuid.New(), uuid.New()
	for name, c := range map[string]struct {
		e    feed.Entry
		want bool
	}{
		"another's message":       {feed.Entry{Kind: feed.Created, User: other}, true},
		"nobody's":                {feed.Entry{Kind: feed.Created}, true},
		"one's own":               {feed.Entry{Kind: feed.Created, User: me}, false},
		"in a thread":             {feed.Entry{Kind: feed.Created, User: other, Thread: thread}, false},
		"a change":                {feed.Entry{Kind: feed.Updated, User: other}, true},
		"a deletion":              {feed.Entry{Kind: feed.Deleted, User: other}, true},
		"one's own joining":       {feed.Entry{Kind: feed.Joined, User: me}, true},
		"one's own leaving":       {feed.Entry{Kind: feed.Left, User: me}, true},
		"another's joining":       {feed.Entry{Kind: feed.Joined, User: other}, false},
		"one's own reading":       {feed.Entry{Kind: feed.Mark, User: me}, false},
		"a channel's new name":    {feed.Entry{Kind: feed.Channel}, false},
		"rights of one's own":     {feed.Entry{Kind: feed.Member, User: me}, false},
		"the end of a channel":    {feed.Entry{Kind: feed.Gone}, false},
		"that it became a public": {feed.Entry{Kind: feed.Opened}, true},
	} {
		if got := affects(feed.Item{Entry: c.e}, me); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestTotalsAreLive: of all channels together, whatever changes them; what is
// muted does not count.
func TestTotalsAreLive(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Millisecond)
	r.exec(`update public.nchat_channel_members set is_muted = true where user_id = $1 and channel_id <> $2`, demo.Bob, demo.Team)
	in, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.Totals, error) {
		return r.Totals(ctx, bob, fail)
	})
	wait := func(what string, want receipt.Totals) {
		t.Helper()
		for {
			got, open := next(t, in)
			if !open {
				t.Fatal(what, ": the subscription has ended")
			}
			if got == want {
				return
			}
		}
	}
	wait("at once", receipt.Totals{})
	id := r.says(demo.Alice, demo.Team, "one")
	wait("a message", receipt.Totals{Channels: 1, Messages: 1})
	r.exec(`update public.nchat_messages set mentions = array[$2::uuid] where id = $1`, id, demo.Bob)
	wait("a mention", receipt.Totals{Channels: 1, Messages: 1, Mentions: 1})
	r.says(demo.Alice, demo.General, "muted")
	r.says(demo.Alice, demo.Team, "two")
	wait("one that counts and one that is muted", receipt.Totals{Channels: 1, Messages: 2, Mentions: 1})
	if got, err := r.o.Receipts.CurrentTotals(t.Context(), bob); err != nil || got != (receipt.Totals{Channels: 1, Messages: 2, Mentions: 1}) {
		t.Errorf("asked: %+v %v", got, err)
	}
	if _, err := r.o.Receipts.AcknowledgeAll(t.Context(), bob, demo.Team); err != nil {
		t.Fatal(err)
	}
	wait("what was read", receipt.Totals{})
}

// TestAMuteIsToldToOnesOwnDevices: the totals follow at once, whoever writes it
// and when it is over, and events and a cursor bring it to the same user's other
// devices and to nobody else.
func TestAMuteIsToldToOnesOwnDevices(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Millisecond)
	notifier := receipt.NewNotifier(receipt.NotifierOptions{Pool: r.pool, Now: time.Now, Committed: r.o.Feed.Committed, Log: r.o.Log})
	r.exec(`update public.nchat_channel_members set is_muted = true where user_id = $1 and channel_id <> $2`, demo.Bob, demo.Team)
	r.says(demo.Alice, demo.Team, "one")
	totals, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.Totals, error) {
		return r.Totals(ctx, bob, fail)
	})
	other := r.events(bob, Query{Kinds: []Kind{KindChannels}})
	_, cursor := want[StreamReset](t, other)
	foreign := r.events(alice, Query{Kinds: []Kind{KindChannels}})
	want[StreamReset](t, foreign)
	all, none := receipt.Totals{Channels: 1, Messages: 1}, receipt.Totals{}
	step := func(what string, totalsThen receipt.Totals, level string, muted bool) {
		t.Helper()
		for got, open := next(t, totals); got != totalsThen; got, open = next(t, totals) {
			if !open {
				t.Fatal(what, ": the subscription has ended")
			}
		}
		if level == "" {
			return
		}
		if c, _ := want[ChannelUpdated](t, other); c.Channel.ChannelID != demo.Team || c.Channel.Level != level || (c.Channel.MutedUntil != nil) != muted {
			t.Errorf("%s: another device is told %+v", what, c)
		}
	}
	step("at once", all, "", false)
	later := time.Now().Add(time.Hour)
	if _, err := notifier.Set(t.Context(), bob, demo.Team, receipt.Choice{Mutes: true, Until: &later}); err != nil {
		t.Fatal(err)
	}
	step("muted", none, "all", true)
	r.exec(`update realtime.notifications set muted_until = clock_timestamp()`)
	r.exec(`select realtime.unmute(10)`)
	step("over by itself", all, "all", false)
	r.exec(`update public.nchat_channel_members set is_muted = true where user_id = $1 and channel_id = $2`, demo.Bob, demo.Team)
	step("muted by SQL", none, "none", false)
	r.exec(`update public.nchat_channel_members set is_muted = false where user_id = $1 and channel_id = $2`, demo.Bob, demo.Team)
	step("unmuted by SQL", all, "all", false)
	level := receipt.LevelNone
	if _, err := notifier.Set(t.Context(), bob, demo.Team, receipt.Choice{Level: &level}); err != nil {
		t.Fatal(err)
	}
	step("level none", none, "none", false)
	if p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: cursor}); err != nil || len(p.Channels) != 1 || p.Channels[0].Level != "none" {
		t.Errorf("a cursor brings %+v %v", p.Channels, err)
	}
	r.exec(`update public.nchat_channels set name = 'renamed' where id = $1`, demo.Team)
	if c, _ := want[ChannelUpdated](t, foreign); c.Channel.Name != "renamed" || c.Channel.Level != "all" {
		t.Errorf("somebody else is told %+v", c)
	}
}

// TestOwnReadingIsToldOnceABatch: who reads message by message, and comes back later, is
// told how far it is, and not of each step; each thread and channel by itself.
func TestOwnReadingIsToldOnceABatch(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Hour)
	open := r.events(bob, Query{Kinds: []Kind{KindMessages}})
	want[StreamReset](t, open)
	var ids []uuid.UUID
	var cursor string
	for _, channel := range []uuid.UUID{demo.Team, demo.General, demo.Team, demo.Team} {
		ids = append(ids, r.says(demo.Alice, channel, "one"))
		_, cursor = want[MessageCreated](t, open)
	}
	for i, channel := range []uuid.UUID{demo.Team, demo.General, demo.Team, demo.Team} {
		if _, err := r.o.Receipts.Acknowledge(t.Context(), bob, []receipt.Mark{{Channel: channel, Message: ids[i]}}, true); err != nil {
			t.Fatal(err)
		}
	}
	last := r.says(demo.Bob, demo.Team, "the end") // which is not unread to him
	want[MessageCreated](t, open)
	told := map[uuid.UUID]int{}
	for again := r.events(bob, Query{Cursor: cursor, Kinds: []Kind{KindReadStates, KindMessages}}); ; {
		e, open := next(t, again)
		if !open {
			t.Fatal("it has ended")
		}
		if p, is := e.Payload.(ReadStateChanged); is {
			told[p.ReadState.ChannelID]++
		}
		if p, is := e.Payload.(MessageCreated); is && p.Message.ID == last {
			break
		}
	}
	if told[demo.Team] != 1 || told[demo.General] != 1 {
		t.Errorf("told %v times, want each once", told)
	}
}
