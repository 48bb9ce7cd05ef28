package gqlhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"
)

const (
	mostGiven = 5    // values that an error names
	mostSeen  = 1000 // values that are looked at
)

// leaf is one value of a field's arguments: where it stands, and what it is.
type leaf struct{ path, text string }

func (l leaf) String() string { return fmt.Sprintf("%s %.40q", l.path, l.text) }

// given are the caller's own values of the field that is at work, or of the
// nearest around it that has any, by their names.
func given(ctx context.Context) (list []leaf) {
	for fc := graphql.GetFieldContext(ctx); fc != nil && graphql.HasOperationContext(ctx); fc = fc.Parent {
		if fc.Field.Field == nil || fc.Field.Definition == nil || len(fc.Field.Arguments) == 0 {
			continue
		}
		args := fc.Field.ArgumentMap(graphql.GetOperationContext(ctx).Variables)
		for _, name := range slices.Sorted(maps.Keys(args)) {
			list = leaves(list, name, args[name])
		}
		return list
	}
	return nil
}

func leaves(list []leaf, path string, v any) []leaf {
	if len(list) >= mostSeen || v == nil {
		return list
	}
	switch x := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(x)) {
			list = leaves(list, path+"."+name, x[name])
		}
		return list
	case json.Number:
		return append(list, leaf{path, x.String()})
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice {
		for i := range r.Len() {
			list = leaves(list, path+"["+strconv.Itoa(i)+"]", r.Index(i).Interface())
		}
		return list
	}
	return append(list, leaf{path, fmt.Sprint(v)})
}

// blame is which of the caller's values the database does not take: those that
// it names, or all there are. What the database says besides is not told: it may
// be of what others wrote.
func blame(ctx context.Context, said string) (at, values string) {
	list := given(ctx)
	named := slices.DeleteFunc(slices.Clone(list), func(l leaf) bool { return !strings.Contains(said, `"`+l.text+`"`) })
	if len(named) > 0 {
		list = named
	}
	if len(list) == 1 {
		at = list[0].path
	}
	more := ""
	if len(list) > mostGiven {
		list, more = list[:mostGiven], " …"
	}
	for i, l := range list {
		if i > 0 {
			values += ", "
		}
		values += l.String()
	}
	return at, values + more
}
