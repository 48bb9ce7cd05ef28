package events

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestThatItBeginsAnewIsSaidFirst: however ready the state beside it is. Which
// of them would win is chance: so it is tried often.
func TestThatItBeginsAnewIsSaidFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t).run()
	_, old := want[StreamReset](t, r.events(bob, Query{}))
	beside := Query{Users: []uuid.UUID{demo.Alice, demo.Carol}}
	for range 400 {
		if p, _ := want[StreamReset](t, r.events(bob, beside)); p.Reason != feed.Started {
			t.Fatalf("it begins because %q", p.Reason)
		}
	}
	r.setBack()
	beside.Cursor = old
	for range 100 {
		if p, cursor := want[StreamReset](t, r.events(bob, beside)); p.Reason != feed.Changed || p.Cursor != cursor {
			t.Fatalf("it begins because %q, at %q, told at %q", p.Reason, p.Cursor, cursor)
		}
	}
}

// TestStateComesBesideTheLog: also where it goes on from a cursor and has no
// reset to tell.
func TestStateComesBesideTheLog(t *testing.T) {
	t.Parallel()
	r := newRig(t).run()
	_, cursor := want[StreamReset](t, r.events(bob, Query{})) // of all kinds: it knows that there is nothing to count
	in := r.events(bob, Query{Cursor: cursor, Users: []uuid.UUID{demo.Alice}})
	came := map[string]bool{}
	for len(came) < 3 {
		switch e, _ := next(t, in); p := e.Payload.(type) {
		case PresenceChanged:
			came["presence"] = p.Presence.UserID == demo.Alice
		case SettingsChanged:
			came["settings"] = true
		case SyncProgress:
			came["progress"] = p == SyncProgress{}
		default:
			t.Fatalf("%T %+v comes", p, p)
		}
	}
	for what, ok := range came {
		if !ok {
			t.Error("wrong:", what)
		}
	}
}

// TestEventsBeginAfterWhatIsCommitted: who joined before is no news.
func TestEventsBeginAfterWhatIsCommitted(t *testing.T) {
	t.Parallel()
	r := newRig(t) // the world's joins are committed and have no position
	in := r.events(bob, Query{Kinds: []Kind{KindMembers}})
	r.run()
	want[StreamReset](t, in)
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Carol)
	if p, _ := want[MemberLeft](t, in); p.Change.UserID != demo.Carol {
		t.Errorf("%+v", p)
	}
}

// TestWhatCannotSayThatItBeginsAnewEnds: after another history came, a stream
// without a reset of its own ends with an error that says so; it neither goes
// on as if nothing had been nor is begun in vain.
func TestWhatCannotSayThatItBeginsAnewEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t).run()
	kinds := map[string]func() <-chan error{
		"messages": func() <-chan error {
			return ends(begin(r, func(ctx context.Context, fail func(error)) (<-chan MessageEvent, error) {
				return r.Messages(ctx, bob, demo.Team, false, fail)
			}))
		},
		"deliveries": func() <-chan error {
			return ends(begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.Delivery, error) {
				return r.Deliveries(ctx, bob, nil, fail)
			}))
		},
		"read states": func() <-chan error {
			return ends(begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.State, error) {
				return r.ReadStates(ctx, bob, fail)
			}))
		},
		"messages that are shared": func() <-chan error {
			shared, err := r.ReadMessages(t.Context(), bob, demo.Team, "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(shared.Close)
			out := make(chan error, 1)
			go func() {
				for {
					if _, err := shared.Next(t.Context()); err != nil {
						out <- err
						return
					}
				}
			}()
			return out
		},
		"thread states": func() <-chan error {
			return ends(begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.ThreadState, error) {
				return r.ThreadStates(ctx, bob, fail)
			}))
		},
		"totals": func() <-chan error {
			return ends(begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.Totals, error) {
				return r.Totals(ctx, bob, fail)
			}))
		},
	}
	in := r.events(bob, Query{Kinds: []Kind{KindMessages}})
	want[StreamReset](t, in)
	ended := map[string]<-chan error{}
	for kind, open := range kinds {
		ended[kind] = open()
	}
	r.setBack()
	for kind, end := range ended {
		err, _ := next(t, end)
		if f := fault.From(err); f.Code != fault.Reset || !f.Retryable {
			t.Errorf("%s end with %v", kind, err)
		}
	}
	if p, _ := want[StreamReset](t, in); p.Reason != feed.Changed {
		t.Errorf("events say %q", p.Reason)
	}
	again, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan MessageEvent, error) {
		return r.Messages(ctx, bob, demo.Team, false, fail)
	})
	id := r.says(demo.Alice, demo.Team, "after")
	if e, _ := next(t, again); e.Message.ID != id {
		t.Errorf("a new one tells %+v", e)
	}
	if p, _ := want[MessageCreated](t, in); p.Message.ID != id {
		t.Errorf("events go on with %+v", p)
	}
}

