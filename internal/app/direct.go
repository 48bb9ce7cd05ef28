package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/nself-org/nchat-realtime/internal/hasura"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const directEvery = time.Minute

// checkDirect looks every minute whether operations may be answered without
// Hasura. Until a look says so, and after one that fails, they may not.
func checkDirect(ctx context.Context, p *parts) {
	if p.direct == nil {
		return
	}
	h := hasura.Client{Endpoint: p.config.HasuraUpstream, AdminSecret: p.config.AdminSecret}
	last := "-"
	for ctx.Err() == nil {
		through, err := h.Examine(ctx)
		why := strings.Join(through.Why, "; ")
		if err != nil {
			why = "Hasura does not say: " + err.Error()
		}
		if why == "" {
			p.direct.Set(granted(through.Roles, p.config.UserRoles))
		} else {
			p.direct.Set(nil)
		}
		if why != last && ctx.Err() == nil {
			p.log.InfoContext(ctx, "answering without Hasura", "may", why == "", "why not", why)
			last = why
		}
		wait.For(ctx, directEvery)
	}
}

const presetDirective = `
scalar PresetValue
directive @preset(value: PresetValue, static: Boolean) on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
`

// granted says whether a role may run an operation as it is: it is valid by what
// the role is granted, and Hasura would add nothing to it.
func granted(roles map[string]string, users []string) func(role, document, operation string) bool {
	schemas := map[string]*ast.Schema{}
	for role, sdl := range roles {
		if !slices.Contains(users, role) {
			continue
		}
		s, err := gqlparser.LoadSchema(&ast.Source{Name: role, Input: presetDirective + sdl})
		if err == nil {
			withoutPresets(s)
			schemas[role] = s
		}
	}
	checked := rules.NewDefaultRules()
	return func(role, document, operation string) bool {
		s := schemas[role]
		if s == nil {
			return false
		}
		doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: document}, limit.ParserTokens)
		if err != nil || len(doc.Operations) != 1 || operation != "" && doc.Operations[0].Name != operation {
			return false
		}
		op := doc.Operations[0]
		if len(op.Directives) > 0 || op.Operation == ast.Subscription { // @cached, which is Hasura's
			return false
		}
		return len(validator.ValidateWithRules(s, doc, checked)) == 0 && !introspects(op.SelectionSet)
	}
}

// introspects says whether a selection asks for the schema, which is not this
// server's alone to show.
func introspects(set ast.SelectionSet) bool {
	return slices.ContainsFunc(set, func(s ast.Selection) bool {
		switch x := s.(type) {
		case *ast.Field:
			return strings.HasPrefix(x.Name, "__")
		case *ast.InlineFragment:
			return introspects(x.SelectionSet)
		case *ast.FragmentSpread:
			return x.Definition == nil || introspects(x.Definition.SelectionSet)
		}
		return true
	})
}

// withoutPresets takes out every root field to which Hasura would add something.
func withoutPresets(s *ast.Schema) {
	preset := func(list ast.DirectiveList) bool { return list.ForName("preset") != nil }
	seen := map[string]bool{}
	var deep func(name string) bool
	deep = func(name string) bool {
		def := s.Types[name]
		if def == nil || def.Kind != ast.InputObject || seen[name] {
			return false
		}
		seen[name] = true
		defer delete(seen, name)
		return slices.ContainsFunc(def.Fields, func(f *ast.FieldDefinition) bool { return preset(f.Directives) || deep(f.Type.Name()) })
	}
	for _, root := range []*ast.Definition{s.Query, s.Mutation} {
		if root == nil {
			continue
		}
		root.Fields = slices.DeleteFunc(root.Fields, func(f *ast.FieldDefinition) bool {
			return slices.ContainsFunc(f.Arguments, func(a *ast.ArgumentDefinition) bool { return preset(a.Directives) || deep(a.Type.Name()) })
		})
	}
}
