package limit

import (
	"context"
	"errors"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// spread counts a selection as somebody would on paper, each spread again; as far
// as most.
type spread struct {
	doc                    *ast.QueryDocument
	fields, aliases, depth int
	most                   int
}

func (s *spread) count(set ast.SelectionSet, depth int) {
	for _, sel := range set {
		if s.fields > s.most {
			return
		}
		switch x := sel.(type) {
		case *ast.Field:
			s.fields, s.depth = s.fields+1, max(s.depth, depth)
			if x.Alias != x.Name {
				s.aliases++
			}
			s.count(x.SelectionSet, depth+1)
		case *ast.InlineFragment:
			s.count(x.SelectionSet, depth)
		case *ast.FragmentSpread:
			s.count(s.doc.Fragments.ForName(x.Name).SelectionSet, depth)
		}
	}
}

// FuzzDocument: whatever document is let in has, counted on paper, no more of
// anything than it may; what it costs is what its root fields cost; what is kept of
// documents is bounded; and a refusal is the client's.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{"{a}", "{ x: a y: a @skip(if: true) }", "query($v: Int = 1) { a(x: $v) b { ...f } } fragment f on Query { b { a } ...g } fragment g on Query { c { a } }",
		"subscription { s }", "subscription { ...on Subscription @include(if: false) { s } }", chain(30), deep(25), "{ a(x: 99999999999999999999) }", "{ ...f @defer } fragment f on Query { a }",
		"{" + repeat(31, "x#:a ") + "}", "{ b { b { " + repeat(40, "x#:a ") + "} } }", "query($x: Boolean) { a @skip(if: $x) }", "{ ...f } fragment f on Query { ...f }", `{ a(x: "\ud800") }`, "{ a # \n }", "query A { a } query B { b { a } }"} {
		f.Add(s, "")
		f.Add(s, "A")
	}
	const most = 4096
	size := Size{Depth: 5, Roots: 10, Aliases: 20}
	points := 0
	cache := NewCache(3*most, func(key, v string) int { return len(key) + len(v) })
	e := newExecutor(Length{most}, Persisted{cache}.Find(), size, &Values{}, &Cost{
		Weigh:    func(string, map[string]any) Weight { points++; return Weight{IDs: 1} },
		Caps:     Caps{IDs: 7, Rooms: 1, Messages: 1},
		Accounts: func(context.Context) []Account { return nil },
	}, Persisted{cache}.Keep())
	f.Fuzz(func(t *testing.T, text, name string) {
		points = 0
		ctx := graphql.StartOperationTrace(t.Context())
		oc, errs := e.CreateOperationContext(ctx, &graphql.RawParams{Query: text, OperationName: name,
			Extensions: map[string]any{"persistedQuery": map[string]any{"version": 1.0, "sha256Hash": digest(text)}}})
		if cache.Bytes() > 3*most {
			t.Fatalf("%d bytes are kept", cache.Bytes())
		}
		for _, err := range errs {
			if x, ok := errors.AsType[*fault.Error](err); ok && x.Code != fault.Invalid && x.Code != fault.Unsupported {
				t.Fatalf("%q: %v", text, err)
			}
		}
		if len(errs) > 0 {
			return
		}
		s := spread{doc: oc.Doc, most: mostFields}
		s.count(oc.Operation.SelectionSet, 1)
		if len(text) > most || s.fields > mostFields || s.aliases > size.Aliases || s.depth > size.Depth || points > 7 {
			t.Fatalf("%q is let in with %d fields, %d aliases, %d deep, %d weighed", text, s.fields, s.aliases, s.depth, points)
		}
	})
}
