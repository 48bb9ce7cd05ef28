package hasura

import (
	"fmt"
	"strings"
)

// Remove takes everything of ours out of theirs. Tables stay tracked, but for
// the view of visible presence.
func Remove(theirs Tree) (merged Tree, changes []string, err error) {
	merged, err = clone(theirs)
	if err != nil {
		return nil, nil, err
	}
	drop := func(in Tree, key, what string, isOurs func(Tree) bool) {
		have, _ := in[key].([]any)
		var left []any
		for _, x := range have {
			if t, ok := x.(Tree); ok && isOurs(t) {
				name, ok := t["name"].(string)
				if !ok {
					name = tableName(t["table"])
				}
				changes = append(changes, fmt.Sprintf("- %s %s", what, name))
				continue
			}
			left = append(left, x)
		}
		if len(left) < len(have) {
			if in[key] = left; len(left) == 0 {
				delete(in, key)
			}
		}
	}
	named := func(x Tree) bool { return strings.HasPrefix(text(x, "name"), Name) }
	for _, s := range list(merged, "sources") {
		drop(s, "tables", "table", isView)
		for _, t := range list(s, "tables") {
			drop(t, "object_relationships", "relationship", leadsToView)
			drop(t, "event_triggers", "event trigger", named)
			drop(t, "remote_relationships", "relationship", leadsToUs)
		}
	}
	for _, rs := range list(merged, "remote_schemas") {
		for _, of := range list(rs, "remote_relationships") {
			drop(of, "relationships", "relationship of "+text(rs, "name")+"'s "+text(of, "type_name"), leadsToUs)
		}
	}
	drop(merged, "actions", "action", isOurAction)
	if t, ok := merged["custom_types"].(Tree); ok {
		drop(t, "objects", "type", isOurType)
	}
	drop(merged, "cron_triggers", "cron trigger", named)
	drop(merged, "remote_schemas", "remote schema", func(x Tree) bool { return text(x, "name") == Name })
	return merged, changes, nil
}

// leadsToUs reports whether a relationship, also one written as Hasura 2.0 did, is
// to our remote schema: without that it would not be consistent.
func leadsToUs(x Tree) bool { return joinsUs(x) || text(x, "definition", "remote_schema") == Name }
