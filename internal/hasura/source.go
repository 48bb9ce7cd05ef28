package hasura

import (
	"fmt"
	"slices"
	"strings"
)

// source puts our tables into their database.
func (m *merger) source(merged, ours Tree, name string) error {
	mine := list(ours, "sources")[0]
	all := list(merged, "sources")
	if len(all) == 0 {
		m.change("+ source %s", mine["name"])
		merged["sources"] = []any{mine}
		return nil
	}
	at := sourceOf(all, name, text(mine, "name"))
	if at == nil {
		return fmt.Errorf("which of Hasura's databases is it? --source names one of %s", strings.Join(names(all), ", "))
	}
	// Permissions stand on relationships: they come together, or not at all.
	alone := true
	for _, t := range list(mine, "tables") {
		alone = alone && find(at, t) == nil
	}
	for _, t := range list(mine, "tables") {
		m.table(at, t, alone)
	}
	return nil
}

// sourceOf is the database of that name; without one where our event triggers
// are, else where nchat's messages are, else the only one or the usual one.
func sourceOf(all []Tree, name, usual string) Tree {
	ours := func(s Tree) bool {
		return slices.ContainsFunc(list(s, "tables"), func(t Tree) bool {
			return slices.ContainsFunc(list(t, "event_triggers"), func(e Tree) bool { return strings.HasPrefix(text(e, "name"), Name) })
		})
	}
	messages := func(s Tree) bool {
		return slices.ContainsFunc(list(s, "tables"), func(t Tree) bool {
			return text(t, "table", "schema") == "public" && text(t, "table", "name") == "nchat_messages"
		})
	}
	tests := []func(Tree) bool{ours, messages, func(s Tree) bool { return len(all) == 1 || text(s, "name") == usual }}
	if name != "" {
		tests = []func(Tree) bool{func(s Tree) bool { return text(s, "name") == name }}
	}
	for _, is := range tests {
		if i := slices.IndexFunc(all, is); i >= 0 {
			return all[i]
		}
	}
	return nil
}

func (m *merger) table(source, ours Tree, alone bool) {
	id := ours["table"].(Tree)
	name := fmt.Sprintf("%s.%s", id["schema"], id["name"])
	have := find(source, ours)
	if have == nil {
		m.change("+ table %s", name)
		have = Tree{"table": id}
		if alone {
			for _, key := range []string{"object_relationships", "array_relationships", "select_permissions"} {
				if x, ok := ours[key]; ok {
					have[key] = x
				}
			}
		}
		tables, _ := source["tables"].([]any)
		source["tables"] = append(tables, any(have))
	}
	m.visible(have, ours, name)
	for _, x := range list(ours, "event_triggers") {
		m.put(have, "event_triggers", x, "event trigger", anyway)
	}
	for _, x := range list(ours, "remote_relationships") {
		m.put(have, "remote_relationships", x, "relationship "+name, joinsUs)
	}
}

// visible puts what is about the view of visible presence, whatever of nchat's
// tables is there already: it is ours.
func (m *merger) visible(have, ours Tree, name string) {
	if isView(ours) {
		for _, x := range list(ours, "array_relationships") {
			m.put(have, "array_relationships", x, "relationship "+name, anyway)
		}
		for _, x := range list(ours, "select_permissions") {
			m.grant(have, "select_permissions", x, name)
		}
		return
	}
	for _, x := range list(ours, "object_relationships") {
		if leadsToView(x) {
			m.put(have, "object_relationships", x, "relationship "+name, leadsToView)
		}
	}
}

func isView(table Tree) bool {
	return text(table, "table", "schema") == view.Schema && text(table, "table", "name") == view.Name
}

func leadsToView(x Tree) bool {
	using, _ := x["using"].(Tree)
	return text(using, "manual_configuration", "remote_table", "schema") == view.Schema && text(using, "manual_configuration", "remote_table", "name") == view.Name
}

func joinsUs(x Tree) bool { return text(x, "definition", "to_remote_schema", "remote_schema") == Name }

func find(source, table Tree) Tree {
	for _, t := range list(source, "tables") {
		if id, ok := t["table"].(Tree); ok && covers(id, table["table"], "") {
			return t
		}
	}
	return nil
}
