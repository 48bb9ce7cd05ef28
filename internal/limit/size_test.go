package limit

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// schema is the smallest there is to ask.
type schema struct{ s *ast.Schema }

func (s schema) Schema() *ast.Schema { return s.s }
func (schema) Complexity(context.Context, string, string, int, map[string]any) (int, bool) {
	return 0, false
}
func (schema) Exec(context.Context) graphql.ResponseHandler {
	return graphql.OneShot(&graphql.Response{Data: []byte("{}")})
}

func newExecutor(x ...graphql.HandlerExtension) *executor.Executor {
	e := executor.New(schema{gqlparser.MustLoadSchema(&ast.Source{Input: `
		type Query { a(x: Int): String b: Query c: Query }
		type Subscription { s: String }`})})
	e.SetParserTokenLimit(ParserTokens)
	for _, one := range x {
		e.Use(one)
	}
	return e
}

func repeat(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "#", fmt.Sprint(i)))
	}
	return b.String()
}

// deep is n fields within one another.
func deep(n int) string { return strings.Repeat("{b", n-1) + "{a}" + strings.Repeat("}", n-1) }

// chain is fragments that each spread the next twice: two to the n fields.
func chain(n int) string {
	var b strings.Builder
	b.WriteString("{...f0}")
	for i := range n {
		fmt.Fprintf(&b, " fragment f%d on Query { ...f%d ...f%d }", i, i+1, i+1)
	}
	fmt.Fprintf(&b, " fragment f%d on Query { a }", n)
	return b.String()
}

