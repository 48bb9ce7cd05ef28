package limit

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// ParserTokens bounds the text of an operation before it is parsed.
const ParserTokens = 15000

const mostFields = 2000 // fields in one operation, fragments spread

// Size is a gqlgen extension: an operation too deep or too wide is refused
// before anything of it runs.
type Size struct {
	Depth  int // fields within fields
	Roots  int // root fields, aliases included
	Exempt func(ctx context.Context) bool
}

var (
	_ graphql.HandlerExtension        = Size{}
	_ graphql.OperationContextMutator = Size{}
)

// ExtensionName is gqlgen's.
func (Size) ExtensionName() string { return "OperationSize" }

// Validate is gqlgen's.
func (Size) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationContext refuses what is too large. Nothing is mutated; it is
// where gqlgen asks before executing.
func (s Size) MutateOperationContext(ctx context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	if s.Exempt != nil && s.Exempt(ctx) {
		return nil
	}
	m := measurer{doc: oc.Doc, done: map[string]size{}}
	total := m.of(oc.Operation.SelectionSet)
	roots := m.roots(oc.Operation.SelectionSet, map[string]int{})
	switch {
	case roots > s.Roots:
		return tooLarge("more than %d root fields in one operation", s.Roots)
	case total.fields > mostFields:
		return tooLarge("more than %d fields in one operation", mostFields)
	case total.depth > s.Depth:
		return tooLarge("fields nested deeper than %d", s.Depth)
	}
	return nil
}

func tooLarge(format string, most int) *gqlerror.Error {
	f := fault.New(fault.Invalid, format, most)
	return &gqlerror.Error{Err: f, Message: f.Message, Extensions: f.Extensions()}
}

type size struct{ fields, depth int }

// measurer counts each fragment once, however often it is spread: a document
// cannot be made costly to measure. Validation has refused cycles by now; one
// that slipped through counts as empty.
type measurer struct {
	doc  *ast.QueryDocument
	done map[string]size
}

func (m measurer) of(set ast.SelectionSet) size {
	var out size
	for _, sel := range set {
		var s size
		switch x := sel.(type) {
		case *ast.Field:
			s = m.of(x.SelectionSet)
			s.fields, s.depth = s.fields+1, s.depth+1
		case *ast.InlineFragment:
			s = m.of(x.SelectionSet)
		case *ast.FragmentSpread:
			s = m.fragment(x.Name)
		}
		out.fields = min(out.fields+s.fields, mostFields+1)
		out.depth = max(out.depth, s.depth)
	}
	return out
}

func (m measurer) fragment(name string) size {
	if s, ok := m.done[name]; ok {
		return s
	}
	m.done[name] = size{}
	if f := m.doc.Fragments.ForName(name); f != nil {
		m.done[name] = m.of(f.SelectionSet)
	}
	return m.done[name]
}

func (m measurer) roots(set ast.SelectionSet, seen map[string]int) int {
	n := 0
	for _, sel := range set {
		switch x := sel.(type) {
		case *ast.Field:
			n++
		case *ast.InlineFragment:
			n += m.roots(x.SelectionSet, seen)
		case *ast.FragmentSpread:
			k, counted := seen[x.Name]
			if f := m.doc.Fragments.ForName(x.Name); f != nil && !counted {
				seen[x.Name] = 0
				k = m.roots(f.SelectionSet, seen)
				seen[x.Name] = k
			}
			n += k
		}
		n = min(n, mostFields+1)
	}
	return n
}
