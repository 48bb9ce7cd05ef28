package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/graph/scalar"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/share"
)

// Shared begins a subscription that is encoded once for all who are told the
// same; nil: it is one for each viewer.
func (r *Resolver) Shared(ctx context.Context, field graphql.CollectedField) share.Source {
	if field.Name != "messageChanged" || len(field.Directives) > 0 || r.deps.AutoDeliver(ctx) {
		return nil
	}
	channel, err := scalar.UnmarshalUUID(field.ArgumentMap(graphql.GetOperationContext(ctx).Variables)["channelId"])
	if err != nil || channel == uuid.Nil {
		return nil
	}
	in, err := r.deps.Events.ReadMessages(ctx, r.viewer(ctx), channel)
	if err != nil {
		return nil // the resolver says why
	}
	return messageSource{in}
}

// Alike reports whether a field's resolver answers all alike who are told the
// same: how far a message came is its sender's alone, who is none of them.
func Alike(object, field string) bool { return object == "Message" && field == "delivery" }

type messageSource struct{ *events.MessageReader }

func (messageSource) Tape() share.Tape { return share.NewTape[events.MessageEvent]() }

func (s messageSource) Next(ctx context.Context) ([]share.Piece, error) {
	told, err := s.MessageReader.Next(ctx)
	out := make([]share.Piece, len(told))
	for i, x := range told {
		x.Event.Cursor = share.Hole
		out[i] = share.Piece{Value: x.Event, Fill: x.Cursor}
		if x.Alike {
			out[i].Class = x.Class
		}
	}
	return out, err
}
