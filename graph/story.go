package graph

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/typing"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// story is one events subscription: the log in order, and beside it state,
// which has no order and carries the cursor of where the log is.
type story struct {
	*teller
	kinds    []model.EventKind
	out      chan model.Event
	replayed int

	mu   sync.Mutex
	here string // guarded by mu: a cursor after everything of the log that was sent
}

func (s *story) wants(k model.EventKind) bool {
	return len(s.kinds) == 0 || slices.Contains(s.kinds, k)
}

// events begins an events subscription.
func (r *Resolver) events(ctx context.Context, cursor *string, users []uuid.UUID, rooms []typing.Room, kinds []model.EventKind) (<-chan model.Event, error) {
	t, err := r.open(ctx, cursor, nil)
	if err != nil {
		return nil, err
	}
	s := &story{teller: t, kinds: kinds, out: make(chan model.Event), here: t.st.Here()}
	ctx, cancel := context.WithCancel(ctx)
	beside, err := s.beside(ctx, users, rooms)
	if err != nil {
		cancel()
		t.st.Close()
		return nil, err
	}
	var wg sync.WaitGroup
	for _, run := range beside {
		wg.Go(func() { run(); cancel() }) // a stream beside ends with an error only: so does the whole
	}
	wg.Go(func() {
		defer cancel()
		s.each(ctx, func(b feed.Batch) error { return s.tell(ctx, b, cursor != nil) })
	})
	go func() {
		wg.Wait()
		close(s.out)
	}()
	return s.out, nil
}

// beside are the streams of state that were asked for, each a loop to run.
func (s *story) beside(ctx context.Context, users []uuid.UUID, rooms []typing.Room) ([]func(), error) {
	var runs []func()
	if len(users) > 0 && s.wants(model.EventKindPresence) {
		ch := s.r.deps.Presence.Watch.Presence(ctx, s.v, users)
		runs = append(runs, func() {
			relay(ctx, s, ch, func(v presence.View) model.EventPayload { return model.PresenceChanged{Presence: v} })
		})
	}
	if len(rooms) > 0 && s.wants(model.EventKindTyping) {
		ch, err := s.r.deps.Typing.Watch(ctx, s.r.viewer(ctx), rooms, failer(ctx))
		if err != nil {
			return nil, err
		}
		runs = append(runs, func() {
			relay(ctx, s, ch, func(l []typing.RoomTyping) model.EventPayload { return model.TypingChanged{Rooms: l} })
		})
	}
	if s.wants(model.EventKindSettings) {
		ch, err := s.r.deps.Presence.Watch.Settings(ctx, s.v)
		if err != nil {
			return nil, err
		}
		runs = append(runs, func() {
			relay(ctx, s, ch, func(x presence.Settings) model.EventPayload { return model.SettingsChanged{Settings: x} })
		})
	}
	return runs, nil
}

