package graph

import (
	"context"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// Endings is a gqlgen extension. A subscription's channel can only end, not say
// why: a stream leaves the error it ends with here, and the end becomes one
// last response with that error and without data, over whichever transport.
type Endings struct {
	Present graphql.ErrorPresenterFunc
}

var (
	_ graphql.HandlerExtension     = Endings{}
	_ graphql.OperationInterceptor = Endings{}
)

type endingKey struct{}

type ending struct {
	mu  sync.Mutex
	err error // guarded by mu
}

func (e *ending) set(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

func (e *ending) take() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.err
	e.err = nil
	return err
}

// failer is where the stream of ctx leaves the error it ends with.
func failer(ctx context.Context) func(error) {
	if e, ok := ctx.Value(endingKey{}).(*ending); ok {
		return e.set
	}
	return func(error) {}
}

// ExtensionName is gqlgen's.
func (Endings) ExtensionName() string { return "Endings" }

// Validate is gqlgen's.
func (Endings) Validate(graphql.ExecutableSchema) error { return nil }

// InterceptOperation gives the operation its ending.
func (x Endings) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	e := &ending{}
	h := next(context.WithValue(ctx, endingKey{}, e))
	return func(ctx context.Context) *graphql.Response {
		if r := h(ctx); r != nil {
			return r
		}
		if err := e.take(); err != nil {
			return &graphql.Response{Errors: gqlerror.List{x.Present(ctx, err)}}
		}
		return nil
	}
}
