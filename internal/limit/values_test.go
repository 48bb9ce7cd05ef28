package limit

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

func TestValuesTheLibrariesLetThrough(t *testing.T) {
	t.Parallel()
	e := executor.New(schema{gqlparser.MustLoadSchema(&ast.Source{Input: `
		enum Colour { red green }
		scalar any
		input Paint { x: any f: Float colour: Colour more: [Paint!] colours: [[Colour!]!] n: Int }
		type Query { a(x: any, c: Colour, l: [Colour!], p: Paint): String b: Query }
		type Subscription { s: String t: String }`})})
	e.Use(&Values{})
	const colour, list, paint = `query($c: Colour) { a(c: $c) }`, `query($c: [Colour!]) { a(l: $c) }`, `query($c: Paint) { a(p: $c) }`
	for _, c := range []struct{ query, variables, field string }{ // field "": it is let in
		{colour, `{"c": "red"}`, ""}, {colour, `{"c": null}`, ""}, {colour, `{}`, ""}, {`query($c: Colour = green) { a(c: $c) }`, `{}`, ""},
		{colour, `{"c": "RED"}`, "c"}, {colour, `{"c": "Red"}`, "c"}, {colour, `{"c": "rEd"}`, "c"}, {`query($c: Colour!) { a(c: $c) }`, `{"c": "RED"}`, "c"},
		{list, `{"c": ["red", "green"]}`, ""}, {list, `{"c": "red"}`, ""}, {list, `{"c": []}`, ""},
		{list, `{"c": ["red", "GREEN"]}`, "c[1]"}, {list, `{"c": "RED"}`, "c[0]"}, {`query($c: Colour!) { a(l: [$c]) }`, `{"c": "RED"}`, "c"},
		{paint, `{"c": {"colour": "red", "more": [{"colour": "green", "colours": [["red"]]}]}}`, ""},
		{paint, `{"c": {"colour": "Red"}}`, "c.colour"}, {paint, `{"c": {"more": [{}, {"colour": "GREEN"}]}}`, "c.more[1].colour"},
		{paint, `{"c": {"colours": [["red"], ["red", "GREEN"]]}}`, "c.colours[1][1]"}, {`query($c: Colour) { a(p: {colour: $c}) }`, `{"c": "RED"}`, "c"},
		{`{ a(p: {f: 1e400}) }`, `{}`, "-"}, {`{ a(p: {x: {n: [-1e400]}}) }`, `{}`, "-"}, {`{ b { a(x: 1e400) } }`, `{}`, "x"}, {`{ a(p: {n: 9223372036854775808}) }`, `{}`, "-"},
		{`{ ...f } fragment f on Query { a(x: -1e999) }`, `{}`, "x"}, {`{ a(p: {f: 1e308, x: 5e-324}) }`, `{}`, ""},
		{`query($f: Float = 1e400) { a(p: {f: $f}) }`, `{}`, "-"}, {`query($f: any = {n: 1e400}) { a(p: {x: $f}) }`, `{}`, "-"}, {`query($f: Float) { a(p: {f: $f}) }`, `{"f": 1e400}`, "-"},
		{`subscription { s }`, `{}`, ""}, {`subscription($x: Boolean!) { s @include(if: $x) }`, `{"x": true}`, ""},
		{`subscription($x: Boolean!) { s @include(if: $x) t @skip(if: $x) }`, `{"x": true}`, "-"}, // gqlparser lets a subscription have one field only
		{`subscription($x: Boolean!) { s @include(if: $x) }`, `{"x": false}`, "-"}, {`subscription { s @skip(if: true) }`, `{}`, "-"},
		{`subscription { ... @include(if: false) { s } }`, `{}`, "-"}, {`subscription { ...f @skip(if: true) } fragment f on Subscription { s }`, `{}`, "-"},
		{`subscription { a: s b: s }`, `{}`, "-"}, {`subscription { a: s ...f } fragment f on Subscription { t }`, `{}`, "-"}, {`subscription { s s }`, `{}`, ""},
		{`subscription { __typename }`, `{}`, "-"}, {`subscription { s __typename }`, `{}`, "-"}, {`subscription { x: __typename }`, `{}`, "-"},
		{`query($x: Boolean = true) { b { a @include(if: $x) } }`, `{"x": null}`, "x"}, {`query($x: Boolean = true) { b { ...f } } fragment f on Query { a @skip(if: $x) }`, `{"x": null}`, "x"},
		{`query($x: Boolean = true) { b { a @include(if: $x) } }`, `{}`, ""}, {`query($x: Boolean = true) { a @skip(if: $x) }`, `{}`, ""},
	} {
		var variables map[string]any
		d := json.NewDecoder(strings.NewReader(c.variables))
		d.UseNumber()
		if err := d.Decode(&variables); err != nil {
			t.Fatal(err)
		}
		ctx := graphql.StartOperationTrace(context.Background())
		_, errs := e.CreateOperationContext(ctx, &graphql.RawParams{Query: c.query, Variables: variables})
		if c.field == "" {
			if len(errs) > 0 {
				t.Errorf("%s %s: %v", c.query, c.variables, errs)
			}
			continue
		}
		if len(errs) == 0 || c.field != "-" && len(errs) > 1 {
			t.Errorf("%s %s: %d errors", c.query, c.variables, len(errs))
			continue
		}
		f, ok := errors.AsType[*fault.Error](errs[0])
		if c.field == "-" {
			if ok && f.Code != fault.Invalid {
				t.Errorf("%s %s: %v", c.query, c.variables, errs)
			}
			continue
		}
		if !ok || f.Code != fault.Invalid || f.Retryable || f.Field != c.field {
			t.Errorf("%s %s: %+v", c.query, c.variables, errs[0])
		}
	}
}
