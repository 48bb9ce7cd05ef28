package hasura

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Tree is metadata as Hasura exports it, whatever it holds.
type Tree = map[string]any

// Plan says how ours is put into theirs.
type Plan struct {
	Ours   Metadata
	Source string   // the database's name in Hasura; "": the one there is
	Roles  []string // that get what the project's role user gets
	Custom *Customization
}

// Merge puts ours into theirs: what of ours is missing is added, what is there
// and differs is made ours, and everything else stays as it is. changes is what
// that does, a line each; none: nothing is to be done. kept is what was left
// alone although its name is one of ours.
func (p Plan) Merge(theirs Tree) (merged Tree, changes, kept []string, err error) {
	merged, err = clone(theirs)
	if err != nil {
		return nil, nil, nil, err
	}
	if p.Custom == nil {
		p.Custom = CustomOf(theirs) // names stay what clients know
	}
	ours, err := p.tree()
	if err != nil {
		return nil, nil, nil, err
	}
	m := &merger{}
	if err := m.source(merged, ours, p.Source); err != nil {
		return nil, nil, nil, err
	}
	for _, rs := range list(ours, "remote_schemas") {
		m.remoteSchema(merged, rs)
	}
	for _, a := range list(ours, "actions") {
		m.put(merged, "actions", a, "action", isOurAction)
	}
	used := typesOf(theirs)
	types, _ := merged["custom_types"].(Tree)
	if types == nil {
		types = Tree{}
	}
	for _, o := range list(ours["custom_types"].(Tree), "objects") {
		m.put(types, "objects", o, "type", func(x Tree) bool { return used[text(x, "name")] })
	}
	merged["custom_types"] = types
	for _, c := range list(ours, "cron_triggers") {
		m.put(merged, "cron_triggers", c, "cron trigger", anyway)
	}
	if len(m.changes) == 0 {
		return theirs, nil, m.kept, nil
	}
	return merged, m.changes, m.kept, nil
}

// tree is ours for the roles there are.
func (p Plan) tree() (Tree, error) {
	var o Metadata // a copy, of its lists too
	text, err := json.Marshal(p.Ours)
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		return nil, fmt.Errorf("copying the project: %w", err)
	}
	for i := range o.RemoteSchemas {
		rs := &o.RemoteSchemas[i]
		rs.Definition.Customization = p.Custom
		rs.Permissions = each(rs.Permissions, p.Roles, func(x RemotePermission, role string) RemotePermission { x.Role = role; return x })
	}
	for i := range o.Actions {
		o.Actions[i].Permission = each(o.Actions[i].Permission, p.Roles, func(x Role, role string) Role { x.Role = role; return x })
	}
	for i := range o.Sources {
		for j := range o.Sources[i].Tables {
			t := &o.Sources[i].Tables[j]
			t.SelectPermissions = each(t.SelectPermissions, p.Roles, func(x SelectPermission, role string) SelectPermission { x.Role = role; return x })
		}
	}
	return clone(o)
}

func each[T any](in []T, roles []string, as func(T, string) T) (out []T) {
	for _, role := range roles {
		for _, x := range in {
			out = append(out, as(x, role))
		}
	}
	return out
}

type merger struct{ changes, kept []string }

func (m *merger) change(format string, args ...any) {
	m.changes = append(m.changes, fmt.Sprintf(format, args...))
}

func anyway(Tree) bool { return true }

func isOurAction(x Tree) bool {
	return strings.Contains(text(x, "definition", "handler"), "{{NCHAT_REALTIME_URL}}/hasura/actions/")
}

// typesOf are the types that our actions answer, where they are in theirs.
func typesOf(theirs Tree) map[string]bool {
	types := map[string]bool{}
	for _, a := range list(theirs, "actions") {
		if isOurAction(a) {
			types[strings.Trim(text(a, "definition", "output_type"), "[]!")] = true
		}
	}
	return types
}

