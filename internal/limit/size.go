package limit

import (
	"cmp"
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/lexer"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// ParserTokens bounds the text of an operation before Size has counted it.
const ParserTokens = 15000

// What one operation may have. The first three are counted in its text, before
// it is parsed: validation compares every two fields of a name and every two
// fragments, so that some kilobytes of one field over and over would keep it
// busy for seconds. The others are counted with fragments spread.
const (
	mostTokens  = 4000
	mostRepeats = 250 // of one name
	mostSpreads = 150 // of fragments
	mostFields  = 2000
	mostAliases = 200 // anywhere; root fields have Size.Roots
	mostErrors  = 20  // said of one that is wrong; one document can have thousands
)

// Size is a gqlgen extension: an operation too long, too deep or too wide is
// refused, the long before it is parsed and the others before anything of them
// runs. Refusals are validation-failed faults that name the limit. What has
// @defer is refused too: it would be answered in pieces of which no transport
// sends more than the first.
type Size struct {
	Depth int // fields within fields
	Roots int // root fields, aliases included
	// Aliases are those anywhere; 0: mostAliases.
	Aliases int
	// Meta are aliases anywhere in an operation that asks for the schema, and what
	// it may ask for of it: each multiplies the whole schema, and no tool needs any.
	// 0: as any other operation.
	Meta int
}

var (
	_ graphql.HandlerExtension          = Size{}
	_ graphql.OperationParameterMutator = Size{}
	_ graphql.OperationContextMutator   = Size{}
	_ graphql.ResponseInterceptor       = Size{}
)

// ExtensionName is gqlgen's.
func (Size) ExtensionName() string { return "OperationSize" }

// Validate is gqlgen's.
func (Size) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters refuses what is too long to be worth parsing.
func (s Size) MutateOperationParameters(_ context.Context, p *graphql.RawParams) *gqlerror.Error {
	if len(p.Query) < 2*mostRepeats { // shorter than it takes
		return nil
	}
	repeats, tokens, spreads := map[string]int{}, 0, 0
	return tokensOf(p.Query, func(tok lexer.Token) *gqlerror.Error {
		tokens++
		if tok.Kind == lexer.Name {
			repeats[tok.Value]++
		}
		if tok.Kind == lexer.Spread {
			spreads++
		}
		switch {
		case tokens > mostTokens:
			return tooLarge("more than %d tokens in one operation", mostTokens)
		case repeats[tok.Value] > mostRepeats && tok.Kind == lexer.Name:
			return tooLarge("one name more than %d times in one operation", mostRepeats)
		case spreads > mostSpreads:
			return tooLarge("more than %d fragments in one operation", mostSpreads)
		}
		return nil
	})
}

// tokensOf hands the tokens of a document to f, until it refuses.
func tokensOf(document string, f func(lexer.Token) *gqlerror.Error) *gqlerror.Error {
	lex := lexer.New(&ast.Source{Input: document})
	for {
		tok, err := lex.ReadToken()
		if err != nil || tok.Kind == lexer.EOF {
			return nil //nolint:nilerr // what is wrong with it, the parser says
		}
		if wrong := f(tok); wrong != nil {
			return wrong
		}
	}
}

// MutateOperationContext refuses what is too large. Nothing is mutated; it is
// where gqlgen asks before executing.
func (s Size) MutateOperationContext(_ context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	m := measurer{doc: oc.Doc, done: map[string]size{}}
	total := m.of(oc.Operation.SelectionSet)
	roots := m.roots(oc.Operation.SelectionSet, map[string]int{})
	switch {
	case total.deferred:
		return refusal(fault.New(fault.Unsupported, "@defer is not served: answers come whole"))
	case roots > s.Roots:
		return tooLarge("more than %d root fields in one operation", s.Roots)
	case total.fields > mostFields:
		return tooLarge("more than %d fields in one operation", mostFields)
	case s.Meta > 0 && total.meta > 0 && (total.aliases > s.Meta || total.meta > s.Meta):
		return tooLarge("more than %d aliases in an operation that asks for the schema", s.Meta)
	case total.aliases > cmp.Or(s.Aliases, mostAliases):
		return tooLarge("more than %d aliases in one operation", cmp.Or(s.Aliases, mostAliases))
	case total.depth > s.Depth:
		return tooLarge("fields nested deeper than %d", s.Depth)
	}
	return nil
}

// InterceptResponse shortens what is said of an operation that was not executed.
func (s Size) InterceptResponse(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	r := next(ctx)
	if r == nil || len(r.Data) > 0 || len(r.Errors) <= mostErrors {
		return r
	}
	rest := len(r.Errors) - mostErrors
	r.Errors = append(r.Errors[:mostErrors:mostErrors], refusal(fault.New(fault.Invalid, "and %d errors more", rest)))
	return r
}

func tooLarge(format string, most int) *gqlerror.Error {
	return refusal(fault.New(fault.Invalid, format, most))
}

type size struct {
	fields, aliases, depth int
	meta                   int // of fields: __schema and __type
	deferred               bool
}

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
			if x.Alias != x.Name {
				s.aliases++
			}
			if x.Name == "__schema" || x.Name == "__type" {
				s.meta++
			}
		case *ast.InlineFragment:
			s = m.of(x.SelectionSet)
			s.deferred = s.deferred || x.Directives.ForName("defer") != nil
		case *ast.FragmentSpread:
			s = m.fragment(x.Name)
			s.deferred = s.deferred || x.Directives.ForName("defer") != nil
		}
		out.deferred = out.deferred || s.deferred
		// Sums stop at too many, or fragments within fragments overflow.
		out.fields = min(out.fields+s.fields, mostFields+1)
		out.aliases = min(out.aliases+s.aliases, mostAliases+1)
		out.meta = min(out.meta+s.meta, mostAliases+1)
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

// roots counts the fields of the operation's own level, fragments spread.
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
