package gqlhttp

import (
	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/limit"
)

// room is what a request holds of its caller's, for the bytes of its answer. For one
// goroutine.
type room struct {
	limit.Room
	take func(bytes int) (done func(), err error)
	says func(error) gqlerror.List
	paid bool   // for what it sent
	back func() // what was paid for a large body, if it was a request
}

// upTo holds so many bytes in all; what is small needs none.
func (m *room) upTo(bytes int) error { return m.UpTo(bytes, m.take) }

// toRun takes room for what a mutation will be answered, before it runs, beside so many
// bytes that the answer has already; and for a subscription's variables, which it has for
// as long as it lives. Where there is none it does not run.
func (m *room) toRun(before int, oc *graphql.OperationContext, op *operation) gqlerror.List {
	bytes := 0
	switch oc.Operation.Operation { //nolint:exhaustive // a query takes what it answers
	case ast.Mutation:
		bytes = before + max(limit.Echo(len(op.variables)+len(oc.RawQuery)), limit.Roomy/2)
	case ast.Subscription:
		bytes = op.takes
	}
	if err := m.upTo(bytes); err != nil {
		return m.says(err)
	}
	return nil
}

// fit is a response for which there is room, beside so many bytes: itself, or that
// there is none. Of a mutation, which was carried out, that is not to be tried again.
func (m *room) fit(before int, oc *graphql.OperationContext, r *graphql.Response) *graphql.Response {
	size := before
	for _, part := range parts(r) {
		size += len(part)
	}
	err := m.upTo(size)
	switch {
	case err == nil:
		return r
	case oc != nil && oc.Operation.Operation == ast.Mutation:
		return &graphql.Response{Data: []byte("null"), Errors: m.says(limit.CarriedOut())}
	}
	return &graphql.Response{Errors: m.says(err)}
}
