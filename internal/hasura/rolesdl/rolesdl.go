// Package rolesdl makes the part of a schema that a Hasura role sees, and holds
// such a part to Hasura's own rules. The server does not use it: go test ./hasura
// -update writes the project with it, and tests check by it.
package rolesdl

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/parser"
)

// admins are root fields that a user role does not get.
var admins = []string{"revokeSessions"}

// presets are arguments that Hasura gives for a user role. A sync that waits
// would hold one of Hasura's own requests open; who wants to wait subscribes, or
// asks the server itself.
var presets = map[string]string{"sync.waitMs": "0"}

// For is what a user role sees of a schema, in the form Hasura takes.
func For(s *ast.Schema) string {
	doc := &ast.SchemaDocument{Schema: ast.SchemaDefinitionList{{OperationTypes: ast.OperationTypeDefinitionList{
		{Operation: ast.Query, Type: s.Query.Name}, {Operation: ast.Mutation, Type: s.Mutation.Name}}}}}
	var names []string
	for name, d := range s.Types {
		if !d.BuiltIn && !strings.HasPrefix(name, "__") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		doc.Definitions = append(doc.Definitions, forRole(s, s.Types[name]))
	}
	var b bytes.Buffer
	formatter.NewFormatter(&b, formatter.WithIndent("  "), formatter.WithoutDescription()).FormatSchemaDocument(doc)
	return b.String()
}

func forRole(s *ast.Schema, d *ast.Definition) *ast.Definition {
	out := *d
	out.Directives = nil
	root := d.Name == s.Query.Name || d.Name == s.Mutation.Name
	out.Fields = nil
	for _, f := range d.Fields {
		if strings.HasPrefix(f.Name, "__") || root && slices.Contains(admins, f.Name) {
			continue
		}
		field := *f
		field.Directives = nil
		field.Arguments = nil
		for _, a := range f.Arguments {
			arg := *a
			arg.Directives = nil
			if value, ok := presets[f.Name+"."+a.Name]; ok && root {
				arg.Directives = ast.DirectiveList{{Name: "preset", Arguments: ast.ArgumentList{{Name: "value", Value: &ast.Value{Raw: value, Kind: ast.IntValue}}}}}
			}
			field.Arguments = append(field.Arguments, &arg)
		}
		out.Fields = append(out.Fields, &field)
	}
	return &out
}

// Wrong holds a role's SDL to Hasura's rules against the schema it is of: all
// that is wrong with it.
func Wrong(sdl string, of *ast.Schema) (wrong []string) {
	doc, err := parser.ParseSchema(&ast.Source{Input: sdl})
	if err != nil {
		return []string{err.Error()}
	}
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if len(doc.Schema) > 1 {
		say("more than one schema block")
	}
	roots := map[ast.Operation]string{ast.Query: "Query", ast.Mutation: "Mutation"}
	for _, s := range doc.Schema {
		roots = map[ast.Operation]string{}
		for _, o := range s.OperationTypes {
			roots[o.Operation] = o.Type
		}
	}
	if roots[ast.Subscription] != "" {
		say("a subscription root: Hasura publishes it and refuses it")
	}
	declared := map[string]bool{}
	for _, d := range doc.Definitions {
		if declared[d.Name] {
			say("%s is declared twice", d.Name)
		}
		declared[d.Name] = true
	}
	if !declared[roots[ast.Query]] {
		say("no query root")
	}
	for _, d := range doc.Definitions {
		up := of.Types[d.Name]
		if up == nil {
			say("%s does not exist", d.Name)
			continue
		}
		if up.Kind != d.Kind || d.Kind == ast.Interface {
			say("%s is a %s", d.Name, d.Kind)
		}
		definition(d, up, declared, say)
	}
	return wrong
}

// definition holds one type to the same type of the schema.
func definition(d, up *ast.Definition, declared map[string]bool, say func(string, ...any)) {
	builtin := []string{"Int", "Float", "String", "Boolean", "ID"}
	known := func(t *ast.Type, where string) {
		if !declared[t.Name()] && !slices.Contains(builtin, t.Name()) {
			say("%s: %s is not declared", where, t.Name())
		}
	}
	for _, t := range d.Types {
		if !slices.Contains(up.Types, t) {
			say("%s is no member of %s", t, d.Name)
		}
	}
	for _, v := range d.EnumValues {
		if up.EnumValues.ForName(v.Name) == nil {
			say("%s is no value of %s", v.Name, d.Name)
		}
	}
	for _, f := range d.Fields {
		where := d.Name + "." + f.Name
		u := up.Fields.ForName(f.Name)
		if u == nil {
			say("%s does not exist", where)
			continue
		}
		known(f.Type, where)
		if f.Type.String() != u.Type.String() {
			say("%s is %s, not %s", where, u.Type, f.Type)
		}
		for _, a := range f.Arguments {
			known(a.Type, where+"."+a.Name)
			switch x := u.Arguments.ForName(a.Name); {
			case x == nil:
				say("%s has no argument %s", where, a.Name)
			case x.Type.String() != a.Type.String():
				say("%s.%s is %s, not %s", where, a.Name, x.Type, a.Type)
			case x.DefaultValue.String() != a.DefaultValue.String():
				say("%s.%s has another default", where, a.Name)
			}
			preset(a, where, say)
		}
		for _, a := range u.Arguments {
			if f.Arguments.ForName(a.Name) == nil && a.Type.NonNull && a.DefaultValue == nil {
				say("%s lacks %s, which is required", where, a.Name)
			}
		}
	}
}

// preset holds one argument's directives to what Hasura takes.
func preset(a *ast.ArgumentDefinition, where string, say func(string, ...any)) {
	if len(a.Directives) > 1 {
		say("%s.%s has more than one directive", where, a.Name)
	}
	for _, d := range a.Directives {
		value := d.Arguments.ForName("value")
		switch {
		case d.Name != "preset" || value == nil:
			say("%s.%s has @%s", where, a.Name, d.Name)
		case a.Type.Elem != nil && value.Value.Kind == ast.StringValue && strings.HasPrefix(strings.ToLower(value.Value.Raw), "x-hasura-"):
			say("%s.%s is a list: no session variable presets it", where, a.Name)
		}
	}
}
