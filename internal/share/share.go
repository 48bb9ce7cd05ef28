// Package share has the server encode an event once for all who are told the
// same of it, whatever their number.
//
// A subscription that can be shared is not executed for each viewer. Its Source
// says what this viewer is told, one Piece after the other; each Piece carries
// the Class of viewers it is the same for. The first of a class has it executed
// and encoded, by the schema like everything else, and the others send those
// bytes. What only one viewer is to see (its cursor) stands in them as a Hole,
// and is put in for each.
//
// Nobody's data can come into shared bytes by mistake: they are executed for
// nobody at all, in a context without viewer, and a resolver that is not known
// to answer all viewers of a class alike makes the operation one that is executed
// for each. Where sharing is of no use, it is left out, and nothing else changes.
package share

import (
	"bytes"
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

// Piece is one thing to tell one viewer.
type Piece struct {
	Class Class
	Value any           // what the subscription's channel would bring
	Fill  func() string // what stands in the Hole of Value; without special characters of JSON
}

// Source is one viewer's subscription. For one goroutine.
type Source interface {
	// Next waits for more. Its error ends the subscription, and is told unless
	// it is ctx's.
	Next(ctx context.Context) ([]Piece, error)
	// Tape plays values of the type of Piece.Value to the subscription's resolver.
	Tape() Tape
	// Close frees what it holds; a waiting Next returns.
	Close()
}

// Hole stands in a value for what is each viewer's own. Nobody outside knows it,
// so that no text holds it by accident or design.
var Hole = newHole()

// Options are what the extension stands on.
type Options struct {
	// Open begins a subscription by its root field; nil: it is not one to share,
	// or there is something to refuse: it is to be executed as usual.
	Open func(ctx context.Context, field graphql.CollectedField) Source
	// Nobody is a context for what is executed for a whole class.
	Nobody func(context.Context) context.Context
	// Prepare is called with the operation that is executed for a class.
	Prepare func(context.Context, *graphql.OperationContext) *gqlerror.Error
	// Alike reports whether a field's resolver answers all viewers of a class alike.
	Alike   func(object, field string) bool
	Present graphql.ErrorPresenterFunc
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
	fields := graphql.CollectFields(oc, oc.Operation.SelectionSet, []string{"Subscription"})
	if len(fields) != 1 {
		return next(ctx)
	}
	src := x.o.Open(ctx, fields[0])
	if src == nil {
		return next(ctx)
	}
	var one sync.Mutex // what gqlgen does next notes its context, and may be asked by whoever comes first of a class
	run := func(ctx context.Context) graphql.ResponseHandler {
		one.Lock()
		defer one.Unlock()
		return next(ctx)
	}
	m := &member{x: x, src: src, shape: x.enter(key),
		own:    func() *player { return newPlayer(ctx, run, &play{tape: src.Tape()}) },
		shared: func() *player { return x.forAll(ctx, oc, run, src.Tape()) }}
	context.AfterFunc(ctx, m.leave)
	return m.respond
}

// forAll executes an operation for a class; nil: it cannot be.
func (x *Sharing) forAll(ctx context.Context, oc *graphql.OperationContext, run graphql.OperationHandler, t Tape) *player {
	mine := &graphql.OperationContext{RawQuery: oc.RawQuery, Variables: oc.Variables, OperationName: oc.OperationName, Doc: oc.Doc,
		Operation: oc.Operation, DisableIntrospection: oc.DisableIntrospection, RecoverFunc: oc.RecoverFunc,
		ResolverMiddleware: oc.ResolverMiddleware, RootResolverMiddleware: oc.RootResolverMiddleware}
	ctx = graphql.WithOperationContext(x.o.Nobody(ctx), mine)
	if x.o.Prepare(ctx, mine) != nil {
		return nil
	}
	return newPlayer(ctx, run, &play{tape: t, shared: true})
}

// InterceptField notes that a class's execution came by a resolver that may
// answer each viewer otherwise.
func (x *Sharing) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	if p := playing(ctx); p != nil && p.shared {
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
	variables string
}

func keyOf(oc *graphql.OperationContext) (shapeKey, bool) {
	vars, err := json.Marshal(oc.Variables) // keys sorted
	return shapeKey{oc.Doc, oc.Operation, string(vars)}, err == nil
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
	s.members++
	return s
}

func (x *Sharing) exit(s *shape) {
	x.mu.Lock()
	s.members--
	last := s.members == 0
	if last && x.shapes[s.key] == s {
		delete(x.shapes, s.key)
	}
	x.mu.Unlock()
	if last {
		s.end()
	}
}

// member is one viewer's subscription.
type member struct {
	x           *Sharing
	src         Source
	shape       *shape
	own, shared func() *player // to be called after its operation has begun
	alone       *player        // executes what is this viewer's alone
	queue       []Piece
	over        bool

	once sync.Once
}

func (m *member) leave() {
	m.once.Do(func() {
		m.src.Close()
		m.x.exit(m.shape)
	})
}

// respond is what comes next; nil: the end.
func (m *member) respond(ctx context.Context) *graphql.Response {
	for len(m.queue) == 0 {
		if m.over || ctx.Err() != nil {
			return nil
		}
		var err error
		if m.queue, err = m.src.Next(ctx); err == nil {
			continue
		}
		m.over = true
		if ctx.Err() != nil {
			return nil
		}
		return &graphql.Response{Errors: gqlerror.List{m.x.o.Present(ctx, err)}}
	}
	p := m.queue[0]
	m.queue = m.queue[1:]
	if p.Class != nil {
		if data, ok := m.shape.bytes(p, m.shared); ok {
			return &graphql.Response{Data: fill(data, p)}
		}
	}
	if m.alone == nil {
		m.alone = m.own()
	}
	r := m.alone.play(p.Value)
	if r == nil {
		m.over = true
		return nil
	}
	r.Data = fill(r.Data, p)
	return r
}

// fill puts into the holes what is the viewer's.
func fill(data []byte, p Piece) []byte {
	if p.Fill == nil || !bytes.Contains(data, []byte(Hole)) {
		return data
	}
	return bytes.ReplaceAll(data, []byte(Hole), []byte(p.Fill()))
}
