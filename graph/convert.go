package graph

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/99designs/gqlgen/graphql"
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

func toCustom(in model.CustomStatusInput) presence.Custom {
	return presence.Custom{Text: in.Text.Value(), Emoji: in.Emoji.Value(), ExpiresAt: in.ExpiresAt.Value()}
}

func toActivity(in model.HeartbeatInput) presence.Activity {
	a := presence.Activity{DeviceID: in.DeviceID.Value(), Device: in.Device.Value(), Name: in.Name.Value(), Hidden: in.Hidden.Value()}
	if active := in.Active.Value(); active != nil {
		a.Active = *active
	}
	if ago := in.LastActivityAgoMs.Value(); ago != nil {
		a.Ago = time.Duration(min(max(*ago, -1), int(presence.MaxActivityAgo.Milliseconds())+1)) * time.Millisecond
		a.Active = a.Active || in.Active.Value() == nil
	}
	return a
}

// toChange refuses null: absent means stay, and nothing else does.
func toChange(in model.PresenceSettingsInput) (presence.Change, error) {
	var c presence.Change
	var err error
	set := func(e error) {
		if err == nil {
			err = e
		}
	}
	c.Visibility = given(in.Visibility, "visibility", set)
	c.ShowOnlineStatus = given(in.ShowOnlineStatus, "showOnlineStatus", set)
	c.ShowLastSeen = given(in.ShowLastSeen, "showLastSeen", set)
	c.AllowReadReceipts = given(in.AllowReadReceipts, "allowReadReceipts", set)
	c.AllowDeliveryReceipts = given(in.AllowDeliveryReceipts, "allowDeliveryReceipts", set)
	c.InvisibleMode = given(in.InvisibleMode, "invisibleMode", set)
	c.BroadcastTyping = given(in.BroadcastTyping, "broadcastTyping", set)
	c.TypingVisibility = given(in.TypingVisibility, "typingVisibility", set)
	return c, err
}

// toChoice refuses a level of null; a mute of null ends it.
func toChoice(in model.ChannelNotificationsInput) (c receipt.Choice, err error) {
	c.Level = given(in.Level, "level", func(e error) { err = e })
	c.Until, c.Mutes = in.MutedUntil.ValueOK()
	return c, err
}

func given[T any](o graphql.Omittable[*T], name string, fail func(error)) *T {
	v, set := o.ValueOK()
	if set && v == nil {
		fail(fault.Field("input."+name, "%s must not be null", name))
	}
	return v
}

func toConnection(p presence.Page) *model.PresenceConnection {
	c := &model.PresenceConnection{Edges: make([]model.PresenceEdge, len(p.Views)), Nodes: p.Views,
		PageInfo: model.PageInfo{HasNextPage: p.More}, TotalCount: p.Total}
	if c.Nodes == nil {
		c.Nodes = []presence.View{}
	}
	for i, v := range p.Views {
		c.Edges[i] = model.PresenceEdge{Cursor: p.Cursors[i], Node: v}
	}
	if n := len(p.Cursors); n > 0 {
		c.PageInfo.StartCursor, c.PageInfo.EndCursor = &p.Cursors[0], &p.Cursors[n-1]
	}
	return c
}

func toContacts(page []presence.Contact, more bool, total int) model.ContactConnection {
	c := model.ContactConnection{Edges: make([]model.ContactEdge, len(page)), Nodes: page,
		PageInfo: model.PageInfo{HasNextPage: more}, TotalCount: total}
	if c.Nodes == nil {
		c.Nodes = []presence.Contact{}
	}
	for i, x := range page {
		c.Edges[i] = model.ContactEdge{Cursor: x.Cursor(), Node: x}
	}
	if len(page) > 0 {
		start, end := page[0].Cursor(), page[len(page)-1].Cursor()
		c.PageInfo.StartCursor, c.PageInfo.EndCursor = &start, &end
	}
	return c
}

// done answers true for whatever was carried out.
func done(err error) (bool, error) { return err == nil, err }

// found is the answer, or null where there is none to see.
func found[T any](x T, ok bool, err error) (*T, error) {
	if err != nil || !ok {
		return nil, err
	}
	return &x, nil
}

func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func toRoom(in model.RoomInput) (typing.Room, error) {
	return typing.RoomOf(in.ChannelID.Value(), in.ThreadID.Value(), in.DmID.Value())
}

