package events

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/typing"
)

// story is one events subscription: the log in order, and beside it state,
// which has no order and carries the cursor of where the log is.
type story struct {
	*teller
	q        Query
	out      chan Event
	replayed int
	read     int64 // the position before the batch that is told

	mu   sync.Mutex
	here string             // guarded by mu: a cursor after everything of the log that was sent
	pos  int64              // guarded by mu: of here, where seal is there
	seal func(int64) string // guarded by mu: makes here anew; nil: here is an entry's
}

func (s *story) wants(k Kind) bool {
	return len(s.q.Kinds) == 0 || slices.Contains(s.q.Kinds, k)
}

// run tells the log and, once it has said that it begins anew where it does,
// what is beside it, until ctx ends.
func (s *story) run(ctx context.Context, cancel context.CancelFunc, beside []func()) {
	defer close(s.out)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	begin := sync.OnceFunc(func() {
		for _, relay := range beside {
			wg.Go(func() { relay(); cancel() }) // a stream beside ends with an error only: so does the whole
		}
	})
	if s.st.Begins() == "" {
		begin()
	}
	s.each(ctx, func(ctx context.Context, b feed.Batch) error {
		if err := s.tell(ctx, b); err != nil {
			return err
		}
		begin()
		return nil
	})
}

// beside are the streams of state that were asked for, each a loop to run.
func (s *story) beside(ctx context.Context) ([]func(), error) {
	var runs []func()
	if len(s.q.Users) > 0 && s.wants(KindPresence) {
		ch := s.o.Presence.Presence(ctx, s.v, s.q.Users)
		runs = append(runs, func() {
			relay(ctx, s, ch, func(v presence.View) Payload { return PresenceChanged{Presence: v} })
		})
	}
	if len(s.q.Rooms) > 0 && s.wants(KindTyping) {
		ch, err := s.o.Typing.Watch(ctx, s.v, s.q.Rooms, s.fail)
		if err != nil {
			return nil, err
		}
		runs = append(runs, func() {
			relay(ctx, s, ch, func(l []typing.RoomTyping) Payload { return TypingChanged{Rooms: l} })
		})
	}
	if s.wants(KindSettings) {
		ch, err := s.o.Presence.Settings(ctx, s.v)
		if err != nil {
			return nil, err
		}
		runs = append(runs, func() {
			relay(ctx, s, ch, func(x presence.Settings) Payload { return SettingsChanged{Settings: x} })
		})
	}
	return runs, nil
}

