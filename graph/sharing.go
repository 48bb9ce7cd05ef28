package graph

import (
	"context"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/share"
	"github.com/nself-org/nchat-realtime/internal/typing"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Alike reports whether a field's resolver answers all alike who are told the
// same: how far a message came is its sender's alone, who is none of them; who is in
// a list of those who type stands in the picture itself.
func Alike(object, field string) bool {
	return object == "Message" && field == "delivery" || object == "RoomTyping" && field == "users"
}

// messageSource is a channel's messages to be encoded once.
type messageSource struct{ *events.MessageReader }

func (s messageSource) Next(ctx context.Context) ([]share.Piece[events.MessageEvent], error) {
	told, err := s.MessageReader.Next(ctx)
	return messagePieces(told), err
}

// Look is share.Quick's.
func (s messageSource) Look(ctx context.Context) ([]share.Piece[events.MessageEvent], error) {
	told, err := s.MessageReader.Look(ctx)
	return messagePieces(told), err
}

// Now is share.Quick's.
func (s messageSource) Now() ([]share.Piece[events.MessageEvent], bool) {
	told, ok := s.MessageReader.Now()
	return messagePieces(told), ok
}

func messagePieces(told []events.Told) []share.Piece[events.MessageEvent] {
	out := make([]share.Piece[events.MessageEvent], len(told))
	for i, x := range told {
		out[i] = share.Piece[events.MessageEvent]{Value: x.Event, Fill: x.Cursor}
		if x.Alike {
			out[i].Class = x.Class
		}
	}
	return out
}

// eventPiece is an event of the one subscription to everything: messages are
// most of them, and the same for many.
func eventPiece(e events.Event) share.Piece[events.Event] {
	p := share.Piece[events.Event]{Fill: e.Cursor}
	if c, alike := e.Class(); alike {
		p.Class = c
	}
	p.Value = &events.Event{Cursor: share.Hole, Payload: e.Payload}
	return p
}

// presencePiece is what one viewer may see of a user: whoever may see the same
// is told the same.
func presencePiece(v presence.View) share.Piece[presence.View] {
	return share.Piece[presence.View]{Class: v.Class(), Value: &v}
}

// offered is a stream that is shared by what it brings. All that begins it is
// begin's, who asks and what it may: what is executed for a class asks nobody.
// The error with which it ends, where it does, Endings tells.
func offered[T any](ctx context.Context, as func(T) share.Piece[T], begin func(context.Context) (<-chan T, error)) (<-chan T, error) {
	return share.Offer(ctx, func() (share.Source[T], error) {
		within, cancel := context.WithCancel(ctx)
		ch, err := begin(within)
		if err != nil {
			cancel()
			return nil, err
		}
		return share.Channel(ch, as, cancel), nil
	}, func() (<-chan T, error) { return begin(ctx) })
}

// presenceSource is users' presence to be encoded once for all who may see the same.
type presenceSource struct{ *presence.Changes }

func (s presenceSource) Next(ctx context.Context) ([]share.Piece[presence.View], error) {
	v, err := s.Changes.Next(ctx)
	return presencePieces(v, err == nil), err
}

// Look is share.Quick's.
func (s presenceSource) Look(ctx context.Context) ([]share.Piece[presence.View], error) {
	v, told, err := s.Changes.Look(ctx)
	return presencePieces(v, told), err
}

// Now is share.Quick's.
func (s presenceSource) Now() ([]share.Piece[presence.View], bool) {
	v, told, ok := s.Changes.Now()
	return presencePieces(v, told), ok
}

func presencePieces(v presence.View, told bool) []share.Piece[presence.View] {
	if !told {
		return nil
	}
	return []share.Piece[presence.View]{presencePiece(v)}
}

// mayWatch is who asks for users' presence, once it may.
func (r *Resolver) mayWatch(ctx context.Context, users []uuid.UUID) (viewer.Viewer, error) {
	if len(users) == 0 {
		return viewer.Viewer{}, fault.Field("userIds", "userIds must name at least one user")
	}
	if err := atMost("userIds", len(users), r.deps.MaxIDs); err != nil {
		return viewer.Viewer{}, err
	}
	v, err := r.caller(ctx)
	if err != nil {
		return viewer.Viewer{}, err
	}
	return v, r.deps.Watching(ctx, v, len(users), false)
}

// typingSource is who types in rooms, to be encoded once for all who may see the same.
type typingSource struct{ *typing.Changes }

func (s typingSource) Next(ctx context.Context) ([]share.Piece[[]typing.RoomTyping], error) {
	list, err := s.Changes.Next(ctx)
	return typingPieces(list), err
}

// Look is share.Quick's.
func (s typingSource) Look(ctx context.Context) ([]share.Piece[[]typing.RoomTyping], error) {
	list, err := s.Changes.Look(ctx)
	return typingPieces(list), err
}

// Now is share.Quick's.
func (s typingSource) Now() ([]share.Piece[[]typing.RoomTyping], bool) {
	list, ok := s.Changes.Now()
	return typingPieces(list), ok
}

func typingPieces(list []typing.RoomTyping) []share.Piece[[]typing.RoomTyping] {
	if len(list) == 0 {
		return nil
	}
	return []share.Piece[[]typing.RoomTyping]{{Class: typing.ClassOf(list), Value: &list}}
}

// toWatch are the rooms that are asked for, one at least.
func (r *Resolver) toWatch(rooms []model.RoomInput) ([]typing.Room, error) {
	if len(rooms) == 0 {
		return nil, fault.Field("rooms", "rooms must name at least one room")
	}
	return r.toRooms(rooms)
}
