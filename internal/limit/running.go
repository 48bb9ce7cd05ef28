package limit

import (
	"context"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/lexer"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// tokenBytes is what a token of a document takes once it is parsed, at most: measured, a
// field alone.
const tokenBytes = 256

// Running is a gqlgen extension: an operation holds its document, as it was parsed, for as
// long as it runs, a subscription for hours. One caller's hold a budget of bytes together;
// however many run one document, as long as it is cached, hold it once. Small ones of what
// is soon over are not counted. Refusals are rate-limited faults.
type Running struct {
	Held *Held
	Key  func(ctx context.Context) (key string, exempt bool)

	mu sync.Mutex
	of map[run]*runs // guarded by mu
}

// run is a document that somebody runs.
type run struct {
	key string
	doc *ast.QueryDocument
}

type runs struct {
	n    int
	back func()
}

var (
	_ graphql.HandlerExtension        = &Running{}
	_ graphql.OperationContextMutator = &Running{}
)

// ExtensionName is gqlgen's.
func (*Running) ExtensionName() string { return "RunningDocuments" }

// Validate is gqlgen's.
func (*Running) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationContext refuses; nothing is mutated. ctx is the operation's.
func (r *Running) MutateOperationContext(ctx context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	key, exempt := r.Key(ctx)
	if exempt || oc.Operation.Operation != ast.Subscription && len(oc.RawQuery) <= littleText {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := run{key, oc.Doc}
	x := r.of[at]
	if x == nil {
		back, err := r.Held.Take(key, Parsed(oc.RawQuery), false)
		if err != nil {
			return refusal(fault.From(err))
		}
		if r.of == nil {
			r.of = map[run]*runs{}
		}
		x = &runs{back: back}
		r.of[at] = x
	}
	x.n++
	context.AfterFunc(ctx, func() { r.end(at) })
	return nil
}

func (r *Running) end(at run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.of[at]
	if x.n--; x.n == 0 {
		delete(r.of, at)
		x.back()
	}
}

// Parsed is how many bytes a document takes once it is parsed, with its text, at most.
func Parsed(text string) int {
	n := len(text)
	_ = tokensOf(text, func(lexer.Token) *gqlerror.Error { n += tokenBytes; return nil })
	return n
}
