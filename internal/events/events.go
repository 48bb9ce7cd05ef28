// Package events turns the log into what a subscription tells: everything that
// happens to a viewer's channels, with presence, typing and settings beside it,
// or one part of it alone.
//
// It stands above the domains and owns no table. What a viewer may see the
// domains decide; this package decides the order in which it is told, when a
// stream begins anew or ends, and that an outage of Postgres only delays.
package events

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/typing"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Presence is presence, as far as events ask it.
type Presence interface {
	Presence(ctx context.Context, v viewer.Viewer, users []uuid.UUID) <-chan presence.View
	Settings(ctx context.Context, v viewer.Viewer) (<-chan presence.Settings, error)
}

// Options are what the package stands on.
type Options struct {
	Feed     *feed.Service
	Receipts *receipt.Service
	Presence Presence
	Typing   *typing.Service
	Log      *slog.Logger
	// Turn is taken by what a subscription that has begun reads for its viewer alone.
	Turn wait.Turn
}

// Service begins subscriptions. Each has goroutines of its own, which end with
// the context it was begun with.
type Service struct {
	o        Options
	patience *patience
	every    time.Duration // unreadEvery

	mu       sync.Mutex
	delivers map[viewer.Key]*deliverer // guarded by mu: of viewers whose streams deliver
}

// New builds the service.
func New(o Options) *Service {
	return &Service{o: o, patience: &patience{log: o.Log, turn: o.Turn}, every: unreadEvery, delivers: map[viewer.Key]*deliverer{}}
}

// Query asks for events.
type Query struct {
	Cursor  string // go on after it; "": from now on
	Kinds   []Kind // only these; none: all
	Users   []uuid.UUID
	Rooms   []typing.Room
	Deliver bool // what was handed over counts as delivered
}

// Events streams all that happens to a viewer's channels, each entry of the log
// once and in order, and beside it the presence of users, typing in rooms and
// the viewer's settings. A stream that begins anew says so before anything
// else. fail gets the error that ends it. Errors: access-denied for nobody and
// for a room one may not see; validation-failed for a cursor of another's.
func (s *Service) Events(ctx context.Context, v viewer.Viewer, q Query, fail func(error)) (<-chan Event, error) {
	t, err := s.open(ctx, v, q.Cursor, nil, q.Deliver, fail)
	if err != nil {
		return nil, err
	}
	st := &story{teller: t, q: q, out: make(chan Event)}
	if st.wants(KindReadStates) {
		t.unread = newUnread(s.every, t.readStates, func(ctx context.Context, x receipt.State) error {
			return st.count(ctx, func() { t.unread.done(x.ChannelID) }, ReadStateChanged{ReadState: x})
		})
		t.aside = append(t.aside, t.unread.run)
		t.watchThreads(s.every, func(ctx context.Context, x receipt.ThreadState) error {
			return st.count(ctx, func() { t.threads.done(x.ThreadID) }, ThreadReadStateChanged{ThreadReadState: x})
		})
	}
	if err := st.goesOn(ctx); err != nil {
		t.st.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	beside, err := st.beside(ctx)
	if err != nil {
		cancel()
		t.st.Close()
		return nil, err
	}
	go st.run(ctx, cancel, beside)
	return st.out, nil
}

// errAnew ends a stream that cannot say within itself that it begins anew: what
// came in between nobody can tell any more, and whether what it told still is
// so nobody knows.
var errAnew = &fault.Error{Code: fault.Reset, Retryable: true,
	Message: "what happened meanwhile cannot be told any more: fetch anew what this told of, and subscribe again"}

// Messages streams what happens to a channel's messages from now on. deliver:
// what was handed over counts as delivered. fail gets the error that ends it:
// access-denied once the channel may not be read any more, stream-reset.
func (s *Service) Messages(ctx context.Context, v viewer.Viewer, channel uuid.UUID, deliver bool, fail func(error)) (<-chan MessageEvent, error) {
	t, err := s.open(ctx, v, "", []uuid.UUID{channel}, deliver, fail)
	if err != nil {
		return nil, err
	}
	return stream(ctx, t, make(chan MessageEvent), t.messages), nil
}

// Deliveries streams how far the viewer's messages come, of one channel or of
// all (nil). fail gets the error that ends it, as of Messages.
func (s *Service) Deliveries(ctx context.Context, v viewer.Viewer, channel *uuid.UUID, fail func(error)) (<-chan receipt.Delivery, error) {
	var only []uuid.UUID
	if channel != nil {
		only = []uuid.UUID{*channel}
	}
	t, err := s.open(ctx, v, "", only, false, fail)
	if err != nil {
		return nil, err
	}
	return stream(ctx, t, make(chan receipt.Delivery), t.delivered), nil
}

// ReadStates streams how far the viewer is and how much it has to read:
// whichever of its devices reads, and whatever others do, each at once and while
// it goes on at most once a second for each channel. Of a channel it has left
// nothing is unread. fail gets the error that ends it: stream-reset.
func (s *Service) ReadStates(ctx context.Context, v viewer.Viewer, fail func(error)) (<-chan receipt.State, error) {
	t, err := s.open(ctx, v, "", nil, false, fail)
	if err != nil {
		return nil, err
	}
	out := make(chan receipt.State)
	t.unread = newUnread(s.every, t.readStates, func(ctx context.Context, x receipt.State) error { return push(ctx, out, x) })
	t.aside = append(t.aside, t.unread.run)
	return stream(ctx, t, out, t.reading), nil
}

// ThreadStates streams how far the viewer is in threads, as ReadStates does: of any
// thread what its devices do there, of those it follows what others do. fail gets the
// error that ends it: stream-reset.
func (s *Service) ThreadStates(ctx context.Context, v viewer.Viewer, fail func(error)) (<-chan receipt.ThreadState, error) {
	t, err := s.open(ctx, v, "", nil, false, fail)
	if err != nil {
		return nil, err
	}
	out := make(chan receipt.ThreadState)
	t.watchThreads(s.every, func(ctx context.Context, x receipt.ThreadState) error { return push(ctx, out, x) })
	return stream(ctx, t, out, t.readingThreads), nil
}

// Totals streams how much the viewer has to read in all, at once and whenever it
// changes, at most once a second: also when it mutes a channel, or a mute is
// over. fail gets the error that ends it: stream-reset.
func (s *Service) Totals(ctx context.Context, v viewer.Viewer, fail func(error)) (<-chan receipt.Totals, error) {
	t, err := s.open(ctx, v, "", nil, false, fail)
	if err != nil {
		return nil, err
	}
	out, sums := make(chan receipt.Totals), &totals{every: s.every, wake: wait.NewFlag()}
	sums.read = func(ctx context.Context) (receipt.Totals, error) {
		return patiently(ctx, s.patience, func(ctx context.Context) (receipt.Totals, error) { return s.o.Receipts.Totals(ctx, v) })
	}
	sums.tell = func(ctx context.Context, x receipt.Totals) error { return push(ctx, out, x) }
	t.aside = append(t.aside, sums.run)
	return stream(ctx, t, out, func(_ context.Context, _ chan<- receipt.Totals, b feed.Batch) error {
		sums.heard(b.Items, v.User)
		return nil
	}), nil
}
