package door

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// shown is a schema as introspection shows it.
type shown struct {
	QueryType        *shownRef
	MutationType     *shownRef
	SubscriptionType *shownRef
	Types            []shownType
	Directives       []shownDirective
}

type shownType struct {
	Kind, Name    string
	Description   string
	Fields        []shownField
	InputFields   []shownValue
	Interfaces    []shownRef
	EnumValues    []shownField
	PossibleTypes []shownRef
}

type shownField struct {
	Name, Description string
	Args              []shownValue
	Type              shownRef
	IsDeprecated      bool
	DeprecationReason string
}

type shownValue struct {
	Name, Description string
	Type              shownRef
	DefaultValue      *string
}

type shownRef struct {
	Kind, Name string
	OfType     *shownRef
}

type shownDirective struct {
	Name, Description string
	Locations         []string
	Args              []shownValue
}

var (
	named    = regexp.MustCompile(`^[_A-Za-z][_0-9A-Za-z]*$`)
	builtIn  = []string{"Int", "Float", "String", "Boolean", "ID"}
	givenDir = []string{"include", "skip", "deprecated", "specifiedBy", "oneOf", "defer", "goField", "goModel", "goTag"}
	kinds    = map[string]ast.DefinitionKind{"SCALAR": ast.Scalar, "OBJECT": ast.Object, "INTERFACE": ast.Interface, "UNION": ast.Union,
		"ENUM": ast.Enum, "INPUT_OBJECT": ast.InputObject}
)

func (r shownRef) of() *ast.Type {
	switch {
	case r.Kind == "NON_NULL" && r.OfType != nil:
		t := r.OfType.of()
		t.NonNull = true
		return t
	case r.Kind == "LIST" && r.OfType != nil:
		return ast.ListType(r.OfType.of(), nil)
	}
	return ast.NamedType(r.Name, nil)
}

// definitions are the types, but for those that every schema has.
func (s *shown) definitions() (defs ast.DefinitionList) {
	for _, t := range s.Types {
		if strings.HasPrefix(t.Name, "__") || slices.Contains(builtIn, t.Name) || !named.MatchString(t.Name) || kinds[t.Kind] == "" {
			continue
		}
		def := &ast.Definition{Kind: kinds[t.Kind], Name: t.Name, Description: t.Description}
		for _, f := range t.Fields {
			def.Fields = append(def.Fields, &ast.FieldDefinition{Name: f.Name, Description: f.Description, Arguments: arguments(f.Args), Type: f.Type.of(),
				Directives: deprecated(f)})
		}
		for _, v := range t.InputFields {
			def.Fields = append(def.Fields, &ast.FieldDefinition{Name: v.Name, Description: v.Description, Type: v.Type.of(), DefaultValue: literal(v.DefaultValue)})
		}
		for _, v := range t.EnumValues {
			def.EnumValues = append(def.EnumValues, &ast.EnumValueDefinition{Name: v.Name, Description: v.Description, Directives: deprecated(v)})
		}
		for _, r := range t.Interfaces {
			def.Interfaces = append(def.Interfaces, r.Name)
		}
		if def.Kind == ast.Union {
			for _, r := range t.PossibleTypes {
				def.Types = append(def.Types, r.Name)
			}
		}
		defs = append(defs, def)
	}
	return defs
}

func deprecated(f shownField) ast.DirectiveList {
	if !f.IsDeprecated {
		return nil
	}
	return ast.DirectiveList{{Name: "deprecated", Arguments: ast.ArgumentList{{Name: "reason", Value: &ast.Value{Raw: f.DeprecationReason, Kind: ast.StringValue}}}}}
}

func arguments(list []shownValue) (out ast.ArgumentDefinitionList) {
	for _, v := range list {
		out = append(out, &ast.ArgumentDefinition{Name: v.Name, Description: v.Description, Type: v.Type.of(), DefaultValue: literal(v.DefaultValue)})
	}
	return out
}

// literal is a value that is printed as it is.
func literal(text *string) *ast.Value {
	if text == nil {
		return nil
	}
	return &ast.Value{Raw: *text, Kind: ast.EnumValue}
}

// root names the root types.
func (s *shown) root(subscription string, has bool) string {
	out := "schema { query: " + s.QueryType.Name
	if s.MutationType != nil {
		out += " mutation: " + s.MutationType.Name
	}
	if has {
		out += " subscription: " + subscription
	}
	return out + " }\n"
}

// sdl writes a schema.
func sdl(defs ast.DefinitionList, directives []shownDirective, root string) string {
	var b strings.Builder
	b.WriteString(root)
	for _, d := range directives {
		if !slices.Contains(givenDir, d.Name) && named.MatchString(d.Name) && len(d.Locations) > 0 {
			b.WriteString(described(d.Description) + "directive @" + d.Name + argsSDL(arguments(d.Args)) + " on " + strings.Join(d.Locations, " | ") + "\n")
		}
	}
	for _, d := range defs {
		b.WriteString(described(d.Description))
		switch d.Kind {
		case ast.Scalar:
			fmt.Fprintf(&b, "scalar %s\n", d.Name)
		case ast.Union:
			fmt.Fprintf(&b, "union %s = %s\n", d.Name, strings.Join(d.Types, " | "))
		case ast.Enum:
			fmt.Fprintf(&b, "enum %s {\n", d.Name)
			for _, v := range d.EnumValues {
				b.WriteString(described(v.Description) + v.Name + reasonSDL(v.Directives) + "\n")
			}
			b.WriteString("}\n")
		case ast.Object, ast.Interface, ast.InputObject:
			b.WriteString(map[ast.DefinitionKind]string{ast.Object: "type ", ast.Interface: "interface ", ast.InputObject: "input "}[d.Kind] + d.Name)
			if len(d.Interfaces) > 0 {
				b.WriteString(" implements " + strings.Join(d.Interfaces, " & "))
			}
			b.WriteString(" {\n")
			for _, f := range d.Fields {
				if strings.HasPrefix(f.Name, "__") {
					continue
				}
				b.WriteString(described(f.Description) + f.Name + argsSDL(f.Arguments) + ": " + f.Type.String() + defaultSDL(f.DefaultValue) + reasonSDL(f.Directives) + "\n")
			}
			b.WriteString("}\n")
		}
	}
	return b.String()
}

func described(text string) string {
	if text == "" {
		return ""
	}
	return quoted(text) + " "
}

func argsSDL(list ast.ArgumentDefinitionList) string {
	if len(list) == 0 {
		return ""
	}
	var out []string
	for _, a := range list {
		out = append(out, described(a.Description)+a.Name+": "+a.Type.String()+defaultSDL(a.DefaultValue))
	}
	return "(" + strings.Join(out, ", ") + ")"
}

func defaultSDL(v *ast.Value) string {
	if v == nil {
		return ""
	}
	return " = " + v.String()
}

func reasonSDL(list ast.DirectiveList) string {
	d := list.ForName("deprecated")
	if d == nil {
		return ""
	}
	if r := d.Arguments.ForName("reason"); r != nil {
		return " @deprecated(reason: " + quoted(r.Value.Raw) + ")"
	}
	return " @deprecated"
}