func relay[T any](ctx context.Context, s *story, ch <-chan T, as func(T) model.EventPayload) {
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
func (s *story) state(ctx context.Context, p model.EventPayload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return push(ctx, s.out, model.Event{Cursor: s.here, Payload: p})
}

// entry sends what is of the log, up to a cursor.
func (s *story) entry(ctx context.Context, cursor string, p model.EventPayload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := push(ctx, s.out, model.Event{Cursor: cursor, Payload: p}); err != nil {
		return err
	}
	s.here = cursor
	return nil
}

// tell sends a batch. Others' marks that follow one another are told together,
// before anything that comes after them.
func (s *story) tell(ctx context.Context, b feed.Batch, resumed bool) error {
	if b.Reset != "" {
		here := s.st.Here()
		return s.entry(ctx, here, model.StreamReset{Reason: b.Reset, Cursor: here})
	}
	var moves []int64
	var until int64
	flush := func() error {
		if len(moves) == 0 {
			return nil
		}
		list := moves
		moves = nil
		return s.marks(ctx, list, until)
	}
	for _, it := range b.Items {
		if it.Kind == feed.Mark && it.User != s.v.User {
			moves, until = append(moves, it.Ref), it.Pos
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
	s.moveOn()
	if b.Live && resumed {
		return s.state(ctx, model.SyncProgress{Done: s.replayed, Total: s.replayed})
	}
	return nil
}

// moveOn lets state carry a cursor after all that was read, seen or not.
func (s *story) moveOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.here = s.st.Here()
}

// marks sends how far the viewer's messages have come; all but the last with
// the cursor before them, so that none is lost.
func (s *story) marks(ctx context.Context, moves []int64, until int64) error {
	if !s.wants(model.EventKindDeliveries) {
		return nil
	}
	var last *receipt.Delivery
	err := s.deliveries(ctx, moves, func(d receipt.Delivery) error {
		if last != nil {
			if err := s.state(ctx, model.DeliveryChanged{Delivery: *last}); err != nil {
				return err
			}
		}
		last = &d
		return nil
	})
	if err != nil || last == nil {
		return err
	}
	return s.entry(ctx, s.st.Cursor(until), model.DeliveryChanged{Delivery: *last})
}

// one sends what one entry tells.
func (s *story) one(ctx context.Context, it feed.Item) error {
	cursor := s.st.Cursor(it.Pos)
	own := it.User == s.v.User
	change := feed.MemberChange{ChannelID: it.Channel, UserID: it.User, Kind: it.Kind}
	switch it.Kind {
	case feed.Created, feed.Updated, feed.Deleted:
		return s.message(ctx, cursor, it)
	case feed.Joined, feed.Member:
		if own {
			before := s.current()
			if err := s.channel(ctx, before, it.Channel); err != nil {
				return err
			}
			if it.Kind == feed.Joined && s.st.Earlier(it.Channel) {
				if err := s.entry(ctx, before, model.StreamGap{ChannelID: it.Channel, Cursor: before}); err != nil {
					return err
				}
			}
		}
		if s.wants(model.EventKindMembers) {
			return s.entry(ctx, cursor, model.MemberJoined{Change: change})
		}
	case feed.Left:
		if s.wants(model.EventKindMembers) {
			return s.entry(ctx, cursor, model.MemberLeft{Change: change})
		}
	case feed.Channel:
		return s.channel(ctx, cursor, it.Channel)
	case feed.Opened:
		before := s.current()
		if err := s.channel(ctx, before, it.Channel); err != nil {
			return err
		}
		return s.entry(ctx, cursor, model.StreamGap{ChannelID: it.Channel, Cursor: before})
	case feed.Mark:
		return s.mark(ctx, cursor, it.Channel)
	case feed.Gone:
	}
	return nil
}

func (s *story) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.here
}

func (s *story) message(ctx context.Context, cursor string, it feed.Item) error {
	s.replayed++
	if !s.wants(model.EventKindMessages) {
		return nil
	}
	m := s.body(it)
	switch {
	case it.Kind == feed.Deleted || m.Gone:
		return s.entry(ctx, cursor, model.MessageDeleted{MessageID: it.Message, ChannelID: it.Channel})
	case it.Kind == feed.Updated:
		return s.entry(ctx, cursor, model.MessageUpdated{Message: m})
	}
	if err := s.entry(ctx, cursor, model.MessageCreated{Message: m}); err != nil {
		return err
	}
	s.written(it, m)
	return nil
}

func (s *story) channel(ctx context.Context, cursor string, id uuid.UUID) error {
	if !s.wants(model.EventKindChannels) {
		return nil
	}
	list, err := patiently(ctx, func(ctx context.Context) ([]feed.ChannelState, error) {
		return s.r.deps.Feed.Channels(ctx, s.v, []uuid.UUID{id})
	})
	for _, c := range list {
		if err := s.entry(ctx, cursor, model.ChannelUpdated{Channel: c}); err != nil {
			return err
		}
	}
	return err
}

func (s *story) mark(ctx context.Context, cursor string, channel uuid.UUID) error {
	if !s.wants(model.EventKindReadStates) {
		return nil
	}
	list, err := s.readState(ctx, channel)
	for _, x := range list {
		if err := s.entry(ctx, cursor, model.ReadStateChanged{ReadState: x}); err != nil {
			return err
		}
	}
	return err
}

// page turns a page of the log into the answer of sync.
func (r *Resolver) page(ctx context.Context, v viewer.Viewer, p feed.Page) (model.SyncPage, error) {
	out := model.SyncPage{Cursor: p.Cursor, HasMore: p.More, Reset: p.Reset != "", Progress: model.SyncProgress{Done: p.Done, Total: p.Total},
		Channels: some(p.Channels), LeftChannelIds: some(p.Left), Members: some(p.Members), DeletedMessageIds: some(p.Deleted),
		Messages: make([]message.Message, 0, len(p.Messages)), ReadStates: []receipt.State{}, Deliveries: []receipt.Delivery{},
		Presences: []presence.View{}, Typing: []typing.RoomTyping{}}
	ids, err := r.deps.Receipts.Passed(ctx, v, p.Moves)
	if err != nil {
		return out, err
	}
	for _, body := range p.Messages {
		m, ok := body.(message.Message)
		if !ok {
			continue
		}
		out.Messages = append(out.Messages, m.For(v.User))
		if m.SenderID != nil && *m.SenderID == v.User {
			ids = append(ids, m.ID)
			r.loaders(ctx).delivery.expect(m.ID)
		}
	}
	slices.SortFunc(out.Messages, func(a, b message.Message) int {
		return cmp.Or(bytes.Compare(a.ChannelID[:], b.ChannelID[:]), cmp.Compare(a.Number, b.Number))
	})
	if len(p.Read) > 0 {
		if out.ReadStates, err = r.deps.Receipts.States(ctx, v, p.Read); err != nil {
			return out, err
		}
	}
	if len(ids) > 0 {
		if out.Deliveries, err = r.deps.Receipts.Deliveries(ctx, v, ids); err != nil {
			return out, err
		}
	}
	r.expectReceipts(ctx, out.Deliveries)
	out.ReadStates, out.Deliveries = some(out.ReadStates), some(out.Deliveries)
	settings, err := r.deps.Presence.Read.Settings(ctx, v)
	if err != nil {
		return out, err
	}
	out.Settings = &settings
	return out, nil
}

func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// asked is the rest of a page: state, as it is now.
func (r *Resolver) asked(ctx context.Context, v viewer.Viewer, users []uuid.UUID, rooms []typing.Room, out *model.SyncPage) error {
	if len(users) > 0 {
		list, err := r.deps.Presence.Read.Presences(ctx, v, users)
		if err != nil {
			return err
		}
		out.Presences = some(list)
	}
	for _, room := range rooms {
		t, ok, err := r.deps.Typing.Room(ctx, r.viewer(ctx), room)
		if err != nil {
			return err
		}
		if ok {
			out.Typing = append(out.Typing, t)
		}
	}
	return nil
}

func (r *Resolver) toRooms(in []model.RoomInput) ([]typing.Room, error) {
	if len(in) > r.deps.MaxRooms {
		return nil, fault.Field("rooms", "rooms has more than %d rooms", r.deps.MaxRooms)
	}
	out := make([]typing.Room, len(in))
	for i, room := range in {
		at, err := toRoom(room)
		if err != nil {
			return nil, err
		}
		out[i] = at
	}
	return out, nil
}
