package app

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
)

// audit writes a line for whatever an admin asks in a user's name: it sees then
// what the user alone sees. It says who, whose and which fields; never arguments,
// variables, answers or credentials.
type audit struct{ log *slog.Logger }

// operation is gqlgen's middleware.
func (a audit) operation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	if id := auth.From(ctx); id.Admin && id.UserID != uuid.Nil {
		oc := graphql.GetOperationContext(ctx)
		var fields []string
		for _, f := range graphql.CollectFields(oc, oc.Operation.SelectionSet, []string{"Query", "Mutation", "Subscription"}) {
			if !strings.HasPrefix(f.Name, "__") {
				fields = append(fields, f.Name)
			}
		}
		slices.Sort(fields)
		a.line(ctx, id, string(oc.Operation.Operation), slices.Compact(fields))
	}
	return next(ctx)
}

// action is the same for one of Hasura's actions.
func (a audit) action(ctx context.Context, id auth.Identity, name string) {
	if id.Admin && id.UserID != uuid.Nil {
		a.line(ctx, id, "action", []string{name})
	}
}

// ends writes that an admin ends what a user has, or one token of it, in whosever
// name it asks: the answer counts sessions that others may not know of.
func (a audit) ends(ctx context.Context, id auth.Identity, target uuid.UUID, one bool) {
	attrs := []slog.Attr{slog.String("via", string(id.Via)), slog.String("tenant", id.Tenant), slog.String("target", target.String()), slog.Bool("oneToken", one)}
	if id.UserID != uuid.Nil {
		attrs = append(attrs, slog.String("user", id.UserID.String()))
	}
	a.log.LogAttrs(ctx, slog.LevelWarn, "audit: an admin ends a user's sessions", attrs...)
}

func (a audit) line(ctx context.Context, id auth.Identity, kind string, fields []string) {
	if len(fields) == 0 {
		return
	}
	attrs := []slog.Attr{slog.String("via", string(id.Via)), slog.String("tenant", id.Tenant), slog.String("user", id.UserID.String()),
		slog.String("kind", kind), slog.Any("fields", fields)}
	if id.TokenID != "" {
		attrs = append(attrs, slog.String("token", id.TokenID))
	}
	a.log.LogAttrs(ctx, slog.LevelWarn, "audit: an admin acts as a user", attrs...)
}
