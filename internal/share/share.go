// Package share has the server encode an event once for all who are told the
// same of it, whatever their number.
//
// A resolver that offers its stream (Offer) is not asked to have it executed for
// each viewer. The stream's Source says what this viewer is told, one Piece after
// the other; each Piece carries the Class of viewers it is the same for. The
// first of a class has it executed and encoded, by the schema like everything
// else, and the others send those bytes. What only one viewer is to see (its
// cursor) stands in them as a Hole, and is put in for each.
//
// Nobody's data can come into shared bytes by mistake: they are executed for
// nobody at all, in a context without viewer, and a resolver that is not known
// to answer all viewers of a class alike makes the operation one that is executed
// for each. Where sharing is of no use, it is left out, and nothing else changes.
package share

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// Class is what bytes hold good for: an event, and everything about a viewer on
// which depends what it is told of it. Comparable. The nil Class is nobody
// else's: what the viewer alone is told.
type Class any

// Piece is one thing to tell one viewer: what the subscription's channel would
// bring.
type Piece[T any] struct {
	Class Class
	Value *T     // changed by nobody
	Fill  string // what stands in the Hole of Value, without special characters of JSON; "": there is none
}

// Source is one viewer's stream. For one goroutine.
type Source[T any] interface {
	// Next waits for more; nothing and no error: the stream is over. Its error
	// ends the subscription, and is told unless it is ctx's.
	Next(ctx context.Context) ([]Piece[T], error)
	// Close frees what it holds; a waiting Next returns.
	Close()
}

// Hole stands in a value for what is each viewer's own. Nobody outside knows it,
// so that no text holds it by accident or design.
var Hole = newHole()

// Options are what the extension stands on.
type Options struct {
	// Nobody is a context for what is executed for a whole class.
	Nobody func(context.Context) context.Context
	// Prepare is called with the operation that is executed for a class.
	Prepare func(context.Context, *graphql.OperationContext) *gqlerror.Error
	// Alike reports whether a field's resolver answers all viewers of a class alike.
	Alike   func(object, field string) bool
	Present graphql.ErrorPresenterFunc
	// Encoded is told of each execution of an event: for a class, or for one viewer.
	Encoded func(shared bool)
}

// Sharing is a gqlgen extension. It has to be the last that intercepts operations.
type Sharing struct {
	o Options

	mu     sync.Mutex
	shapes map[shapeKey]*shape // guarded by mu: of live subscriptions
}

var (
	_ graphql.HandlerExtension     = (*Sharing)(nil)
	_ graphql.OperationInterceptor = (*Sharing)(nil)
	_ graphql.FieldInterceptor     = (*Sharing)(nil)
)

// New is the extension.
func New(o Options) *Sharing { return &Sharing{o: o, shapes: map[shapeKey]*shape{}} }

// ExtensionName is gqlgen's.
func (*Sharing) ExtensionName() string { return "Sharing" }

// Validate is gqlgen's.
func (*Sharing) Validate(graphql.ExecutableSchema) error { return nil }

// InterceptOperation has a subscription shared where it can be.
func (x *Sharing) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	oc := graphql.GetOperationContext(ctx)
	if oc.Operation.Operation != ast.Subscription {
		return next(ctx)
	}
	key, ok := keyOf(oc)
	if !ok {
		return next(ctx)
	}
	var one sync.Mutex // what gqlgen does next notes its context, and may be asked by whoever comes first of a class
	run := func(ctx context.Context) graphql.ResponseHandler {
		one.Lock()
		defer one.Unlock()
		return next(ctx)
	}
	offered := &offer{}
	own := run(context.WithValue(ctx, offerKey{}, offered))
	if offered.next == nil {
		return own
	}
	m := &member{x: x, src: offered, own: own, shape: x.enter(key), shared: func() *player { return x.forAll(ctx, oc, run) }}
	offered.member = m
	context.AfterFunc(ctx, m.leave)
	return m.respond
}

// forAll executes an operation for a class; nil: it cannot be.
func (x *Sharing) forAll(ctx context.Context, oc *graphql.OperationContext, run graphql.OperationHandler) *player {
	mine := &graphql.OperationContext{RawQuery: oc.RawQuery, Variables: oc.Variables, OperationName: oc.OperationName, Doc: oc.Doc,
		Operation: oc.Operation, DisableIntrospection: oc.DisableIntrospection, RecoverFunc: oc.RecoverFunc,
		ResolverMiddleware: oc.ResolverMiddleware, RootResolverMiddleware: oc.RootResolverMiddleware}
	ctx = graphql.WithOperationContext(x.o.Nobody(ctx), mine)
	if x.o.Prepare(ctx, mine) != nil {
		return nil
	}
	p := &play{}
	ctx = context.WithValue(ctx, playKey{}, p)
	respond := run(ctx)
	return &player{play: p, ctx: ctx, respond: func(ctx context.Context) *graphql.Response {
		x.o.Encoded(true)
		return respond(ctx)
	}}
}

