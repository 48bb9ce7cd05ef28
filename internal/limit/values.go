package limit

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const mostName = 200 // characters in an alias

// Values is a gqlgen extension: what the libraries below let through and then
// take for something else, or fall over, is refused before anything runs. They
// are the values of enums in variables, which gqlparser compares without regard
// to case and gqlgen then reads as none of them; numbers in the text that are out
// of range; what @skip and @include stand
// on; and a subscription that these leave without its one field. Refusals are
// validation-failed faults that name field and value.
type Values struct{ schema *ast.Schema }

var (
	_ graphql.HandlerExtension        = &Values{}
	_ graphql.OperationContextMutator = &Values{}
)

// ExtensionName is gqlgen's.
func (*Values) ExtensionName() string { return "Values" }

// Validate is gqlgen's.
func (v *Values) Validate(s graphql.ExecutableSchema) error {
	v.schema = s.Schema()
	return nil
}

// MutateOperationContext refuses; nothing is mutated.
func (v *Values) MutateOperationContext(_ context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	for _, def := range oc.Operation.VariableDefinitions {
		if f := v.check(def.Type, oc.Variables[def.Variable], def.Variable); f != nil {
			return refusal(f)
		}
	}
	sets := []ast.SelectionSet{oc.Operation.SelectionSet}
	for _, f := range oc.Doc.Fragments {
		sets = append(sets, f.SelectionSet)
	}
	for _, set := range sets {
		if f := walk(set, oc.Variables); f != nil {
			return refusal(f)
		}
	}
	if oc.Operation.Operation != ast.Subscription {
		return nil
	}
	switch roots := graphql.CollectFields(oc, oc.Operation.SelectionSet, []string{v.schema.Subscription.Name}); {
	case len(roots) == 0:
		return refusal(fault.New(fault.Invalid, "a subscription has one field: @skip and @include have left none"))
	case len(roots) > 1:
		return refusal(fault.New(fault.Invalid, "a subscription has one field, and this has %d: %s and %s", len(roots), roots[0].Alias, roots[1].Alias))
	case strings.HasPrefix(roots[0].Name, "__"):
		return refusal(fault.New(fault.Invalid, "a subscription needs a field of its own beside or instead of %s", roots[0].Name))
	}
	return nil
}

// check looks for enums in a variable's value.
func (v *Values) check(t *ast.Type, value any, path string) *fault.Error {
	if value == nil {
		return nil
	}
	if t.Elem != nil {
		list := reflect.ValueOf(value)
		if list.Kind() != reflect.Slice {
			return v.check(t.Elem, value, path) // one, for a list of one
		}
		for i := range list.Len() {
			if f := v.check(t.Elem, list.Index(i).Interface(), fmt.Sprintf("%s[%d]", path, i)); f != nil {
				return f
			}
		}
		return nil
	}
	def := v.schema.Types[t.NamedType]
	switch {
	case def == nil:
	case def.Kind == ast.Enum:
		name, isText := value.(string)
		if !isText || !slices.ContainsFunc(def.EnumValues, func(e *ast.EnumValueDefinition) bool { return e.Name == name }) {
			return fault.Field(path, "%s: %.100q is not a valid %s", path, fmt.Sprint(value), def.Name)
		}
	case def.Kind == ast.InputObject:
		object, _ := value.(map[string]any)
		for _, field := range def.Fields {
			if f := v.check(field.Type, object[field.Name], path+"."+field.Name); f != nil {
				return f
			}
		}
	}
	return nil
}

// walk looks for variables that a directive stands on and that are null, for
// values in the text that are none, and for names that would be written again
// and again at great length.
func walk(set ast.SelectionSet, variables map[string]any) *fault.Error {
	for _, sel := range set {
		var directives ast.DirectiveList
		var within ast.SelectionSet
		switch x := sel.(type) {
		case *ast.Field:
			directives, within = x.Directives, x.SelectionSet
			if len(x.Alias) > mostName {
				return fault.New(fault.Invalid, "an alias has more than %d characters", mostName)
			}
			if f := literals(x.Arguments, variables); f != nil {
				return f
			}
		case *ast.InlineFragment:
			directives, within = x.Directives, x.SelectionSet
		case *ast.FragmentSpread:
			directives = x.Directives
		}
		for _, d := range directives {
			for _, a := range d.Arguments {
				if name := a.Value.Raw; a.Value.Kind == ast.Variable && variables[name] == nil {
					return fault.Field(name, "%s must not be null: @skip and @include stand on it", name)
				}
			}
		}
		if f := walk(within, variables); f != nil {
			return f
		}
	}
	return nil
}

// literals looks for one that has no value in Go: gqlgen panics over it.
func literals(args ast.ArgumentList, variables map[string]any) *fault.Error {
	for _, a := range args {
		if _, err := a.Value.Value(variables); err != nil {
			return fault.Field(a.Name, "%s has a value out of range: %.100s", a.Name, a.Value.String())
		}
	}
	return nil
}