// put adds item to a list, or makes the one of its name like it, where that is ours.
func (m *merger) put(in Tree, key string, item Tree, what string, isOurs func(Tree) bool) {
	have, _ := in[key].([]any)
	name, _ := item["name"].(string)
	for i, x := range have {
		x, _ := x.(Tree)
		switch {
		case x["name"] != name:
			continue
		case covers(x, item, ""):
		case !isOurs(x):
			m.kept = append(m.kept, fmt.Sprintf("%s %s is another one: left as it is", what, name))
		default:
			m.change("~ %s %s", what, name)
			have[i] = item
		}
		return
	}
	m.change("+ %s %s", what, name)
	in[key] = append(have, any(item))
}

func (m *merger) remoteSchema(in, ours Tree) {
	perms := list(ours, "permissions")
	for _, x := range list(in, "remote_schemas") {
		if x["name"] != ours["name"] {
			continue
		}
		alone := maps.Clone(ours)
		delete(alone, "permissions")
		alone["definition"] = over(x["definition"], ours["definition"])
		if !covers(x, alone, "") {
			m.change("~ remote schema %s", ours["name"])
			maps.Copy(x, alone)
		}
		for _, p := range perms {
			m.permission(x, p)
		}
		return
	}
	m.change("+ remote schema %s", ours["name"])
	for _, p := range perms {
		m.change("+ permission of role %s on %s", p["role"], ours["name"])
	}
	have, _ := in["remote_schemas"].([]any)
	in["remote_schemas"] = append(have, any(ours))
}

// over is a definition of theirs with ours laid over it: what they added, more
// headers for one, stays.
func over(theirs, ours any) Tree {
	out := Tree{}
	if t, ok := theirs.(Tree); ok {
		maps.Copy(out, t)
	}
	mine, _ := ours.(Tree)
	var headers []any
	named := map[any]bool{}
	for _, h := range list(mine, "headers") {
		headers, named[h["name"]] = append(headers, h), true
	}
	for _, h := range list(out, "headers") {
		if !named[h["name"]] {
			headers = append(headers, h)
		}
	}
	maps.Copy(out, mine)
	if headers != nil {
		out["headers"] = headers
	}
	return out
}

func (m *merger) permission(schema, ours Tree) {
	have, _ := schema["permissions"].([]any)
	for i, x := range have {
		if x, ok := x.(Tree); ok && x["role"] == ours["role"] {
			if !covers(x, ours, "") {
				m.change("~ permission of role %s on %s", ours["role"], schema["name"])
				have[i] = ours
			}
			return
		}
	}
	m.change("+ permission of role %s on %s", ours["role"], schema["name"])
	schema["permissions"] = append(have, any(ours))
}

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
	for _, x := range list(ours, "event_triggers") {
		m.put(have, "event_triggers", x, "event trigger", anyway)
	}
	for _, x := range list(ours, "remote_relationships") {
		m.put(have, "remote_relationships", x, "relationship "+name, joinsUs)
	}
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

// Remove takes everything of ours out of theirs. Tables stay tracked.
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
				changes = append(changes, fmt.Sprintf("- %s %s", what, t["name"]))
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
		for _, t := range list(s, "tables") {
			drop(t, "event_triggers", "event trigger", named)
			drop(t, "remote_relationships", "relationship", joinsUs)
		}
	}
	types := typesOf(theirs)
	drop(merged, "actions", "action", isOurAction)
	if t, ok := merged["custom_types"].(Tree); ok {
		drop(t, "objects", "type", func(x Tree) bool { return types[text(x, "name")] })
	}
	drop(merged, "cron_triggers", "cron trigger", named)
	drop(merged, "remote_schemas", "remote schema", func(x Tree) bool { return text(x, "name") == Name })
	return merged, changes, nil
}

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

// Customize is the customization that keeps names from clashing; nil: none. The
// scalars keep their names: Hasura's own are the same.
func Customize(prefix, namespace string) *Customization {
	if prefix == "" && namespace == "" {
		return nil
	}
	c := &Customization{RootFieldsNamespace: namespace}
	if prefix != "" {
		c.TypeNames = &TypeNames{Prefix: prefix, Mapping: map[string]string{"uuid": "uuid", "timestamptz": "timestamptz", "jsonb": "jsonb"}}
	}
	return c
}
