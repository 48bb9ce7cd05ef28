package limit

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Fields count as they are resolved, each answer by itself; past the limit
// nothing more of them is kept, and the answer is refused.
func TestAnAnswerTooLarge(t *testing.T) {
	t.Parallel()
	for kind, want := range map[ast.Operation]string{ast.Query: "ask for less", ast.Mutation: "carried out", ast.Subscription: "ask for less"} {
		a := Answer{Bytes: 1000, Event: 1 << 40}
		if kind == ast.Subscription {
			a = Answer{Bytes: 1 << 40, Event: 1000}
		}
		oc := &graphql.OperationContext{Operation: &ast.OperationDefinition{Operation: kind}}
		if err := a.MutateOperationContext(t.Context(), oc); err != nil {
			t.Fatal(err)
		}
		ctx := graphql.WithOperationContext(t.Context(), oc)
		field := func(v any) any {
			t.Helper()
			in := graphql.WithFieldContext(ctx, &graphql.FieldContext{Field: graphql.CollectedField{Field: &ast.Field{Alias: "x"}}})
			res, err := a.InterceptField(in, func(context.Context) (any, error) { return v, nil })
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		long := strings.Repeat("x", 400)
		answer := func(fields ...any) *graphql.Response {
			return a.InterceptResponse(ctx, func(context.Context) *graphql.Response {
				for _, v := range fields {
					field(v)
				}
				return &graphql.Response{Data: []byte("{}")}
			})
		}
		for range 3 { // each by itself
			if r := answer(long, &long, 7, nil, json.RawMessage("{}")); len(r.Errors) > 0 {
				t.Errorf("%s: %v", kind, r.Errors)
			}
		}
		for _, fields := range [][]any{{long, long, long}, {&long, json.RawMessage(long), long}, {strings.Repeat(long, 3)}} {
			r := answer(fields...)
			if len(r.Errors) != 1 || len(r.Data) > 0 {
				t.Fatalf("%s: %+v", kind, r)
			}
			if f, ok := errors.AsType[*fault.Error](r.Errors[0]); !ok || f.Code != fault.Invalid || f.Retryable || !strings.Contains(f.Message, want) {
				t.Errorf("%s: %v", kind, r.Errors)
			}
			if kind == ast.Query {
				ran := false
				in := graphql.WithFieldContext(ctx, &graphql.FieldContext{Field: graphql.CollectedField{Field: &ast.Field{Alias: "page"}}})
				res, err := a.InterceptField(in, func(context.Context) (any, error) { ran = true; return long, nil })
				if f, ok := errors.AsType[*fault.Error](err); ran || res != nil || !ok || f.Code != fault.Invalid {
					t.Errorf("past what it may have, a query reads on: %v, %v", res, err)
				}
				continue
			}
			if field(long) != "" || *field(&long).(*string) != "" || len(field([]int{1}).([]int)) != 0 || field(7) != 7 || field(nil) != nil {
				t.Errorf("%s: more is kept", kind)
			}
		}
	}
}
