package main

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// naive is the resolver of stock. Only what is measured is there.
type naive struct {
	generated.ResolverRoot
	mu       sync.Mutex
	watchers map[uuid.UUID]map[chan presence.View]struct{}       // guarded by mu
	readers  map[uuid.UUID]map[chan events.MessageEvent]struct{} // guarded by mu
	number   int64                                               // guarded by mu
}

type (
	naiveQuery    struct{ generated.QueryResolver }
	naiveMutation struct {
		generated.MutationResolver
		n *naive
	}
	naiveSubscription struct {
		generated.SubscriptionResolver
		n *naive
	}
)

func (n *naive) Query() generated.QueryResolver { return naiveQuery{} }

func (n *naive) Mutation() generated.MutationResolver { return naiveMutation{n: n} }
func (n *naive) Subscription() generated.SubscriptionResolver {
	return naiveSubscription{n: n}
}

func (m naiveMutation) SetPresence(_ context.Context, status presence.Status, _ *time.Time) (presence.View, error) {
	v := presence.View{UserID: users[0], Status: status}
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	for c := range m.n.watchers[v.UserID] {
		select {
		case c <- v:
		default: // a slow reader loses it
		}
	}
	return v, nil
}

func (s naiveSubscription) PresenceChanged(ctx context.Context, ids []uuid.UUID) (<-chan presence.View, error) {
	c := make(chan presence.View, len(ids)+16)
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	for _, id := range ids {
		if s.n.watchers[id] == nil {
			s.n.watchers[id] = map[chan presence.View]struct{}{}
		}
		s.n.watchers[id][c] = struct{}{}
		c <- presence.View{UserID: id, Status: presence.Offline}
	}
	context.AfterFunc(ctx, func() {
		s.n.mu.Lock()
		defer s.n.mu.Unlock()
		for _, id := range ids {
			delete(s.n.watchers[id], c)
		}
		close(c)
	})
	return c, nil
}

func (m naiveMutation) SendMessage(_ context.Context, in model.SendMessageInput) (model.SendResult, error) {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	m.n.number++
	text, _ := in.Content.ValueOK()
	x := message.Message{ID: uuid.New(), ChannelID: in.ChannelID, SenderID: &users[0], Content: text, Type: message.TypeText, Number: m.n.number, Version: 1, CreatedAt: time.Now()}
	for c := range m.n.readers[in.ChannelID] {
		select {
		case c <- events.MessageEvent{Kind: feed.Created, Message: x, Cursor: uuid.NewString() + uuid.NewString() + uuid.NewString()}:
		default: // a slow reader loses it
		}
	}
	return model.SendResult{ClientMessageID: in.ClientMessageID, Status: receipt.Sent}, nil
}

func (s naiveSubscription) MessageChanged(ctx context.Context, channel uuid.UUID) (<-chan events.MessageEvent, error) {
	c := make(chan events.MessageEvent, 256)
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if s.n.readers[channel] == nil {
		s.n.readers[channel] = map[chan events.MessageEvent]struct{}{}
	}
	s.n.readers[channel][c] = struct{}{}
	context.AfterFunc(ctx, func() {
		s.n.mu.Lock()
		defer s.n.mu.Unlock()
		delete(s.n.readers[channel], c)
		close(c)
	})
	return c, nil
}
