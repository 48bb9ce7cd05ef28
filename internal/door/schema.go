package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// merged is what a caller sees of Hasura with our subscriptions added, and what
// of ours cannot be added.
func (d *Door) merged(ctx context.Context, h http.Header) (*ast.Schema, []string, error) {
	body, err := json.Marshal(map[string]string{"query": introspection, "operationName": "IntrospectionQuery"})
	if err != nil {
		return nil, nil, err
	}
	status, answer, err := d.ask(ctx, h, body, schemaBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("asking Hasura for its schema: %w", err)
	}
	var said struct {
		Data struct {
			Schema *shown `json:"__schema"`
		} `json:"data"`
		Errors json.RawMessage `json:"errors"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return nil, nil, fmt.Errorf("reading Hasura's schema: %w", err)
	}
	switch is := said.Data.Schema; {
	case said.Errors != nil:
		return nil, nil, &refusal{status, answer}
	case is == nil || is.QueryType == nil:
		return nil, nil, errors.New("Hasura answers an introspection with no schema")
	default:
		return merge(is, d.o.Schema)
	}
}

// Conflicts are the subscriptions of ours that cannot be shown in Hasura's
// schema as these headers see it, and why. Errors: ErrHidden among them.
func (d *Door) Conflicts(ctx context.Context, h http.Header) ([]string, error) {
	_, conflicts, err := d.merged(ctx, h)
	return conflicts, err
}

// merge adds our subscriptions, and the types they need, to Hasura's schema. Of
// types that both have Hasura's is kept, if it is ours or a part of it: that is
// how a role sees a remote schema.
func merge(theirs *shown, own *ast.Schema) (*ast.Schema, []string, error) {
	defs := theirs.definitions()
	has := map[string]*ast.Definition{}
	for _, def := range defs {
		has[def.Name] = def
	}
	root := "subscription_root"
	if theirs.SubscriptionType != nil {
		root = theirs.SubscriptionType.Name
	}
	sub := has[root]
	if sub == nil {
		sub = &ast.Definition{Kind: ast.Object, Name: root}
		defs = append(defs, sub)
	}
	var conflicts []string
	added := map[string]bool{}
	for _, f := range own.Subscription.Fields {
		needs := reach(own, f, has)
		if at := slices.IndexFunc(needs, func(name string) bool { return has[name] != nil && !partOf(has[name], own.Types[name]) }); at >= 0 {
			conflicts = append(conflicts, fmt.Sprintf("subscription %s is not shown: Hasura has another type %s", f.Name, needs[at]))
			continue
		}
		if at := slices.IndexFunc(sub.Fields, func(x *ast.FieldDefinition) bool { return x.Name == f.Name }); at >= 0 {
			if sub.Fields[at].Type.String() != f.Type.String() {
				conflicts = append(conflicts, fmt.Sprintf("Hasura's subscription %s is not reached: this server has one of that name", f.Name))
			}
			sub.Fields = slices.Delete(sub.Fields, at, at+1)
		}
		sub.Fields = append(sub.Fields, f)
		for _, name := range needs {
			if has[name] == nil && !added[name] {
				added[name] = true
				defs = append(defs, own.Types[name])
			}
		}
	}
	if len(sub.Fields) == 0 {
		defs = slices.DeleteFunc(defs, func(d *ast.Definition) bool { return d == sub })
	}
	text := sdl(defs, theirs.Directives, theirs.root(root, len(sub.Fields) > 0))
	merged, err := gqlparser.LoadSchema(&ast.Source{Name: "merged", Input: text})
	if err != nil {
		return nil, conflicts, fmt.Errorf("the schema of both: %w", err)
	}
	return merged, conflicts, nil
}

// reach are the types a field needs, but for those that every schema has; of what
// Hasura has it goes no further.
func reach(s *ast.Schema, f *ast.FieldDefinition, has map[string]*ast.Definition) (names []string) {
	var walk func(name string)
	walk = func(name string) {
		def := s.Types[name]
		if def == nil || def.BuiltIn || slices.Contains(names, name) {
			return
		}
		names = append(names, name)
		if has[name] != nil {
			return
		}
		for _, f := range def.Fields {
			walk(f.Type.Name())
			for _, a := range f.Arguments {
				walk(a.Type.Name())
			}
		}
		for _, t := range append(slices.Clone(def.Types), def.Interfaces...) {
			walk(t)
		}
		for _, p := range s.PossibleTypes[name] {
			walk(p.Name)
		}
	}
	walk(f.Type.Name())
	for _, a := range f.Arguments {
		walk(a.Type.Name())
	}
	return names
}

// partOf says whether a type is one of ours, or what a role is shown of it.
func partOf(theirs, own *ast.Definition) bool {
	if own == nil || theirs.Kind != own.Kind {
		return false
	}
	for _, f := range theirs.Fields {
		is := own.Fields.ForName(f.Name)
		if is == nil || is.Type.String() != f.Type.String() {
			return false
		}
		for _, a := range f.Arguments {
			if arg := is.Arguments.ForName(a.Name); arg == nil || arg.Type.String() != a.Type.String() {
				return false
			}
		}
	}
	for _, v := range theirs.EnumValues {
		if own.EnumValues.ForName(v.Name) == nil {
			return false
		}
	}
	return !slices.ContainsFunc(theirs.Types, func(name string) bool { return !slices.Contains(own.Types, name) })
}

// quoted is a text as GraphQL writes it.
func quoted(s string) string {
	b, err := json.Marshal(strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		return `""`
	}
	return string(b)
}
