package rolesdl_test

import (
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/graph"
	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/hasura/rolesdl"
)

// TestEachRuleOfHasuras: a change of what the role sees that Hasura would
// refuse is named.
func TestEachRuleOfHasuras(t *testing.T) {
	t.Parallel()
	s := graph.Stitched(generated.NewExecutableSchema(generated.Config{}).Schema())
	good := rolesdl.For(s)
	if wrong := rolesdl.Wrong(good, s); len(wrong) > 0 {
		t.Errorf("what is made is wrong: %q", wrong)
	}
	for what, c := range map[string]struct{ old, fresh, want string }{
		"a field that is none":    {"myPresence: MyPresence!", "mine: MyPresence!", "Query.mine does not exist"},
		"another type":            {"myPresence: MyPresence!", "myPresence: MyPresence", "is MyPresence!, not MyPresence"},
		"another argument's type": {"presence(userId: uuid!)", "presence(userId: uuid)", "is uuid!, not uuid"},
		"an argument missing":     {"presence(userId: uuid!)", "presence", "lacks userId"},
		"an argument too many":    {"presence(userId: uuid!)", "presence(userId: uuid!, x: Int)", "no argument x"},
		"a default":               {"contacts(first: Int", "contacts(first: Int = 5", "another default"},
		"a type that is none":     {"type PresenceCounts", "type Presences", "Presences does not exist"},
		"a type undeclared":       {"scalar jsonb", "", "jsonb is not declared"},
		"a value that is none":    {"server_wins", "server_looses", "server_looses is no value"},
		"another kind":            {"scalar timestamptz", "enum timestamptz { a }", "timestamptz is a ENUM"},
		"no query root":           {"query: Query", "", "no query root"},
		"a subscription root":     {"query: Query", "query: Query subscription: Query", "subscription root"},
		"a directive":             {"@preset(value: 0)", "@hidden", "@hidden"},
		"two of them":             {"@preset(value: 0)", "@preset(value: 0) @preset(value: 1)", "more than one"},
		"a preset list":           {"channelIds: [uuid!]", `channelIds: [uuid!] @preset(value: "x-hasura-ids")`, "no session variable"},
		"no SDL":                  {"type Query {", "type Query", "Unexpected"},
	} {
		if !strings.Contains(good, c.old) {
			t.Fatalf("%s: no %q in the SDL", what, c.old)
		}
		if wrong := strings.Join(rolesdl.Wrong(strings.Replace(good, c.old, c.fresh, 1), s), "\n"); !strings.Contains(wrong, c.want) {
			t.Errorf("%s: %q, want %q", what, wrong, c.want)
		}
	}
}