func relay[T any](ctx context.Context, s *story, ch <-chan T, as func(T) Payload) {
	for {
		select {
		case x, open := <-ch:
			if !open || s.state(ctx, as(x)) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// state sends what is not of the log. The lock is held while it waits: no
// event may carry a cursor after one that was not sent.
func (s *story) state(ctx context.Context, p Payload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return push(ctx, s.out, Event{Cursor: s.here, Payload: p})
}

// entry sends what is of the log, up to a cursor.
func (s *story) entry(ctx context.Context, cursor string, p Payload) error {
	return s.event(ctx, Event{Cursor: cursor, Payload: p})
}

func (s *story) event(ctx context.Context, e Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := push(ctx, s.out, e); err != nil {
		return err
	}
	s.here, s.seal = e.Cursor, nil
	return nil
}

// ownMarks is where in the log a user's last mark of each channel and thread is.
// What was read up to an earlier one is told with the last: it is state.
func ownMarks(items []feed.Item, user uuid.UUID) map[uuid.UUID]int64 {
	var last map[uuid.UUID]int64
	for _, it := range items {
		if it.Kind != feed.Mark || it.User != user {
			continue
		}
		if last == nil {
			last = map[uuid.UUID]int64{}
		}
		last[within(it)] = it.Pos
	}
	return last
}

// within is the thread of an entry, or its channel.
func within(it feed.Item) uuid.UUID { return cmp.Or(it.Thread, it.Channel) }

// tell sends a batch. Others' marks that follow one another are told together,
// before anything that comes after them.
func (s *story) tell(ctx context.Context, b feed.Batch) error {
	if b.Reset != "" {
		return anew(ctx, s, b.Reset)
	}
	var moves []int64
	var until feed.Entry
	flush := func() error {
		if len(moves) == 0 {
			return nil
		}
		list := moves
		moves = nil
		return s.marks(ctx, list, until)
	}
	s.counted(s.read)
	last := ownMarks(b.Items, s.v.User)
	for _, it := range b.Items {
		if s.unread != nil && affects(it, s.v.User) {
			s.unread.changed(it.Channel, it.Pos)
		}
		if it.Kind == feed.Mark && it.User == s.v.User && it.Pos != last[within(it)] {
			continue
		}
		if it.Kind == feed.Mark && it.User != s.v.User {
			moves, until = append(moves, it.Ref), it.Entry
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if err := s.one(ctx, it); err != nil {
			return err
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if s.threads != nil {
		if err := s.threads.heard(ctx, b.Items, s.v.User); err != nil {
			return err
		}
	}
	s.moveOn()
	if b.Live && s.q.Cursor != "" {
		return s.state(ctx, SyncProgress{Done: s.replayed, Total: s.replayed})
	}
	return nil
}

// anew sends that the stream begins anew; after all that was counted before.
func anew(ctx context.Context, s *story, why feed.Reason) error {
	reset := func() error {
		s.read = s.counts().Pos()
		s.counted(s.read)
		here := s.st.Here()
		return s.entry(ctx, here, StreamReset{Reason: why, Cursor: here})
	}
	if s.unread == nil {
		return reset()
	}
	return s.unread.anew(func() error { return s.threads.anew(reset) })
}

// moveOn lets state carry a cursor after all that was read, seen or not.
func (s *story) moveOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = s.counts().Pos()
	s.counted(s.read)
	s.here, s.pos, s.seal = s.st.Here(), s.read, s.counts().Sealing()
}

// marks sends how far the viewer's messages have come; all but the last with
// the cursor before them, so that none is lost.
func (s *story) marks(ctx context.Context, moves []int64, until feed.Entry) error {
	if !s.wants(KindDeliveries) {
		return nil
	}
	var last *receipt.Delivery
	err := s.deliveries(ctx, moves, func(d receipt.Delivery) error {
		if last != nil {
			if err := s.state(ctx, DeliveryChanged{Delivery: *last}); err != nil {
				return err
			}
		}
		last = &d
		return nil
	})
	if err != nil || last == nil {
		return err
	}
	return s.entry(ctx, s.st.Cursor(until), DeliveryChanged{Delivery: *last})
}

// one sends what one entry tells.
func (s *story) one(ctx context.Context, it feed.Item) error {
	cursor := s.st.Cursor(it.Entry)
	change := s.st.Change(it.Entry)
	switch it.Kind {
	case feed.Created, feed.Updated, feed.Deleted:
		return s.message(ctx, cursor, it)
	case feed.Joined, feed.Member:
		if it.User == s.v.User {
			if err := s.opened(ctx, "", it.Channel, it.Kind == feed.Joined && s.st.Earlier(it.Channel)); err != nil {
				return err
			}
		}
		if s.wants(KindMembers) {
			return s.entry(ctx, cursor, MemberJoined{Change: change, MemberCount: change.MemberCount})
		}
	case feed.Left:
		if s.wants(KindMembers) {
			return s.entry(ctx, cursor, MemberLeft{Change: change, MemberCount: change.MemberCount})
		}
	case feed.Channel, feed.Notify:
		return s.channel(ctx, cursor, it.Channel)
	case feed.Opened:
		return s.opened(ctx, cursor, it.Channel, true)
	case feed.Mark:
		return s.mark(ctx, cursor, it.Entry)
	case feed.Gone:
	}
	return nil
}

// opened tells of a channel that the viewer sees anew, before the entry that
// says so, and of the gap in what it had of it. cursor "": the entry's own event
// is still to come.
func (s *story) opened(ctx context.Context, cursor string, channel uuid.UUID, gap bool) error {
	before := s.current()
	if err := s.channel(ctx, before, channel); err != nil || !gap {
		return err
	}
	return s.entry(ctx, cmp.Or(cursor, before), StreamGap{ChannelID: channel, Cursor: before})
}

func (s *story) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.here
}

func (s *story) message(ctx context.Context, cursor string, it feed.Item) error {
	s.replayed++
	if !s.wants(KindMessages) {
		return nil
	}
	m := s.body(it)
	e, kind := Event{Cursor: cursor, Payload: MessageCreated{Message: m}}, it.Kind
	switch {
	case it.Kind == feed.Deleted || m.Gone:
		e.Payload, kind = MessageDeleted{MessageID: it.Message, ChannelID: it.Channel}, feed.Deleted
	case it.Kind == feed.Updated:
		e.Payload = MessageUpdated{Message: m}
	}
	e.class, e.alike = classOf(MessageEvent{Kind: kind, Message: m}, it.Entry, s.v)
	if err := s.event(ctx, e); err != nil {
		return err
	}
	s.written(it, m)
	return nil
}

func (s *story) channel(ctx context.Context, cursor string, id uuid.UUID) error {
	if !s.wants(KindChannels) {
		return nil
	}
	list, err := patiently(ctx, s.patience, func(ctx context.Context) ([]feed.ChannelState, error) {
		return s.o.Feed.Channels(ctx, s.v, []uuid.UUID{id})
	})
	for _, c := range list {
		if err := s.entry(ctx, cursor, ChannelUpdated{Channel: c}); err != nil {
			return err
		}
	}
	return err
}

func (s *story) mark(ctx context.Context, cursor string, e feed.Entry) error {
	if !s.wants(KindReadStates) {
		return nil
	}
	if e.Thread != uuid.Nil {
		return s.threads.atOnce(ctx, e.Thread, e.Pos, func(x receipt.ThreadState) error {
			return s.entry(ctx, cursor, ThreadReadStateChanged{ThreadReadState: x})
		})
	}
	return s.unread.atOnce(ctx, e.Channel, e.Pos, func(x receipt.State) error { return s.entry(ctx, cursor, ReadStateChanged{ReadState: x}) })
}
