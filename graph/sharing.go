package graph

import (
	"context"

	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/share"
)

// Alike reports whether a field's resolver answers all alike who are told the
// same: how far a message came is its sender's alone, who is none of them.
func Alike(object, field string) bool { return object == "Message" && field == "delivery" }

// messageSource is a channel's messages to be encoded once.
type messageSource struct{ *events.MessageReader }

func (s messageSource) Next(ctx context.Context) ([]share.Piece[events.MessageEvent], error) {
	told, err := s.MessageReader.Next(ctx)
	out := make([]share.Piece[events.MessageEvent], len(told))
	for i, x := range told {
		out[i] = share.Piece[events.MessageEvent]{Value: x.Event, Fill: x.Event.Cursor}
		out[i].Value.Cursor = share.Hole
		if x.Alike {
			out[i].Class = x.Class
		}
	}
	return out, err
}

// eventPiece is an event of the one subscription to everything: messages are
// most of them, and the same for many.
func eventPiece(e events.Event) share.Piece[events.Event] {
	p := share.Piece[events.Event]{Fill: e.Cursor}
	if c, alike := e.Class(); alike {
		p.Class = c
	}
	p.Value = events.Event{Cursor: share.Hole, Payload: e.Payload}
	return p
}

// presencePiece is what one viewer may see of a user: whoever may see the same
// is told the same.
func presencePiece(v presence.View) share.Piece[presence.View] {
	return share.Piece[presence.View]{Class: v.Class(), Value: v}
}

// offered is a stream that is shared by what it brings. Its error, where it ends
// with one, Endings tells.
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
