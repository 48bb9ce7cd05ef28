package limit

import (
	"context"
	"reflect"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Answer is a gqlgen extension: an answer of more than Bytes, or one of a subscription's
// events of more than Event, is refused as a whole, and not built: a small document can
// ask for everything on a page under many names. Whatever can be many or long
// counts as it is written: texts with what JSON escapes in them, ids, lists.
type Answer struct{ Bytes, Event int64 }

var (
	_ graphql.HandlerExtension        = Answer{}
	_ graphql.OperationContextMutator = Answer{}
	_ graphql.FieldInterceptor        = Answer{}
	_ graphql.ResponseInterceptor     = Answer{}
)

// ExtensionName is gqlgen's.
func (Answer) ExtensionName() string { return "AnswerSize" }

// Validate is gqlgen's.
func (Answer) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationContext begins to count. The count is the operation's: the
// fields of a subscription's event do not have its response's context.
func (a Answer) MutateOperationContext(_ context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	oc.Stats.SetExtension(a.ExtensionName(), new(atomic.Int64))
	return nil
}

// most is what the operation may have at once. Of events many are made at the same
// time, whenever one thing happens.
func (a Answer) most(ctx context.Context) int64 {
	if oc := graphql.GetOperationContext(ctx); oc.Operation != nil && oc.Operation.Operation == ast.Subscription {
		return a.Event
	}
	return a.Bytes
}

func (a Answer) count(ctx context.Context) *atomic.Int64 {
	if !graphql.HasOperationContext(ctx) {
		return nil
	}
	n, _ := graphql.GetOperationContext(ctx).Stats.GetExtension(a.ExtensionName()).(*atomic.Int64)
	return n
}

// InterceptField counts one, and leaves out what is too much. A query that has had
// too much reads nothing more: of many pages in one no more is read than goes into
// one answer, and those that are being read meanwhile.
func (a Answer) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	n, fc := a.count(ctx), graphql.GetFieldContext(ctx)
	if n == nil || fc == nil {
		return next(ctx)
	}
	most := a.most(ctx)
	if n.Load() > most && graphql.GetOperationContext(ctx).Operation.Operation == ast.Query {
		return nil, tooMuch(most, lessAtOnce) // nothing would be a null where there is none, and that our fault
	}
	res, err := next(ctx)
	if n.Add(int64(fieldBytes+len(fc.Field.Alias)+valueBytes(res)+typeBytes(fc.Field, res))) > most {
		return cut(res), err
	}
	return res, err
}

// cut is a value of the same type with nothing in it, where it may have much.
func cut(v any) any {
	switch v.(type) {
	case string:
		return ""
	case *string:
		return new(string)
	case nil:
		return nil
	}
	if t := reflect.TypeOf(v); t.Kind() == reflect.Slice {
		return reflect.MakeSlice(t, 0, 0).Interface()
	}
	return v
}

// InterceptResponse refuses what was too much.
func (a Answer) InterceptResponse(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	n := a.count(ctx)
	if n == nil {
		return next(ctx)
	}
	n.Store(0)
	r, most := next(ctx), a.most(ctx)
	if r == nil || n.Load() <= most {
		return r
	}
	what := lessAtOnce
	if oc := graphql.GetOperationContext(ctx); oc.Operation != nil && oc.Operation.Operation == ast.Mutation {
		what = "it was carried out all the same"
	}
	return &graphql.Response{Errors: gqlerror.List{refusal(tooMuch(most, what))}}
}

const lessAtOnce = "ask for less at once"

func tooMuch(most int64, what string) *fault.Error {
	return fault.New(fault.Invalid, "the answer has more than %d bytes: %s", most, what)
}
