package gqlhttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	persistedNotFound = "PERSISTED_QUERY_NOT_FOUND" // Apollo's, which clients wait for
	longestMessage    = 300                         // characters of what validation says: it repeats values
)

// Presenter makes an error what a client may see: a fault as it is, what the
// parser, the validator and the reading of variables and arguments said as
// validation-failed without suggestions, anything else as an internal error,
// logged here and nowhere else, without any of the caller's content. That the
// caller has gone is not logged, and that Postgres takes no writes once.
func Presenter(log *slog.Logger) graphql.ErrorPresenterFunc {
	w := &writeless{log: log}
	return func(ctx context.Context, err error) *gqlerror.Error {
		out := &gqlerror.Error{}
		if fc := graphql.GetFieldContext(ctx); fc != nil {
			out.Path = fc.Path()
		}
		g, isGraphQL := errors.AsType[*gqlerror.Error](err)
		if isGraphQL {
			out.Locations = g.Locations
		}
		if isGraphQL && g.Extensions["code"] == persistedNotFound {
			out.Message, out.Extensions = g.Message, map[string]any{"code": persistedNotFound, "retryable": false}
			return out
		}
		f := explain(ctx, err, g)
		if f == nil {
			f = w.told(ctx, err)
		}
		out.Message, out.Extensions = f.Message, f.Extensions()
		return out
	}
}

// refused is the fault in an error that is no fault: the caller's where the
// database took a value for wrong, which is named by the caller's own, or where an
// app's constraint did, else ours.
func refused(ctx context.Context, err error) *fault.Error {
	pg, ok := errors.AsType[sqlError](err)
	if isFault(err) || !ok {
		return fault.From(err)
	}
	field := "this operation"
	if fc := graphql.GetFieldContext(ctx); fc != nil && fc.Field.Field != nil {
		field = fc.Field.Name
	}
	switch constraint, wrong := fault.Refuses(pg.SQLState()); {
	case constraint:
		return fault.New(fault.Constraint, "the database refuses %s", field)
	case wrong:
		at, values := blame(ctx, pg.Error())
		if values != "" {
			values = ": " + values
		}
		return fault.Field(at, "%s has a value that the database does not take%s", field, values)
	}
	return fault.From(err)
}

// explain is the fault in what the caller sent, nil if it was not the caller's.
func explain(ctx context.Context, err error, g *gqlerror.Error) *fault.Error {
	if g == nil {
		return nil
	}
	fc := graphql.GetFieldContext(ctx)
	if f, ok := errors.AsType[*fault.Error](err); ok {
		if f.Code == fault.Invalid && f.Field == "" {
			if at := argument(fc, g.Path); at != "" {
				return fault.Field(at, "%s", f.Message)
			}
		}
		return f
	}
	switch code := g.Extensions["code"]; {
	case code == errcode.ParseFailed, code == errcode.ValidationFailed, g.Rule != "", fc == nil && g.Err == nil:
		return fault.Field(variable(g.Path), "%s", readable(g.Message))
	case fc == nil:
		return nil
	case argument(fc, g.Path) != "":
		return fault.Field(argument(fc, g.Path), "%s", readable(g.Message))
	case fc.Field.Field != nil && strings.HasPrefix(fc.Field.Name, "__"):
		return fault.New(fault.Unsupported, "introspection is off")
	}
	return nil
}

// argument is the path of an input below its field: gqlgen's errors in reading
// arguments, and no others, have a path longer than the field's.
func argument(fc *graphql.FieldContext, path ast.Path) string {
	if fc == nil {
		return ""
	}
	if own := fc.Path(); len(path) > len(own) && path[:len(own)].String() == own.String() {
		return path[len(own):].String()
	}
	return ""
}

// variable is the path of an input below "variable", which is gqlparser's word.
func variable(path ast.Path) string {
	if len(path) > 1 && path[0] == ast.PathName("variable") {
		return path[1:].String()
	}
	return ""
}

// readable is a message of the validator without suggestions, which would tell
// the schema to who may not read it, and without values at length.
func readable(message string) string {
	if message == "operation  not found" {
		return "operationName is missing: the document has several operations"
	}
	message, _, _ = strings.Cut(message, " Did you mean")
	if r := []rune(message); len(r) > longestMessage {
		return string(r[:longestMessage]) + "…"
	}
	return message
}

func isFault(err error) bool {
	_, ok := errors.AsType[*fault.Error](err)
	return ok
}

func gone(ctx context.Context, err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(ctx.Err(), context.Canceled)
}

// fieldOf names a field by the schema's words; an alias is the caller's.
func fieldOf(ctx context.Context) string {
	fc := graphql.GetFieldContext(ctx)
	if fc == nil || fc.Field.Field == nil {
		return ""
	}
	return fc.Object + "." + fc.Field.Name
}

// withoutValues is an error's text, without Postgres's message where that
// repeats a value: class 22, data exceptions.
func withoutValues(err error) string {
	if g, ok := errors.AsType[*gqlerror.Error](err); ok && g.Err != nil {
		err = g.Err // its own text has the path in the caller's aliases
	}
	text := err.Error()
	if pg, ok := errors.AsType[sqlError](err); ok && strings.HasPrefix(pg.SQLState(), "22") {
		text = strings.ReplaceAll(text, pg.Error(), "SQLSTATE "+pg.SQLState())
	}
	return text
}

// Recover makes an error of a panic and logs where it came from.
func Recover(log *slog.Logger) graphql.RecoverFunc {
	return func(ctx context.Context, p any) error {
		log.ErrorContext(ctx, "panic in an operation", "field", fieldOf(ctx), "panic", readable(fmt.Sprint(p)), "stack", string(debug.Stack()))
		return fault.From(errors.New("panic"))
	}
}

// sqlError is an error of Postgres', whatever asked it.
type sqlError interface {
	error
	SQLState() string
}
