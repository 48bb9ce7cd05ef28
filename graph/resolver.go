// Package graph ties the schema to the domains. A resolver knows who asks,
// calls one domain, and returns what it answers; no rule lives here.
package graph

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/push"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/typing"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Access is what may be done about sessions and the tokens behind them.
type Access interface {
	// Refresh puts a socket on a new token of the same user and tenant.
	// session uuid.Nil: the socket the request came over.
	Refresh(ctx context.Context, token string, session uuid.UUID) (model.SessionInfo, error)
	// Revoke refuses a user's tokens issued before now, or the one named, and
	// answers how many live sessions that ends. The admin's alone.
	Revoke(ctx context.Context, user uuid.UUID, token *string) (int, error)
	// While bounds what may wait to the caller's token: the context ends with it,
	// and its cause is what the caller is answered then.
	While(ctx context.Context) (context.Context, func())
}

// Deps is what resolvers call.
type Deps struct {
	Presence *presence.Service
	Typing   *typing.Service
	Messages *message.Service
	Receipts *receipt.Service
	Notify   *receipt.Notifier
	Hours    push.Hours
	Feed     *feed.Service
	Events   *events.Service
	Access   Access
	Viewer   func(ctx context.Context) viewer.Viewer        // who asks; without a user for those who have none
	Config   func(ctx context.Context) model.RealtimeConfig // as this server runs
	// AutoDeliver: what is written to the caller's socket counts as delivered.
	AutoDeliver func(ctx context.Context) bool
	MaxIDs      int // ids in one operation
	MaxRooms    int // rooms in one operation
	// Watching holds n ids more for a viewer until ctx ends, or refuses.
	Watching func(ctx context.Context, v viewer.Viewer, n int, alone bool) error
	// Polling holds a place among a viewer's polls that wait until done, or refuses.
	Polling func(v viewer.Viewer) (done func(), err error)
	// Turn is taken by what a subscription's responses read; other operations have one.
	// nil: everybody may at once.
	Turn wait.Turn
}

// Resolver is gqlgen's root.
type Resolver struct{ deps Deps }

// NewResolver is a root over deps.
func NewResolver(deps Deps) *Resolver { return &Resolver{deps} }

func (r *Resolver) viewer(ctx context.Context) viewer.Viewer { return r.deps.Viewer(ctx) }

// caller is the viewer where only a user may ask.
func (r *Resolver) caller(ctx context.Context) (viewer.Viewer, error) {
	v := r.deps.Viewer(ctx)
	return v, v.Denied()
}

// ended is what became of a caller's token meanwhile, else err.
func ended(ctx context.Context, err error) error {
	if f, ok := errors.AsType[*fault.Error](context.Cause(ctx)); ok {
		return f
	}
	return err
}

// atMost refuses a list of an argument that is longer than it may be.
func atMost(field string, n, most int) error {
	if n > most {
		return fault.Field(field, "%s has more than %d entries", field, most)
	}
	return nil
}
