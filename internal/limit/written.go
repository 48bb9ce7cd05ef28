package limit

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
)

const (
	fieldBytes = 24 // what a field takes besides its name, with a number, a boolean or null
	idBytes    = 38
	timeBytes  = 29
)

// valueBytes is at least what a field's value takes in an answer beyond fieldBytes.
// Objects take nothing: their fields count themselves.
func valueBytes(v any) int {
	switch x := v.(type) {
	case nil, int, bool:
		return 0
	case string:
		return quotedBytes(x)
	case json.RawMessage:
		return len(x)
	case uuid.UUID:
		return idBytes
	case time.Time, *time.Time:
		return timeBytes
	}
	switch r := reflect.ValueOf(v); r.Kind() { //nolint:exhaustive // the rest is short, or an object
	case reflect.Pointer:
		if !r.IsNil() && r.Elem().Kind() != reflect.Struct {
			return valueBytes(r.Elem().Interface())
		}
	case reflect.String: // an enum too
		return quotedBytes(r.String())
	case reflect.Slice:
		return listBytes(r)
	}
	return 0
}

// listBytes is that of a list's entries with what stands between them.
func listBytes(r reflect.Value) int {
	const brackets, object = 2, 3
	switch e := r.Type().Elem(); {
	case e == reflect.TypeFor[uuid.UUID]():
		return brackets + r.Len()*(idBytes+1)
	case e.Kind() == reflect.Struct && e != reflect.TypeFor[time.Time]():
		return brackets + r.Len()*object
	}
	n := brackets
	for i := range r.Len() {
		n += fieldBytes + valueBytes(r.Index(i).Interface())
	}
	return n
}

// quotedBytes is what a text takes as JSON, as gqlgen writes it.
func quotedBytes(s string) int {
	n := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"', c == '\\', c == '\t', c == '\r', c == '\n':
			n++
		case c < ' ':
			n += len(`\u0000`) - 1
		}
	}
	return n
}

// typeBytes is what __typename takes in a value that is objects: gqlgen writes it
// without asking any extension.
func typeBytes(f graphql.CollectedField, v any) int {
	if len(f.Selections) == 0 || v == nil || f.Definition == nil {
		return 0
	}
	objects := 1
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice {
		objects = r.Len()
	}
	t := typeNames{each: fieldBytes + len(f.Definition.Type.Name())}
	t.in(f.Selections)
	return objects * t.bytes
}

// typeNames sums __typename in a selection, by each of its names once, in
// fragments on any type. A fragment is looked at once, however often it is spread.
type typeNames struct {
	each, bytes int
	seen        map[string]bool // aliases, and fragments by their names after three dots
}

func (t *typeNames) in(set ast.SelectionSet) {
	for _, sel := range set {
		switch x := sel.(type) {
		case *ast.Field:
			if x.Name == "__typename" && t.first(x.Alias) {
				t.bytes += t.each + len(x.Alias)
			}
		case *ast.InlineFragment:
			t.in(x.SelectionSet)
		case *ast.FragmentSpread:
			if x.Definition != nil && t.first("..."+x.Name) {
				t.in(x.Definition.SelectionSet)
			}
		}
	}
}

func (t *typeNames) first(name string) bool {
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	seen := t.seen[name]
	t.seen[name] = true
	return !seen
}
