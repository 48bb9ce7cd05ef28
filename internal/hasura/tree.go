package hasura

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/parser"
)

// Tree is metadata as Hasura exports it, whatever it holds.
type Tree = map[string]any

func clone(x any) (out Tree, err error) {
	b, err := json.Marshal(x)
	if err != nil {
		return nil, fmt.Errorf("writing metadata: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("reading metadata: %w", err)
	}
	return out, nil
}

// list are the objects of a list.
func list(in Tree, key string) (out []Tree) {
	all, _ := in[key].([]any)
	for _, x := range all {
		if t, ok := x.(Tree); ok {
			out = append(out, t)
		}
	}
	return out
}

func text(in Tree, path ...string) string {
	for _, key := range path[:len(path)-1] {
		in, _ = in[key].(Tree)
	}
	s, _ := in[path[len(path)-1]].(string)
	return s
}

func names(all []Tree) (out []string) {
	for _, x := range all {
		out = append(out, text(x, "name"))
	}
	return out
}

// defaults are what Hasura leaves out when it exports.
var defaults = Tree{"timeout": json.Number("30"), "timeout_seconds": json.Number("60"), "kind": "synchronous", "type": "mutation"}

// covers reports whether theirs says all that ours says.
func covers(theirs, ours any, key string) bool {
	switch o := ours.(type) {
	case Tree:
		t, ok := theirs.(Tree)
		if !ok && len(o) > 0 {
			return false
		}
		for k, x := range o {
			if !covers(t[k], x, k) {
				return false
			}
		}
		return true
	case []any:
		t, _ := theirs.([]any)
		if len(t) != len(o) {
			return false
		}
		for _, x := range o { // order means nothing anywhere in what is ours
			if !slices.ContainsFunc(t, func(y any) bool { return covers(y, x, "") }) {
				return false
			}
		}
		return true
	case string:
		t, ok := theirs.(string)
		if !ok {
			return o == "" || defaults[key] == o
		}
		return t == o || key == "schema" && canonical(t) == canonical(o)
	case json.Number:
		if theirs == nil {
			return defaults[key] == o
		}
		return fmt.Sprint(theirs) == o.String()
	case bool:
		t, _ := theirs.(bool)
		return t == o
	default:
		return theirs == nil
	}
}

// canonical is an SDL in one form; what is none is left as it is.
func canonical(sdl string) string {
	doc, err := parser.ParseSchema(&ast.Source{Input: sdl})
	if err != nil {
		return sdl
	}
	slices.SortFunc(doc.Definitions, func(a, b *ast.Definition) int { return strings.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	formatter.NewFormatter(&b, formatter.WithIndent("  "), formatter.WithoutDescription()).FormatSchemaDocument(doc)
	return b.String()
}
