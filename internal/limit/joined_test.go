package limit

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestJoined: thousands of root fields are let in, and each is held to what an
// operation may have, before it is parsed and with its fragments spread.
func TestJoined(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query string
		want  string // the refusal; "" is none
	}{
		"thousands":                       {"{" + repeat(5000, "f#:b{a c{a}} ") + "}", ""},
		"thousands, with arguments":       {`query q {` + repeat(5000, "f#:c @include(if: true) {a(x: 1)} ") + "}", ""},
		"one after another":               {"query x {b{a}}" + repeat(300, " query q# {b{a}}"), ""},
		"thousands of aliases in one":     {"{b{" + repeat(5000, "x#:a ") + "}}", "one name more than 250 times in one root field"},
		"of names nobody knows":           {"{b{" + repeat(5000, "x#:z# ") + "}}", "more than 4000 tokens in one root field"},
		"and in the last of many":         {"{" + repeat(1000, "f#:b{a} ") + "b{" + repeat(300, "x#:a ") + "}}", "one name more than 250 times in one root field"},
		"under one name":                  {"{" + strings.Repeat("b{a} ", 300) + "}", "one name more than 250 times"},
		"without anything selected":       {"{" + repeat(300, "x#:a ") + "}", "one name more than 250 times"},
		"aliases by a fragment":           {"{b{" + repeat(3, "y#:b{...f} ") + "}} fragment f on Query {" + repeat(100, "x#:a ") + "}", "more than 200 aliases in one root field"},
		"a fragment for each":             {"{" + repeat(2000, "f#:b{...f} ") + "} fragment f on Query {a b{a}}", ""},
		"all fields together":             {"{" + repeat(900, "f#:b{...f} ") + "} fragment f on Query {" + strings.Repeat("a b{a} ", 100) + "}", "more than 200000 fields in one operation"},
		"a fragment as large as a join":   {"{b{...f}} fragment f on Query {" + repeat(300, "x#:b{a} ") + "}", "one name more than 250 times"},
		"one called as an operation is":   {"{b{...query}} fragment query on Query {" + repeat(300, "x#:b{a} ") + "}", "one name more than 250 times"},
		"fields by fragments":             {"{b{" + strings.Repeat("b{...f}", 20) + "}} fragment f on Query {" + strings.Repeat("a b{a} ", 50) + "}", "more than 2000 fields in one root field"},
		"many fragments in one":           {"{b{" + repeat(151, "...f# ") + "}}", "more than 150 fragments in one root field"},
		"a value's braces are no field's": {"{b(x: " + strings.Repeat("{b: ", 2000) + "1" + strings.Repeat("}", 2000) + ") {a}}", "one name more than 250 times"},
		"too deep":                        {deep(21), "nested deeper than 20"},
		"deferred":                        {"{b{... @defer {a}}}", "@defer is not served"},
		"more tokens than a join has":     {"{" + strings.Repeat("f:b{x:a y:a z:a}", 250) + repeat(23000, "f#:b{x:a y:a z:a}") + "}", "more than 300000 tokens"},
	} {
		exec := newExecutor(Joined{Depth: 20, Free: 1 << 30, Each: 1})
		exec.SetParserTokenLimit(JoinedTokens)
		_, errs := exec.CreateOperationContext(graphql.StartOperationTrace(t.Context()), &graphql.RawParams{Query: c.query, OperationName: map[bool]string{true: "x"}[strings.HasPrefix(c.query, "query x")]})
		got := ""
		for _, e := range errs {
			got = e.Message
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestALongDocumentIsPaidFor before it is looked at, by its bytes past those that are free.
func TestALongDocumentIsPaidFor(t *testing.T) {
	t.Parallel()
	var paid []int
	exec := newExecutor(Joined{Depth: 20, Free: 100, Each: 10, Pay: func(_ context.Context, points int) *fault.Error {
		if paid = append(paid, points); points > 5 {
			return fault.Later(fault.RateLimited, time.Second, "too much")
		}
		return nil
	}})
	for n, want := range map[int]bool{100: true, 101: true, 150: true, 151: false} {
		query := "{a}" + strings.Repeat(" ", n-3)
		if _, errs := exec.CreateOperationContext(graphql.StartOperationTrace(t.Context()), &graphql.RawParams{Query: query}); (len(errs) == 0) != want {
			t.Errorf("%d bytes: %v", n, errs)
		}
	}
	sum := 0
	for _, n := range paid {
		sum += n
	}
	if len(paid) != 3 || sum != 1+5+6 {
		t.Errorf("paid are %v", paid)
	}
}
