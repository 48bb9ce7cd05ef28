package door

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// TestPlans: whose an operation is, and what a loss makes of it, by its root
// fields alone.
func TestPlans(t *testing.T) {
	t.Parallel()
	p := newPlanner(newSchema())
	for text, want := range map[string]plan{
		`subscription { ours }`:                                 {side: ours},
		`subscription { a: ours __typename }`:                   {side: ours},
		`subscription { ... { ours } }`:                         {side: ours},
		`subscription ($x: Boolean!) { ours @include(if: $x) }`: {side: ours},
		`subscription { ...a } fragment a on Subscription { ...b } fragment b on Subscription { ours }`: {side: ours, text: "-"},
		`subscription { ... on subscription_root { ours } }`:                                            {side: ours, text: "on Subscription"},
		`subscription { items { ours } }`:                                                               {kind: live},
		`subscription { __typename }`:                                                                   {kind: live},
		`subscription { items_stream(batch_size: 1, cursor: {initial_value: {id: 1}}) { id } }`:         {kind: stream},
		`subscription { s: renamed(cursor: $c, batch_size: $b) { id } }`:                                {kind: stream},
		`subscription { items(cursor: 1) { id } }`:                                                      {kind: live},
		`{ items { id } }`: {kind: query},
		`{ ours }`:         {kind: query},
		`mutation { x }`:   {kind: mutation},
		`mutation { refreshSession(token: "x") }`:                          {side: ours, kind: mutation},
		`mutation { heartbeat refreshSession(token: "x") }`:                {side: ours, kind: mutation},
		`mutation { heartbeat insert_items { id } }`:                       {kind: mutation},
		`{ __schema { queryType { name } } }`:                              {side: schema},
		`{ ...a } fragment a on query_root { __type(name: "x") { name } }`: {side: schema},
		`{ __schema { queryType { name } } items { id } }`:                 {kind: query},
		`{ __typename }`: {kind: query},
		`subscription { ...a } fragment a on X { ...a ours }`: {side: ours, text: "-"},
		`subscription { ...missing }`:                         {kind: live},
		`subscription {`:                                      {},
		``:                                                    {},
		`{ a } { b }`:                                         {},
	} {
		got := p.plan(text, "")
		if got.side != want.side || got.side == theirs && got.kind != want.kind || got.err != nil || (got.text == "") != (want.text == "") || want.text != "-" && !strings.Contains(got.text, want.text) {
			t.Errorf("%s: %+v", text, got)
		}
		if again := p.plan(text, ""); again.side != got.side || again.text != got.text {
			t.Errorf("%s: another plan the second time", text)
		}
	}
	for _, text := range []string{`subscription { ours items { id } }`, `subscription { items { id } ... on x { ours } }`, `subscription { ours @skip(if: true) items { id } }`, `subscription { ours __schema { queryType { name } } }`} {
		if got := p.plan(text, ""); got.err == nil || !strings.Contains(got.err.Error(), "two servers") {
			t.Errorf("%s: %+v", text, got)
		}
	}
	const two = `query A { items { ...i } } subscription B { ...s } fragment s on subscription_root { ours } fragment i on items { id }`
	if got := p.plan(two, "B"); got.side != ours || strings.Contains(got.text, "items") || !valid(got.text) {
		t.Errorf("%+v", got)
	}
	if got := p.plan(two, "A"); got.side != theirs || got.kind != query {
		t.Errorf("%+v", got)
	}
	if got := p.plan(two, "C"); got.side != theirs || got.err != nil {
		t.Errorf("%+v", got)
	}
	if got := p.plan("{ "+strings.Repeat("x ", plannedTokens)+"}", ""); got.err == nil {
		t.Error("without end")
	}
}

// TestALongDocumentIsPlanned: of as many fragments and spreads as a document may have,
// also where each spreads the next twice: what is reached is looked at once.
func TestALongDocumentIsPlanned(t *testing.T) {
	t.Parallel()
	const fragments, spreads = 3500, 12500
	var b strings.Builder
	b.WriteString("query Q { a } subscription S {")
	for range spreads {
		fmt.Fprintf(&b, "...f%d ", fragments-1)
	}
	b.WriteString("}fragment f0 on x{ours}")
	for i := range fragments - 1 {
		fmt.Fprintf(&b, "fragment f%d on x{...f%d ...f%d}", i+1, i, i)
	}
	got := newPlanner(newSchema()).make(b.String(), "S")
	if got.side != ours || strings.Count(got.text, "fragment ") != fragments {
		t.Fatalf("%v, %v, with %d fragments", got.side, got.err, strings.Count(got.text, "fragment "))
	}
}

func valid(text string) bool {
	_, errs := gqlparser.LoadQueryWithRules(newSchema(), text, rules.NewDefaultRules())
	return len(errs) == 0
}

