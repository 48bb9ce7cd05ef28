// Package gqlhttp serves GraphQL over HTTP as the GraphQL-over-HTTP
// specification says: GET, POST, and server-sent events in graphql-sse's
// distinct connections mode for clients without WebSocket. It also holds the
// one place where errors are made presentable and logged, for every transport.
package gqlhttp

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const persistedNotFound = "PERSISTED_QUERY_NOT_FOUND"

// Presenter makes an error what a client may see: a fault as it is, what the
// parser and validator said as validation-failed, anything else as an internal
// error, logged here and nowhere else, without any of the caller's content.
func Presenter(log *slog.Logger) graphql.ErrorPresenterFunc {
	return func(ctx context.Context, err error) *gqlerror.Error {
		out := &gqlerror.Error{Path: graphql.GetPath(ctx)}
		g, isGraphQL := errors.AsType[*gqlerror.Error](err)
		if isGraphQL {
			out.Locations = g.Locations
			if g.Path != nil {
				out.Path = g.Path
			}
		}
		if f, ok := errors.AsType[*fault.Error](err); ok {
			out.Message, out.Extensions = f.Message, f.Extensions()
			return out
		}
		if isGraphQL && g.Extensions["code"] == persistedNotFound {
			out.Message, out.Extensions = g.Message, map[string]any{"code": persistedNotFound, "retryable": false}
			return out
		}
		if isGraphQL && theCallers(g) {
			out.Message, out.Extensions = g.Message, fault.New(fault.Invalid, "").Extensions()
			return out
		}
		if !errors.Is(err, context.Canceled) {
			log.ErrorContext(ctx, "operation failed", "error", err, "path", out.Path.String())
		}
		f := fault.From(err)
		out.Message, out.Extensions = f.Message, f.Extensions()
		return out
	}
}

// theCallers tells what the parser, the validator and the reading of arguments
// say from what went wrong on our side.
func theCallers(g *gqlerror.Error) bool {
	switch g.Extensions["code"] {
	case errcode.ParseFailed, errcode.ValidationFailed:
		return true
	}
	if g.Rule != "" || g.Err == nil {
		return true
	}
	_, number := errors.AsType[*strconv.NumError](g.Err)
	_, integer := errors.AsType[*graphql.IntegerError](g.Err)
	return number || integer
}

// Recover makes an error of a panic and logs where it came from.
func Recover(log *slog.Logger) graphql.RecoverFunc {
	return func(ctx context.Context, p any) error {
		log.ErrorContext(ctx, "panic in an operation", "panic", p, "stack", string(debug.Stack()))
		return fault.From(errors.New("panic"))
	}
}
