package hasura

import (
	"fmt"
	"maps"
	"strings"
)

// merger puts ours in piece by piece, and keeps a line for each change.
type merger struct {
	changes, kept []string
	unforwarded   []string // what is there and does not pass a client's headers on
}

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
		if x["name"] != name {
			continue
		}
		item = onto(x, item)
		switch {
		case !isOurs(x):
			if !covers(x, item, "") {
				m.kept = append(m.kept, fmt.Sprintf("%s %s is another one: left as it is", what, name))
			}
			return
		case !covers(x, item, ""):
			m.change("~ %s %s", what, name)
			have[i] = item
		}
		m.forwards(name, item)
		return
	}
	m.change("+ %s %s", what, name)
	in[key] = append(have, any(item))
}

// onto is one of theirs with ours laid over it.
func onto(theirs, ours Tree) Tree {
	def, ok := ours["definition"].(Tree)
	if !ok {
		return ours
	}
	out := maps.Clone(ours)
	def = maps.Clone(def)
	forwardsAs(def, theirs["definition"])
	out["definition"] = def
	return out
}

const forward = "forward_client_headers"

// forwardsAs leaves it to theirs whether a client's own headers are passed on,
// where there is one: it depends on how Hasura finds out who asks.
func forwardsAs(ours Tree, theirs any) {
	t, there := theirs.(Tree)
	if _, says := ours[forward]; !says || !there {
		return
	}
	on, _ := t[forward].(bool)
	ours[forward] = on
}

// forwards notes what does not pass a client's headers on.
func (m *merger) forwards(name string, x Tree) {
	def, _ := x["definition"].(Tree)
	if def[forward] == false {
		m.unforwarded = append(m.unforwarded, name)
	}
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
		m.forwards(Name, alone)
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
// headers for one, stays, and so does what clients' headers are done with.
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
	forwardsAs(out, theirs)
	if headers != nil {
		out["headers"] = headers
	}
	return out
}

func (m *merger) permission(schema, ours Tree) {
	m.grant(schema, "permissions", ours, fmt.Sprint(schema["name"]))
}

// grant adds a role's permission to a list, or makes the one there is like it.
func (m *merger) grant(in Tree, key string, ours Tree, on string) {
	have, _ := in[key].([]any)
	for i, x := range have {
		if x, ok := x.(Tree); ok && x["role"] == ours["role"] {
			if !covers(x, ours, "") {
				m.change("~ permission of role %s on %s", ours["role"], on)
				have[i] = ours
			}
			return
		}
	}
	m.change("+ permission of role %s on %s", ours["role"], on)
	in[key] = append(have, any(ours))
}