// InterceptField notes that a class's execution came by a resolver that may
// answer each viewer otherwise.
func (x *Sharing) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	if p := playing(ctx); p != nil {
		if fc := graphql.GetFieldContext(ctx); fc != nil && fc.IsResolver && fc.Object != "Subscription" && !x.o.Alike(fc.Object, fc.Field.Name) {
			p.differs.Store(true)
		}
	}
	return next(ctx)
}

// shapeKey is what is executed: equal keys ask for the same fields with the same
// values.
type shapeKey struct {
	doc       *ast.QueryDocument // the same for equal texts, as long as it is cached
	operation *ast.OperationDefinition
	variables string // that it depends on
}

func keyOf(oc *graphql.OperationContext) (shapeKey, bool) {
	used := map[string]any{}
	for _, sel := range oc.Operation.SelectionSet {
		noteVariables(oc, sel, used, true)
	}
	vars, err := json.Marshal(used) // keys sorted
	return shapeKey{oc.Doc, oc.Operation, string(vars)}, err == nil
}

// noteVariables collects the variables on which it depends what is encoded: all
// but those in the root field's own arguments, which say what the stream brings
// and not how it looks.
func noteVariables(oc *graphql.OperationContext, sel ast.Selection, used map[string]any, root bool) {
	var inner ast.SelectionSet
	var directives ast.DirectiveList
	switch x := sel.(type) {
	case *ast.Field:
		if !root {
			noteArguments(oc, x.Arguments, used)
		}
		inner, directives, root = x.SelectionSet, x.Directives, false
	case *ast.InlineFragment:
		inner, directives = x.SelectionSet, x.Directives
	case *ast.FragmentSpread:
		if x.Definition != nil {
			inner = x.Definition.SelectionSet
		}
		directives = x.Directives
	}
	for _, d := range directives {
		noteArguments(oc, d.Arguments, used)
	}
	for _, next := range inner {
		noteVariables(oc, next, used, root)
	}
}

func noteArguments(oc *graphql.OperationContext, list ast.ArgumentList, used map[string]any) {
	for _, a := range list {
		noteValue(oc, a.Value, used)
	}
}

func noteValue(oc *graphql.OperationContext, v *ast.Value, used map[string]any) {
	if v == nil {
		return
	}
	if v.Kind == ast.Variable {
		used[v.Raw] = oc.Variables[v.Raw]
	}
	for _, c := range v.Children {
		noteValue(oc, c.Value, used)
	}
}

// enter has a subscription take part in its shape.
func (x *Sharing) enter(key shapeKey) *shape {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.shapes[key]
	if s == nil {
		s = &shape{key: key}
		x.shapes[key] = s
	}
	s.members.Add(1)
	return s
}

func (x *Sharing) exit(s *shape) {
	x.mu.Lock()
	if s.members.Add(-1) == 0 && x.shapes[s.key] == s {
		delete(x.shapes, s.key)
	}
	x.mu.Unlock()
	s.fewer()
}

// member is one viewer's subscription.
type member struct {
	x      *Sharing
	src    *offer
	own    graphql.ResponseHandler // executes what is this viewer's alone
	shape  *shape
	shared func() *player // to be called after its operation has begun
	queue  []piece
	over   bool
	left   bool // guarded by the shape's mu

	once sync.Once
}

func (m *member) leave() {
	m.once.Do(func() {
		m.src.close()
		m.shape.disclaim(m)
		m.x.exit(m.shape)
	})
}

// respond is what comes next; nil: the end.
func (m *member) respond(ctx context.Context) *graphql.Response {
	if ctx.Err() != nil {
		return nil
	}
	for len(m.queue) == 0 {
		if m.over {
			return nil
		}
		next, look := m.src.next, m.src.quick != nil && looking(ctx)
		if look {
			next = m.src.quick.look
		}
		var err error
		if m.queue, err = next(ctx); err == nil && len(m.queue) > 0 {
			continue
		}
		if err == nil && look {
			return Nothing
		}
		m.over = true
		if err == nil || ctx.Err() != nil {
			return nil
		}
		return &graphql.Response{Errors: gqlerror.List{m.x.o.Present(ctx, err)}}
	}
	p := m.queue[0]
	m.shift()
	if p.class != nil {
		if e := m.shape.bytes(p, m.shared); e != nil {
			return &graphql.Response{Data: e.appendTo(nil, p.fill)}
		}
	}
	p.put()
	m.x.o.Encoded(false)
	r := m.own(ctx)
	if r == nil {
		m.over = true
		return nil
	}
	r.Data = encode(r.Data).appendTo(nil, p.fill)
	return r
}

// shift takes the first piece off.
func (m *member) shift() {
	m.queue[0] = piece{}
	if m.queue = m.queue[1:]; len(m.queue) == 0 {
		m.queue = nil
	}
}