// ends is what a subscription that tells nothing ends with.
func ends[T any](in <-chan T, failed <-chan error) <-chan error {
	out := make(chan error, 1)
	go func() {
		for range in { //nolint:revive // until it has ended
		}
		select {
		case err := <-failed:
			out <- err
		default:
			out <- nil
		}
	}()
	return out
}

// TestReceiptsComeInTheirPlace: what others' marks passed is told before what
// comes after them, and whoever goes on after a part of it gets all of it.
func TestReceiptsComeInTheirPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t).run()
	receipts := Query{Kinds: []Kind{KindMessages, KindDeliveries}}
	in := r.events(alice, receipts)
	want[StreamReset](t, in)
	old := uuid.MustParse("00000000-0000-4000-b000-000000000005") // alice's, of the demo world
	one, two := r.says(demo.Alice, demo.Team, "one"), r.says(demo.Alice, demo.Team, "two")
	want[MessageCreated](t, in)
	want[MessageCreated](t, in)
	if err := r.o.Feed.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.o.Receipts.Acknowledge(t.Context(), bob, []receipt.Mark{{Channel: demo.Team, Message: two}}, true); err != nil {
		t.Fatal(err)
	}
	last := r.says(demo.Bob, demo.Team, "three")
	told := func(in <-chan Event) (first string) {
		t.Helper()
		for i, id := range []uuid.UUID{old, one, two} {
			p, cursor := want[DeliveryChanged](t, in)
			if p.Delivery.MessageID != id || p.Delivery.ReadCount != 1 {
				t.Errorf("%+v", p)
			}
			if i == 0 {
				first = cursor
			}
		}
		if p, _ := want[MessageCreated](t, in); p.Message.ID != last {
			t.Errorf("%+v", p)
		}
		return first
	}
	receipts.Cursor = told(in)
	told(r.events(alice, receipts))
}

// TestOnesOwnReadingIsTold: by every device, once for each channel it moved in.
func TestOnesOwnReadingIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t).run()
	in, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan receipt.State, error) {
		return r.ReadStates(ctx, bob, fail)
	})
	id := r.says(demo.Alice, demo.Team, "read me")
	if err := r.o.Feed.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.o.Receipts.Acknowledge(t.Context(), bob, []receipt.Mark{{Channel: demo.Team, Message: id}}, true); err != nil {
		t.Fatal(err)
	}
	for { // that there is something to read may be told before
		s, open := next(t, in)
		if !open || s.ChannelID != demo.Team {
			t.Fatalf("%+v", s)
		}
		if s.LastReadMessageID != nil && *s.LastReadMessageID == id {
			break
		}
	}
}

// TestWhoJoinsLearnsWhatItMayRead: the channel, and that a public one has a past
// to fetch, come first, and with a cursor from before: whoever goes on from
// there learns of it again.
func TestWhoJoinsLearnsWhatItMayRead(t *testing.T) {
	t.Parallel()
	r := newRig(t).run()
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.General, demo.Bob)
	q := Query{Kinds: []Kind{KindChannels, KindMembers}}
	in := r.events(bob, q)
	want[StreamReset](t, in)
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.General, demo.Bob)
	told := func(in <-chan Event) string {
		t.Helper()
		if p, _ := want[ChannelUpdated](t, in); p.Channel.ChannelID != demo.General {
			t.Errorf("%+v", p)
		}
		gap, cursor := want[StreamGap](t, in)
		if gap.ChannelID != demo.General || gap.Cursor != cursor {
			t.Errorf("%+v at %q", gap, cursor)
		}
		if p, _ := want[MemberJoined](t, in); p.Change.UserID != demo.Bob {
			t.Errorf("%+v", p)
		}
		return cursor
	}
	q.Cursor = told(in)
	told(r.events(bob, q))
}

// TestNobodyIsToldNothing: nor is whoever may not read the channel.
func TestNobodyIsToldNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for what, v := range map[string]viewer.Viewer{"nobody": {}, "no member": viewer.Of("primary", demo.Frank), "of another tenant": viewer.Of("other", demo.Bob)} {
		if _, err := r.Messages(t.Context(), v, demo.Team, false, nil); fault.From(err).Code != fault.Denied {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := r.Events(t.Context(), viewer.Viewer{}, Query{}, nil); fault.From(err).Code != fault.Denied {
		t.Error(err)
	}
}