func (r *Resolver) toRooms(in []model.RoomInput) ([]typing.Room, error) {
	if err := atMost("rooms", len(in), r.deps.MaxRooms); err != nil {
		return nil, err
	}
	out := make([]typing.Room, len(in))
	for i, room := range in {
		at, err := toRoom(room)
		if err != nil {
			return nil, fault.Field(fmt.Sprintf("rooms[%d]", i), "%s", fault.From(err).Message)
		}
		out[i] = at
	}
	return out, nil
}

func toInput(in model.SendMessageInput) message.Input {
	return message.Input{ClientMessageID: in.ClientMessageID, Channel: in.ChannelID, Thread: in.ThreadID.Value(), Parent: in.ParentMessageID.Value(),
		Content: in.Content.Value(), Type: in.Type.Value(), Metadata: in.Metadata.Value(), Mentions: in.Mentions.Value()}
}

func toResult(v viewer.Viewer, r message.Result) model.SendResult {
	out := model.SendResult{ClientMessageID: r.ClientMessageID, Status: receipt.Sent, Duplicate: r.Duplicate}
	if r.Message != nil {
		m := r.Message.For(v.User)
		out.Message = &m
	}
	if f := r.Err; f != nil {
		out.Status = receipt.Failed
		out.Error = &model.SendError{Code: string(f.Code), Message: f.Message, Retryable: f.Retryable}
		if f.RetryAfter > 0 {
			ms := int(f.RetryAfter.Milliseconds())
			out.Error.RetryAfterMs = &ms
		}
	}
	return out
}

func toReceipts(page []receipt.Receipt, more bool, total int) model.ReceiptConnection {
	c := model.ReceiptConnection{Edges: make([]model.ReceiptEdge, len(page)), Nodes: some(page),
		PageInfo: model.PageInfo{HasNextPage: more}, TotalCount: total}
	for i, x := range page {
		c.Edges[i] = model.ReceiptEdge{Cursor: x.Cursor(), Node: x}
	}
	if len(page) > 0 {
		start, end := page[0].Cursor(), page[len(page)-1].Cursor()
		c.PageInfo.StartCursor, c.PageInfo.EndCursor = &start, &end
	}
	return c
}

func toQuery(cursor *string, since *time.Time, channels []uuid.UUID, first, waitMs *int) feed.Query {
	q := feed.Query{Since: since, Channels: channels}
	if cursor != nil {
		q.Cursor = *cursor
	}
	if first != nil {
		if q.First = *first; q.First == 0 {
			q.First = -1
		}
	}
	if waitMs != nil {
		q.Wait = time.Duration(min(max(*waitMs, -1), int(feed.MaxWait.Milliseconds())+1)) * time.Millisecond
	}
	return q
}

func toHistory(channel uuid.UUID, thread *uuid.UUID, before, after *string, first *int) feed.HistoryQuery {
	q := feed.HistoryQuery{Channel: channel}
	if thread != nil {
		q.Thread = *thread
	}
	if before != nil {
		q.Before = *before
	}
	if after != nil {
		q.After = *after
	}
	if first != nil {
		if q.First = *first; q.First == 0 {
			q.First = -1
		}
	}
	return q
}

// acknowledge moves the caller's marks. Those that are refused are errors beside
// the answer; if all are, there is none.
func (r *Resolver) acknowledge(ctx context.Context, input []model.MarkInput, read bool) ([]receipt.State, error) {
	if err := atMost("input", len(input), r.deps.MaxIDs); err != nil {
		return nil, err
	}
	marks := make([]receipt.Mark, len(input))
	for i, m := range input {
		marks[i] = receipt.Mark{Channel: m.ChannelID, Message: m.MessageID}
		if t := m.ThreadID.Value(); t != nil {
			marks[i].Thread = *t
		}
	}
	list, err := r.deps.Receipts.Acknowledge(ctx, r.viewer(ctx), marks, read)
	refused, partly := errors.AsType[receipt.Refusals](err)
	for i, f := range refused {
		if err = f; i < len(refused)-1 || len(list) > 0 {
			graphql.AddError(ctx, f)
		}
	}
	if partly && len(list) > 0 {
		err = nil
	}
	return some(list), err
}

// beside checks what is asked for beside the log.
func (r *Resolver) beside(ctx context.Context, users []uuid.UUID, rooms []model.RoomInput) (viewer.Viewer, []typing.Room, error) {
	v, err := r.caller(ctx)
	if err != nil {
		return v, nil, err
	}
	if err := atMost("presenceOf", len(users), r.deps.MaxIDs); err != nil {
		return v, nil, err
	}
	at, err := r.toRooms(rooms)
	return v, at, err
}
