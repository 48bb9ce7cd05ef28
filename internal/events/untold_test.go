package events

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/feed"
)

// cut begins a subscription of bob's that the test cuts.
func (r *rig) cut(q Query) (in <-chan Event, end func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	in, err := r.Events(ctx, bob, q, func(error) {})
	if err != nil {
		r.t.Fatal(err)
	}
	return in, func() {
		cancel()
		for range in { //nolint:revive // until it has ended
		}
	}
}

// after reads events until one has a payload as wanted.
func after[P Payload](t *testing.T, in <-chan Event, ok func(P) bool) (cursor string) {
	t.Helper()
	for {
		e, open := next(t, in)
		if !open {
			t.Fatal("it has ended")
		}
		if p, is := e.Payload.(P); is && ok(p) {
			return e.Cursor
		}
	}
}

func unreadIn(channel uuid.UUID, n int) func(ReadStateChanged) bool {
	return func(p ReadStateChanged) bool { return p.ReadState.ChannelID == channel && p.ReadState.UnreadCount == n }
}

func created(id uuid.UUID) func(MessageCreated) bool {
	return func(p MessageCreated) bool { return p.Message.ID == id }
}

// TestACutLosesNoCount: a message is told, and the count that waits for its second is
// not: whoever comes back with the message's cursor is told of it, however it comes
// back and however long ago the message was sent; once it was told, no more.
func TestACutLosesNoCount(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Hour)
	thread := r.thread()
	if _, err := r.o.Receipts.Threads.Follow(t.Context(), bob, thread, true); err != nil {
		t.Fatal(err)
	}
	in, end := r.cut(Query{})
	r.says(demo.Alice, demo.Team, "one")
	r.replies(thread, demo.Alice)
	ofThread := func(n int) func(ThreadReadStateChanged) bool {
		return func(p ThreadReadStateChanged) bool {
			return p.ThreadReadState.ThreadID == thread && p.ThreadReadState.UnreadCount == n
		}
	}
	for channel, threads := false, false; !channel || !threads; { // each as it is counted
		switch e, _ := next(t, in); p := e.Payload.(type) {
		case ReadStateChanged:
			channel = channel || unreadIn(demo.Team, 1)(p)
		case ThreadReadStateChanged:
			threads = threads || ofThread(1)(p)
		}
	}
	after(t, in, created(r.says(demo.Alice, demo.Team, "two")))
	r.replies(thread, demo.Alice)
	cursor := after(t, in, created(r.says(demo.Bob, demo.General, "nothing to him")))
	end()
	r.exec(`update realtime.log set at = at - interval '1 hour' where pos < (select max(pos) from realtime.log)`)

	begun := make(chan struct{})
	r.patience.turn = func(ctx context.Context) (func(), error) { // whoever begins has the only one, and none to wait for
		select {
		case <-begun:
			return func() {}, nil
		case <-time.After(patient):
			return nil, errors.New("a beginning waits for a turn of another's, and has one")
		}
	}
	again, end := r.cut(Query{Cursor: cursor})
	close(begun)
	states := map[string]bool{}
	var last string
	for len(states) < 2 {
		switch e, _ := next(t, again); p := e.Payload.(type) {
		case ReadStateChanged:
			states["channel"], last = unreadIn(demo.Team, 2)(p), e.Cursor
		case ThreadReadStateChanged:
			states["thread"], last = ofThread(2)(p), e.Cursor
		}
	}
	if !states["channel"] || !states["thread"] {
		t.Errorf("wrong counts come: %v", states)
	}
	end()
	if p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: cursor}); err != nil || !slices.Contains(p.Read, demo.Team) || !slices.Equal(p.Threads, []uuid.UUID{thread}) {
		t.Errorf("a page has %v and %v: %v", p.Read, p.Threads, err)
	} else if last := p.Cursor; last != "" {
		if p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: last}); err != nil || len(p.Read)+len(p.Threads) > 0 {
			t.Errorf("the page after it has %v and %v: %v", p.Read, p.Threads, err)
		}
	}
	if p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: last}); err != nil || len(p.Read)+len(p.Threads) > 1 {
		t.Errorf("what was told comes again: %v and %v: %v", p.Read, p.Threads, err)
	}
}

// TestACursorThatKnowsNoCounts: who heard of messages alone is told how much there is
// to read of what may have waited for its second when it was cut, and of no more.
func TestACursorThatKnowsNoCounts(t *testing.T) {
	t.Parallel()
	r := unreadRig(t, time.Hour)
	says := func(channel uuid.UUID) string {
		in, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan MessageEvent, error) {
			return r.Messages(ctx, bob, channel, false, fail)
		})
		r.says(demo.Alice, channel, "hello")
		e, _ := next(t, in)
		return e.Cursor
	}
	one := says(demo.Team)
	r.exec(`update realtime.log set at = at - interval '1 hour'`)
	two := says(demo.General)
	for cursor, channel := range map[string]uuid.UUID{one: demo.Team, two: demo.General} {
		p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: cursor})
		if err != nil || !slices.Contains(p.Read, channel) || channel == demo.General && len(p.Read) > 1 {
			t.Errorf("a page has %v: %v", p.Read, err)
		}
	}
	after(t, r.events(bob, Query{Cursor: two, Kinds: []Kind{KindReadStates}}), func(p ReadStateChanged) bool { return p.ReadState.ChannelID == demo.General })
}
