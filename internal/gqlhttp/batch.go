package gqlhttp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/limit"
)

// batchOf are the operations of an array, to be answered in a type, or what is wrong
// with it.
func batchOf(raw []byte, media string) (list []json.RawMessage, wrong string) {
	list, ok := limit.Elements(raw, limit.BatchOperations)
	switch {
	case !ok:
		wrong = notOne
	case len(list) == 0 || len(list) > limit.BatchOperations:
		wrong = limit.BatchSize().Message
	case media == mediaSSE:
		wrong = "a batch is not answered as an event stream"
	}
	return list, wrong
}

// executeAll answers a batch as Hasura does: with an array of what each of its
// operations would be answered alone, carried out one after the other.
func (a answer) executeAll(list []operation, exec graphql.GraphExecutor) {
	body, refused := []byte{'['}, gqlerror.List(nil)
	for i := range list {
		if i > 0 {
			body = append(body, ',')
		}
		r := a.one(len(body), &list[i], exec)
		if a.r.Context().Err() != nil { // nobody is left to answer
			return
		}
		body = append(body, encode(r)...)
		if tooOften(r.Errors) {
			refused = r.Errors
		}
	}
	a.t.linger(a.r, refused)
	a.write(http.StatusOK, append(body, ']'))
}

// one carries out an operation of a batch, of which nothing is left as it was sent, and whose answer has so many bytes already.
func (a answer) one(before int, op *operation, exec graphql.GraphExecutor) *graphql.Response {
	ctx := graphql.StartOperationTrace(a.r.Context())
	oc, errs := a.prepare(ctx, op.params(a), exec)
	switch {
	case errs != nil:
	case oc.Operation.Operation == ast.Subscription:
		errs = gqlerror.List{a.t.o.Present(ctx, fault.New(fault.Unsupported, "subscriptions are not served in a batch"))}
	default:
		errs = a.room.toRun(before, oc, op)
	}
	*op = operation{}
	if errs != nil {
		return a.room.fit(before, nil, &graphql.Response{Errors: errs})
	}
	ctx, cancel := context.WithTimeout(ctx, a.t.o.OperationTimeout)
	defer cancel()
	responses, ctx := a.dispatch(ctx, oc, exec)
	r := a.next(ctx, responses)
	switch {
	case r == nil:
		return &graphql.Response{Errors: gqlerror.List{a.t.o.Present(ctx, errors.New("an operation without a response"))}}
	case len(r.Data) == 0 && len(r.Errors) == 0:
		r.Errors = gqlerror.List{a.t.o.Present(ctx, errors.New("an operation without a response"))}
	}
	return a.room.fit(before, oc, r)
}