func TestSize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query string
		want  string // the refusal; "" is none
	}{
		"small":                            {"{a}", ""},
		"root fields at the limit":         {"{" + repeat(30, "x#:a ") + "}", ""},
		"root fields beyond":               {"{" + repeat(31, "x#:a ") + "}", "more than 30 root fields"},
		"a thousand aliases":               {"{" + repeat(1000, "x#:a ") + "}", "one name more than 250 times"},
		"aliases within":                   {"{b{" + repeat(201, "x#:a ") + "}}", "more than 200 aliases"},
		"aliases within, at the limit":     {"{b{" + repeat(200, "x#:a ") + "}}", ""},
		"root fields hidden in a fragment": {"{...f} fragment f on Query {" + repeat(31, "x#:a ") + "}", "more than 30 root fields"},
		"and in several":                   {"{" + repeat(4, "...f# ") + "}" + repeat(4, " fragment f# on Query {"+repeat(8, "x#_:a ")+"}"), "more than 30 root fields"},
		"and inline":                       {"{ ... on Query {" + repeat(31, "x#:a ") + "}}", "more than 30 root fields"},
		"aliases by a fragment":            {"{" + repeat(3, "y#:b{...f} ") + "} fragment f on Query {" + repeat(100, "x#:a ") + "}", "more than 200 aliases"},
		"depth at the limit":               {deep(20), ""},
		"too deep":                         {deep(21), "nested deeper than 20"},
		"deep by fragments":                {"{b{...f}} fragment f on Query {b{...g}} fragment g on Query " + deep(19), "nested deeper than 20"},
		"fields by fragments":              {"{b{" + strings.Repeat("b{...f}", 20) + "}} fragment f on Query {" + strings.Repeat("a b{a} ", 50) + "}", "more than 2000 fields"},
		"fragments doubling":               {chain(40), "more than 30 root fields"},
		"fragments doubling, within":       {"{b{...f0}}" + strings.TrimPrefix(chain(40), "{...f0}"), "more than 2000 fields"},
		"one field over and over":          {"{" + strings.Repeat("a ", 14000) + "}", "one name more than 250 times"},
		"an unknown one over and over":     {"{" + strings.Repeat("zz ", 14000) + "}", "one name more than 250 times"},
		"more tokens":                      {"{" + repeat(1500, "x#:z# ") + "}", "more than 4000 tokens"},
		"more than anybody's tokens":       {"{" + strings.Repeat("!", 20000) + "}", "more than 4000 tokens"},
		"many fragments":                   {"{" + repeat(151, "...f# ") + "}" + repeat(100, "fragment f# on Query { x#:a }"), "more than 150 fragments"},
		"a name in a text does not count":  {`{a @skip(if: true) # ` + strings.Repeat("a ", 1000) + "\n}", ""},
		"no GraphQL is not measured":       {strings.Repeat("\x00", 1000), ""},
		"the schema asked of itself":       {introspection, ""},
		"the schema, three times":          {"{x: __schema{types{name}} y: __schema{types{name}} z: __schema{types{name}}}", "more than 2 aliases in an operation that asks for the schema"},
		"the schema, multiplied":           {"{b{b{...f}}} fragment f on Query {__schema{types{" + repeat(3, "x#: fields{name} ") + "}}}", "more than 2 aliases in an operation that asks for the schema"},
		"types of it, in fragments":        {"{" + repeat(3, "...f# ") + "}" + repeat(3, `fragment f# on Query { __type(name: "Query"){name} }`), "more than 2 aliases in an operation that asks for the schema"},
		"deferred inline":                  {"{b{... @defer {a}}}", "@defer is not served"},
		"deferred by a fragment":           {"{b{...f}} fragment f on Query {b{...g @defer}} fragment g on Query {a}", "@defer is not served"},
	} {
		exec := newExecutor(Size{Depth: 20, Roots: 30, Meta: 2})
		_, errs := exec.CreateOperationContext(graphql.StartOperationTrace(t.Context()), &graphql.RawParams{Query: c.query})
		got := ""
		for _, e := range errs {
			if f := fault.From(e); f.Code == fault.Invalid || f.Code == fault.Unsupported {
				got = f.Message
			}
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestErrorsAreShortened(t *testing.T) {
	t.Parallel()
	exec := newExecutor(Size{Depth: 20, Roots: 30})
	for n, want := range map[int]int{1: 1, 20: 20, 21: 21, 500: 21} {
		ctx := graphql.StartOperationTrace(t.Context())
		oc, errs := exec.CreateOperationContext(ctx, &graphql.RawParams{Query: "{" + repeat(n, "z# ") + "}"})
		if len(errs) != n {
			t.Fatalf("%d unknown fields give %d errors", n, len(errs))
		}
		got := exec.DispatchError(graphql.WithOperationContext(ctx, oc), errs).Errors
		if len(got) != want {
			t.Errorf("%d errors are shown as %d", n, len(got))
		}
		if last := got[len(got)-1].Message; n > 20 && last != fmt.Sprintf("and %d errors more", n-20) {
			t.Errorf("the last of %d says %q", n, last)
		}
	}
}

// Whatever comes in is measured without validation having refused it first: a
// cycle ends, and numbers do not run over.
func TestMeasuringEnds(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"itself":         "{b{...f}} fragment f on Query { a b{...f} }",
		"each other":     "{...f ...g} fragment f on Query { ...g b{...g} } fragment g on Query { ...f x:a }",
		"nowhere":        "{...gone}",
		"far":            "{b{...f0}}" + strings.TrimPrefix(chain(700), "{...f0}"),
		"far, as a root": chain(700),
	} {
		doc, err := parser.ParseQuery(&ast.Source{Input: query})
		if err != nil {
			t.Fatal(name, err)
		}
		m := measurer{doc: doc, done: map[string]size{}}
		s, roots := m.of(doc.Operations[0].SelectionSet), m.roots(doc.Operations[0].SelectionSet, map[string]int{})
		if s.fields < 0 || s.fields > mostFields+1 || s.aliases > mostAliases+1 || s.depth > 10 || roots < 0 || roots > mostFields+1 {
			t.Errorf("%s: %+v, %d roots", name, s, roots)
		}
	}
}

// introspection is what tools and Hasura ask, as deep as they do.
const introspection = `query IntrospectionQuery { __schema { queryType { name } mutationType { name } subscriptionType { name }
	types { ...FullType } directives { name description locations args { ...InputValue } } } }
	fragment FullType on __Type { kind name description fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef }
	isDeprecated deprecationReason } inputFields { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated
	deprecationReason } possibleTypes { ...TypeRef } }
	fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
	fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
	ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }`
