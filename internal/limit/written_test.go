package limit

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// TestWhateverCanBeManyCounts: each kind of leaf that the contract has, alone and
// in lists, counts at least what is written of it, and not much more.
func TestWhateverCanBeManyCounts(t *testing.T) {
	t.Parallel()
	type status string
	id, at, text := uuid.New(), time.Date(2026, 1, 31, 12, 0, 0, 123456000, time.UTC), strings.Repeat("a\"\\\n\t\x01é", 100)
	ids := make([]uuid.UUID, 1000)
	of := map[string][]any{
		"String": {text, &text, "", (*string)(nil)}, "ID": {text}, "Int": {7, -2147483648, new(int)}, "Boolean": {true, false},
		"uuid": {id, &id, (*uuid.UUID)(nil)}, "timestamptz": {at, &at, (*time.Time)(nil)}, "jsonb": {json.RawMessage(`{"a":"b"}`), json.RawMessage(nil)},
		"[uuid]": {ids, ids[:1], []uuid.UUID{}, []uuid.UUID(nil), []*uuid.UUID{&id, &id}},
		"enum":   {status("a-long-word-for-some-kind-of-thing")},
		// No field has these by now.
		"others": {[]string{text, text, ""}, []*string{&text}, []int{-2147483648, 1}, []time.Time{at, at}, []*time.Time{&at}, []json.RawMessage{[]byte(`{"a":1}`)},
			[]status{"online", "busy"}, [][]uuid.UUID{ids, ids}, []bool{true, false}},
	}
	for kind, values := range of {
		for _, v := range values {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			const around = len(`"":,`)
			list, least := 1, around+len(b)
			if strings.Contains(kind, "[") || kind == "others" {
				list = 10
			}
			if got := fieldBytes + valueBytes(v); got < least || got > least+list*2*fieldBytes {
				t.Errorf("%s: %T counts as %d, and takes %d: %.60s", kind, v, got, least, b)
			}
		}
	}
	for _, kind := range leaves(t) {
		if len(of[kind]) == 0 {
			t.Errorf("the contract answers %s, of which this test has none", kind)
		}
	}
}

// leaves are the kinds of leaves that the contract's fields have.
func leaves(t *testing.T) (out []string) {
	t.Helper()
	files, err := filepath.Glob("../../schema/*.graphqls")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var sources []*ast.Source
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, &ast.Source{Name: name, Input: string(b)})
	}
	schema := gqlparser.MustLoadSchema(sources...)
	for _, def := range schema.Types {
		if def.Kind != ast.Object || def.BuiltIn {
			continue
		}
		for _, f := range def.Fields {
			leaf := schema.Types[f.Type.Name()]
			name := leaf.Name
			if leaf.Kind != ast.Scalar && leaf.Kind != ast.Enum {
				continue
			}
			if leaf.Kind == ast.Enum {
				name = "enum"
			}
			if f.Type.Elem != nil {
				name = "[" + name + "]"
			}
			out = append(out, name)
		}
	}
	return out
}

// TestTypeNamesCount: __typename is written without asking, for each object, under
// each of its names once, in fragments too.
func TestTypeNamesCount(t *testing.T) {
	t.Parallel()
	schema := gqlparser.MustLoadSchema(&ast.Source{Input: `type Thing { n: Int } type Query { things: [Thing!]! thing: Thing }`})
	doc := gqlparser.MustLoadQueryWithRules(schema, `{
		things { a: __typename ...one ... on Thing { b: __typename c: __typename } a: __typename n }
		thing { n }
	} fragment one on Thing { d: __typename ...two ...two } fragment two on Thing { __typename }`, rules.NewDefaultRules())
	oc := &graphql.OperationContext{Operation: doc.Operations[0], Doc: doc}
	things, _ := doc.Operations[0].SelectionSet[0].(*ast.Field)
	thing, _ := doc.Operations[0].SelectionSet[1].(*ast.Field)
	const each = len(`"a":"Thing",`)
	for name, c := range map[string]struct {
		field *ast.Field
		v     any
		names int
	}{
		"a list": {things, make([]struct{}, 100), 100 * 5}, "one": {things, struct{}{}, 5}, "a pointer": {things, &struct{}{}, 5}, "none": {things, nil, 0},
		"an empty list": {things, []struct{}{}, 0}, "not asked": {thing, make([]struct{}, 100), 0},
	} {
		a := Answer{Bytes: 1 << 20}
		if err := a.MutateOperationContext(t.Context(), oc); err != nil {
			t.Fatal(err)
		}
		ctx := graphql.WithFieldContext(graphql.WithOperationContext(t.Context(), oc),
			&graphql.FieldContext{Field: graphql.CollectedField{Field: c.field, Selections: c.field.SelectionSet}})
		if _, err := a.InterceptField(ctx, func(context.Context) (any, error) { return c.v, nil }); err != nil {
			t.Fatal(err)
		}
		n := a.count(ctx)
		rest := int64(fieldBytes + len(c.field.Alias) + valueBytes(c.v))
		if got := n.Load() - rest; got < int64(c.names*each) || got > int64(c.names*(each+fieldBytes)) {
			t.Errorf("%s: %d bytes for %d names", name, got, c.names)
		}
	}
}
