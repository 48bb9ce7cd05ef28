package limit

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/lexer"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// What a document of a join may have: each root field as much as any operation, and
// all of them together so much that thousands fit.
const (
	JoinedTokens = 300_000 // in all
	joinedFields = 200_000 // fragments spread
)

// Joined is a gqlgen extension for what Hasura makes of a join: a document may have
// thousands of root fields, but each is held to what Size lets a whole operation
// have, and what is longer than an ordinary document is paid for, both before it is
// parsed. Refusals are those of Size and of Cost.
type Joined struct {
	Depth int // fields within fields
	Free  int // bytes of a document that cost nothing
	Each  int // bytes beyond them that cost a point, once begun
	Pay   func(ctx context.Context, points int) *fault.Error
}

var (
	_ graphql.HandlerExtension          = Joined{}
	_ graphql.OperationParameterMutator = Joined{}
	_ graphql.OperationContextMutator   = Joined{}
	_ graphql.ResponseInterceptor       = Joined{}
)

// ExtensionName is gqlgen's.
func (Joined) ExtensionName() string { return "JoinSize" }

// Validate is gqlgen's.
func (Joined) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters refuses what is not worth parsing, or not paid for.
func (j Joined) MutateOperationParameters(ctx context.Context, p *graphql.RawParams) *gqlerror.Error {
	if more := len(p.Query) - j.Free; more > 0 {
		if f := j.Pay(ctx, (more+j.Each-1)/j.Each); f != nil {
			return refusal(f)
		}
	}
	if len(p.Query) < 2*mostRepeats {
		return nil
	}
	s := scan{names: map[string]int{}, keys: map[string]int{}, head: true}
	return tokensOf(p.Query, s.take)
}

// scan counts the tokens of a document by its root fields. Those of a fragment count
// as one's, all together.
type scan struct {
	tokens   int
	keys     map[string]int // names that root fields are answered under
	here     int            // tokens of the root field at hand
	names    map[string]int // of it
	spreads  int            // in it
	before   lexer.Type     // the token before
	braces   int
	parens   int
	head     bool // a definition begins
	fragment bool // in one of a fragment
}

func (s *scan) take(tok lexer.Token) *gqlerror.Error {
	s.tokens++
	s.here++
	switch tok.Kind { //nolint:exhaustive // the rest is only counted
	case lexer.ParenL:
		s.parens++
	case lexer.ParenR:
		s.parens--
	case lexer.BraceL:
		if s.parens == 0 { // else it is a value's
			s.braces++
		}
	case lexer.BraceR:
		if s.parens == 0 {
			s.braces--
			s.closed()
		}
	case lexer.Spread:
		s.spreads++
	case lexer.Name:
		if s.head {
			s.head, s.fragment = false, tok.Value == "fragment"
		}
		if s.braces == 1 && s.parens == 0 && !s.fragment && s.before != lexer.Colon && s.before != lexer.At {
			s.keys[tok.Value]++
		}
		s.names[tok.Value]++
	}
	s.before = tok.Kind
	switch {
	case s.tokens > JoinedTokens:
		return tooLarge("more than %d tokens in one operation", JoinedTokens)
	case s.here > mostTokens:
		return tooLarge("more than %d tokens in one root field", mostTokens)
	case s.spreads > mostSpreads:
		return tooLarge("more than %d fragments in one root field", mostSpreads)
	case tok.Kind == lexer.Name && (s.names[tok.Value] > mostRepeats || s.keys[tok.Value] > mostRepeats):
		return tooLarge("one name more than %d times in one root field, or for so many of them", mostRepeats)
	}
	return nil
}

// closed is the end of a definition, or of a root field with what is selected of it.
func (s *scan) closed() {
	if s.braces <= 0 {
		s.head, s.fragment = true, false
		clear(s.keys)
	}
	if s.braces <= 0 || s.braces == 1 && !s.fragment {
		s.here, s.spreads = 0, 0
		clear(s.names)
	}
}

// MutateOperationContext refuses root fields that are too large, fragments spread.
func (j Joined) MutateOperationContext(_ context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	m := measurer{doc: oc.Doc, done: map[string]size{}}
	all := 0
	for _, sel := range oc.Operation.SelectionSet { // what is spread at the root is one
		s := m.of(ast.SelectionSet{sel})
		all += s.fields
		switch {
		case s.deferred:
			return refusal(fault.New(fault.Unsupported, "@defer is not served: answers come whole"))
		case s.fields > mostFields:
			return tooLarge("more than %d fields in one root field", mostFields)
		case s.aliases > mostAliases:
			return tooLarge("more than %d aliases in one root field", mostAliases)
		case s.depth > j.Depth:
			return tooLarge("fields nested deeper than %d", j.Depth)
		case all > joinedFields:
			return tooLarge("more than %d fields in one operation", joinedFields)
		}
	}
	return nil
}

// InterceptResponse is Size's.
func (Joined) InterceptResponse(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	return Size{}.InterceptResponse(ctx, next)
}
