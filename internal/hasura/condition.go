package hasura

import (
	"slices"
	"strings"
)

// holds reports whether a condition is met only where some part of it that
// suffices is: of parts that all have to be met one is enough, of alternatives
// every one has to be such. What is negated proves nothing.
func holds(cond any, suffices func(key string, x any) bool) bool {
	c, _ := cond.(Tree)
	for key, x := range c {
		switch key {
		case "_and", "$and":
			if slices.ContainsFunc(branches(x), func(part any) bool { return holds(part, suffices) }) {
				return true
			}
		case "_or", "$or":
			all := branches(x)
			if len(all) > 0 && !slices.ContainsFunc(all, func(part any) bool { return !holds(part, suffices) }) {
				return true
			}
		default:
			if suffices(key, x) {
				return true
			}
		}
	}
	return false
}

func branches(x any) []any {
	l, _ := x.([]any)
	return l
}

// equals is the one value a column is held to; nil: none.
func equals(x any) any {
	is, ok := x.(Tree)
	if !ok {
		return x // as Hasura reads it too
	}
	for _, op := range []string{"_eq", "$eq"} {
		if v, ok := is[op]; ok {
			return v
		}
	}
	for _, op := range []string{"_in", "$in"} {
		if l := branches(is[op]); len(l) == 1 {
			return l[0]
		}
	}
	return nil
}

// binds reports whether a condition holds only for the caller's own rows.
func binds(cond any, column string) bool {
	return holds(cond, func(key string, x any) bool { return key == column && isCaller(equals(x)) })
}

func isCaller(x any) bool {
	s, ok := x.(string)
	return ok && strings.EqualFold(s, "x-hasura-user-id")
}

// leads is the table that a relationship of a tracked one leads to; "": not known.
func leads(table Tree, name string) string {
	for _, key := range []string{"object_relationships", "array_relationships"} {
		for _, r := range list(table, key) {
			if text(r, "name") != name {
				continue
			}
			using, _ := r["using"].(Tree)
			if manual := text(using, "manual_configuration", "remote_table", "name"); manual != "" {
				return manual
			}
			switch on := using["foreign_key_constraint_on"].(type) {
			case string:
				return columnLeads[on]
			case []any:
				if len(on) == 1 {
					s, _ := on[0].(string)
					return columnLeads[s]
				}
			case Tree:
				return tableName(on["table"])
			}
		}
	}
	return ""
}

// leadsBy reports whether a relationship to many is by that column of theirs.
func leadsBy(table Tree, name, column string) bool {
	for _, r := range list(table, "array_relationships") {
		if text(r, "name") != name {
			continue
		}
		using, _ := r["using"].(Tree)
		manual, _ := using["manual_configuration"].(Tree)
		mapping, _ := manual["column_mapping"].(Tree)
		for _, theirs := range mapping {
			if theirs == column {
				return len(mapping) == 1
			}
		}
		on, _ := using["foreign_key_constraint_on"].(Tree)
		several := branches(on["columns"])
		return text(on, "column") == column || len(several) == 1 && several[0] == column
	}
	return false
}

// columnLeads is where nchat's foreign keys lead to.
var columnLeads = map[string]string{"channel_id": "nchat_channels", "user_id": "nchat_users"}

func tableName(x any) string {
	switch t := x.(type) {
	case Tree:
		return text(t, "name")
	case string:
		return t
	}
	return ""
}

// tracked is a table of a source, by its name.
func tracked(source Tree, name string) Tree {
	for _, t := range list(source, "tables") {
		if tableName(t["table"]) == name {
			return t
		}
	}
	return Tree{}
}
