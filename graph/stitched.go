package graph

import (
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// Stitched is the part of a schema that Hasura serves as a remote schema: no
// subscriptions, which it would publish and refuse, and only the types that
// queries and mutations reach.
func Stitched(s *ast.Schema) *ast.Schema {
	out := *s
	out.Subscription = nil
	out.Types, out.PossibleTypes, out.Implements = map[string]*ast.Definition{}, map[string][]*ast.Definition{}, map[string][]*ast.Definition{}
	var reach func(name string)
	reach = func(name string) {
		d := s.Types[name]
		if d == nil || out.Types[name] != nil {
			return
		}
		out.Types[name] = d
		for _, f := range d.Fields {
			reach(f.Type.Name())
			for _, a := range f.Arguments {
				reach(a.Type.Name())
			}
		}
		for _, t := range append(d.Types, d.Interfaces...) {
			reach(t)
		}
		for _, p := range s.PossibleTypes[name] {
			reach(p.Name)
		}
	}
	reach(s.Query.Name)
	reach(s.Mutation.Name)
	for name, d := range s.Types {
		if d.BuiltIn || strings.HasPrefix(name, "__") {
			reach(name)
		}
	}
	for name := range out.Types {
		if p, ok := s.PossibleTypes[name]; ok {
			out.PossibleTypes[name] = p
		}
		if i, ok := s.Implements[name]; ok {
			out.Implements[name] = i
		}
	}
	return &out
}
