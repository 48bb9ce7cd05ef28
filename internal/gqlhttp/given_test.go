package gqlhttp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	validation "github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestWhatTheDatabaseDoesNotTakeIsNamed: by the caller's own values, shortened, and
// never by what the database has besides.
func TestWhatTheDatabaseDoesNotTakeIsNamed(t *testing.T) {
	t.Parallel()
	schema := gqlparser.MustLoadSchema(&ast.Source{Input: `input In { n: Int text: String more: [In!] } type Query { one(id: String): Query two(in: In, list: [String!], x: Int): Query none: Query }`})
	long := strings.Repeat("é", 100)
	for name, c := range map[string]struct {
		query, variables, said string
		deep                   bool // it failed in the field within, which has no arguments
		field, want            string
	}{
		"the only one":        {`query($x: String) { one(id: $x) { __typename } }`, `{"x": "a\u0007"}`, "broken", false, "id", `one has a value that the database does not take: id "a\a"`},
		"the one it names":    {`query($x: In) { two(in: $x, x: 7) { __typename } }`, `{"x": {"text": "infinity", "more": [{"n": 99}]}}`, `date out of range: "99" is not for "SECRET"`, false, "in.more[0].n", `two has a value that the database does not take: in.more[0].n "99"`},
		"several":             {`query($x: In) { two(in: $x, list: ["a", "b"], x: 7) { __typename } }`, `{"x": {"text": "t"}}`, `"SECRET"`, false, "", `two has a value that the database does not take: in.text "t", list[0] "a", list[1] "b", x "7"`},
		"more than are named": {`{ two(list: ["a", "b", "c", "d", "e", "f", "g"]) { __typename } }`, `{}`, "SECRET", false, "", `two has a value that the database does not take: list[0] "a", list[1] "b", list[2] "c", list[3] "d", list[4] "e" …`},
		"at length":           {`query($x: String) { one(id: $x) { __typename } }`, `{"x": "` + long + `"}`, "SECRET", false, "id", `one has a value that the database does not take: id "` + long[:80] + `"`},
		"of the field around": {`{ one(id: "outer") { none { __typename } } }`, `{}`, "SECRET", true, "id", `none has a value that the database does not take: id "outer"`},
		"null":                {`{ one(id: null) { __typename } }`, `{}`, "SECRET", false, "", `one has a value that the database does not take`},
		"no arguments":        {`{ none { __typename } }`, `{}`, `"SECRET"`, false, "", `none has a value that the database does not take`},
	} {
		oc := &graphql.OperationContext{}
		d := json.NewDecoder(strings.NewReader(c.variables))
		d.UseNumber()
		if err := d.Decode(&oc.Variables); err != nil {
			t.Fatal(err)
		}
		outer, ok := gqlparser.MustLoadQueryWithRules(schema, c.query, validation.NewDefaultRules()).Operations[0].SelectionSet[0].(*ast.Field)
		if !ok {
			t.Fatal(c.query)
		}
		ctx := graphql.WithFieldContext(graphql.WithOperationContext(t.Context(), oc), &graphql.FieldContext{Object: "Query", Field: graphql.CollectedField{Field: outer}})
		if c.deep {
			inner, _ := outer.SelectionSet[0].(*ast.Field)
			ctx = graphql.WithFieldContext(ctx, &graphql.FieldContext{Object: "Query", Field: graphql.CollectedField{Field: inner}})
		}
		var log logged
		got := Presenter(slog.New(slog.NewTextHandler(&log, nil)))(ctx, errors.Join(errors.New("reading"), &pgError{"22008", c.said}))
		if field, _ := got.Extensions["field"].(string); got.Message != c.want || field != c.field || got.Extensions["code"] != string(fault.Invalid) || got.Extensions["retryable"] != false {
			t.Errorf("%s: %q %v, want %q", name, got.Message, got.Extensions, c.want)
		}
		for _, value := range []string{"SECRET", "infinity", "outer", "é"} {
			if text := log.String(); strings.Contains(text, value) {
				t.Errorf("%s: the log has %q: %s", name, value, text)
			}
		}
	}
	if list := given(context.Background()); list != nil {
		t.Error("outside of a field:", list)
	}
}
