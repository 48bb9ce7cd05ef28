package graph

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/typing"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// page turns a page of the log into the answer of sync.
func (r *Resolver) page(ctx context.Context, v viewer.Viewer, p feed.Page) (model.SyncPage, error) {
	out := model.SyncPage{Cursor: p.Cursor, HasMore: p.More, Reset: p.Reset != "", Progress: events.SyncProgress{Done: p.Done, Total: p.Total},
		Channels: some(p.Channels), LeftChannelIds: some(p.Left), Members: some(p.Members), DeletedMessageIds: some(p.Deleted),
		Messages: make([]message.Message, 0, len(p.Messages)), ReadStates: []receipt.State{}, ThreadReadStates: []receipt.ThreadState{}, Deliveries: []receipt.Delivery{},
		Presences: []presence.View{}, Typing: []typing.RoomTyping{}}
	ids, err := r.deps.Receipts.Passed(ctx, v, p.Moves)
	if err != nil {
		return out, err
	}
	for _, body := range p.Messages {
		m, _ := events.MessageOf(body)
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
	if out.ThreadReadStates, err = r.deps.Receipts.Threads.Touched(ctx, v, p.Threads, p.OwnThreads); err != nil {
		return out, err
	}
	if len(ids) > 0 {
		if out.Deliveries, err = r.deps.Receipts.Deliveries(ctx, v, ids); err != nil {
			return out, err
		}
	}
	r.expectReceipts(ctx, out.Deliveries)
	out.ReadStates, out.ThreadReadStates, out.Deliveries = some(out.ReadStates), some(out.ThreadReadStates), some(out.Deliveries)
	settings, err := r.deps.Presence.Read.Settings(ctx, v)
	if err != nil {
		return out, err
	}
	out.Settings = &settings
	return out, nil
}

// history turns a page of a channel's messages into the answer of messages.
func (r *Resolver) history(ctx context.Context, v viewer.Viewer, h feed.History) model.MessagePage {
	out := model.MessagePage{Messages: make([]message.Message, 0, len(h.Messages)), PageInfo: model.PageInfo{HasNextPage: h.More}}
	for _, body := range h.Messages {
		m, _ := events.MessageOf(body)
		out.Messages = append(out.Messages, m.For(v.User))
		if m.SenderID != nil && *m.SenderID == v.User {
			r.loaders(ctx).delivery.expect(m.ID)
		}
	}
	if h.End != "" {
		out.PageInfo.StartCursor, out.PageInfo.EndCursor = &h.Start, &h.End
	}
	return out
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
		t, ok, err := r.deps.Typing.Room(ctx, v, room)
		if err != nil {
			return err
		}
		if ok {
			out.Typing = append(out.Typing, t)
		}
	}
	return nil
}