// FuzzPlan: whatever a document is, it is planned, once and the same again; what
// our engine is given has only fields of ours at its root.
func FuzzPlan(f *testing.F) {
	for _, s := range []string{`subscription { ours }`, `subscription { ...a } fragment a on X { ...a ours }`, `{ a @x(y: "\"") }`, `query A { b } query C { d }`} {
		f.Add(s, "")
	}
	p := newPlanner(newSchema())
	f.Fuzz(func(t *testing.T, text, name string) {
		got := p.plan(text, name)
		if got.side == ours && got.text != "" {
			again := p.plan(got.text, "")
			if again.side != ours && name == "" {
				t.Fatalf("%q: %q is planned %+v", text, got.text, again)
			}
		}
	})
}

// TestSchemasOfBoth: our subscriptions are in Hasura's schema, under its name for
// the root; what is at odds is left out and named.
func TestSchemasOfBoth(t *testing.T) {
	t.Parallel()
	own := gqlparser.MustLoadSchema(&ast.Source{Input: `
scalar uuid
"A \"quoted\" thing"
enum Shade { light dark }
type Person { id: uuid! shade: Shade name: String @deprecated(reason: "old") }
type Message { id: uuid! }
input Which { ids: [uuid!]! = [] }
type Query { person: Person }
type Subscription { personChanged("which" which: Which = {ids: []}): Person! messageChanged: Message clash: Int }`})
	text := "x"
	theirs := &shown{QueryType: &shownRef{Name: "query_root"}, SubscriptionType: &shownRef{Name: "subscription_root"}, Types: []shownType{
		{Kind: "SCALAR", Name: "String"}, {Kind: "SCALAR", Name: "Int"}, {Kind: "SCALAR", Name: "uuid"}, {Kind: "OBJECT", Name: "__Type"},
		{Kind: "OBJECT", Name: "query_root", Fields: []shownField{{Name: "Message", Type: shownRef{Kind: "LIST", OfType: &shownRef{Kind: "OBJECT", Name: "Message"}}}, {Name: "person", Type: shownRef{Name: "Person"}, IsDeprecated: true, DeprecationReason: `not "so"`}}},
		{Kind: "OBJECT", Name: "Message", Fields: []shownField{{Name: "body", Type: shownRef{Name: "String"}}}},
		{Kind: "OBJECT", Name: "Person", Fields: []shownField{{Name: "id", Type: shownRef{Kind: "NON_NULL", OfType: &shownRef{Name: "uuid"}}}}},
		{Kind: "OBJECT", Name: "subscription_root", Fields: []shownField{{Name: "clash", Type: shownRef{Name: "String"}}, {Name: "items", Type: shownRef{Name: "String"},
			Args: []shownValue{{Name: "a", Type: shownRef{Name: "String"}, DefaultValue: &[]string{`"` + text + `"`}[0]}}}}},
	}, Directives: []shownDirective{{Name: "cached", Locations: []string{"QUERY"}, Args: []shownValue{{Name: "ttl", Type: shownRef{Name: "Int"}}}}, {Name: "include", Locations: []string{"FIELD"}}}}
	s, conflicts, err := merge(theirs, own)
	if err != nil {
		t.Fatal(err)
	}
	if len(conflicts) != 2 || !strings.Contains(conflicts[0]+conflicts[1], "messageChanged") || !strings.Contains(conflicts[0]+conflicts[1], "clash") {
		t.Error(conflicts)
	}
	sub := s.Subscription
	if sub.Name != "subscription_root" || sub.Fields.ForName("items") == nil || sub.Fields.ForName("personChanged") == nil || sub.Fields.ForName("messageChanged") != nil ||
		sub.Fields.ForName("clash").Type.String() != "Int" || s.Types["Which"] == nil || s.Types["Shade"] != nil || len(s.Types["Person"].Fields) != 1 {
		t.Errorf("%+v", sub.Fields)
	}
	if s.Query.Name != "query_root" || s.Directives["cached"] == nil || sub.Fields.ForName("items").Arguments[0].DefaultValue.Raw != "x" {
		t.Error("what is Hasura's is lost")
	}
	theirs.SubscriptionType, theirs.Types = nil, theirs.Types[:5]
	theirs.Types = append(theirs.Types, shownType{Kind: "OBJECT", Name: "Message", Fields: []shownField{{Name: "id", Type: shownRef{Kind: "NON_NULL", OfType: &shownRef{Name: "uuid"}}}}},
		shownType{Kind: "OBJECT", Name: "Person", Fields: []shownField{{Name: "id", Type: shownRef{Kind: "NON_NULL", OfType: &shownRef{Name: "uuid"}}}}})
	s, conflicts, err = merge(theirs, own)
	if err != nil || len(conflicts) > 0 || s.Subscription == nil || len(s.Subscription.Fields) != 3 {
		t.Errorf("%v %v", conflicts, err)
	}
}
