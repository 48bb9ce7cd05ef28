package hasura

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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

// onto is one of theirs with ours laid over it: what they added to it stays.
func onto(theirs, ours Tree) Tree {
	out := maps.Clone(theirs)
	maps.Copy(out, ours)
	for _, key := range []string{"definition", "permission"} {
		if x, ok := ours[key].(Tree); ok {
			out[key] = over(theirs[key], x)
		}
	}
	if x, ok := ours["permissions"]; ok {
		out["permissions"] = beside(theirs["permissions"], x, func(a, b Tree) bool { return text(a, "role") == text(b, "role") })
	}
	if x, ok := ours["headers"]; ok {
		out["headers"] = beside(theirs["headers"], x, sameHeader)
	}
	if _, ok := ours["webhook"]; ok {
		delete(out, "webhook_from_env") // one of the two
	}
	if triesAgain(theirs) {
		out["retry_conf"] = theirs["retry_conf"]
	}
	return out
}

// beside are two lists as one: ours, and of theirs what is none of these.
func beside(theirs, ours any, same func(a, b Tree) bool) []any {
	out := slices.Clone(branches(ours))
	for _, x := range branches(theirs) {
		t, _ := x.(Tree)
		if !slices.ContainsFunc(branches(ours), func(y any) bool { o, _ := y.(Tree); return same(t, o) }) {
			out = append(out, x)
		}
	}
	return out
}

func sameHeader(a, b Tree) bool { return strings.EqualFold(text(a, "name"), text(b, "name")) }

// triesAgain reports whether a trigger's failed delivery is repeated.
func triesAgain(trigger Tree) bool {
	conf, _ := trigger["retry_conf"].(Tree)
	n, _ := conf["num_retries"].(json.Number)
	return n != "" && n != "0"
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
		def, _ := ours["definition"].(Tree)
		alone["definition"] = over(x["definition"], def)
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
// headers and names of their own for one, stays, and so does what clients' headers
// are done with.
func over(theirs any, ours Tree) Tree {
	out := Tree{}
	t, _ := theirs.(Tree)
	maps.Copy(out, t)
	maps.Copy(out, ours)
	forwardsAs(out, theirs)
	if x, ok := ours["headers"]; ok {
		out["headers"] = beside(t["headers"], x, sameHeader)
	}
	if x, ok := ours["customization"]; ok {
		out["customization"] = within(t["customization"], x)
	}
	if _, ok := ours["url"]; ok {
		delete(out, "url_from_env") // one of the two
	}
	return out
}

// within is an object of theirs with ours put into it, at whatever depth.
func within(theirs, ours any) any {
	o, ok := ours.(Tree)
	t, is := theirs.(Tree)
	if !ok || !is {
		return ours
	}
	out := maps.Clone(t)
	for key, x := range o {
		out[key] = within(t[key], x)
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
			if ours = onto(x, ours); !covers(x, ours, "") {
				m.change("~ permission of role %s on %s", ours["role"], on)
				have[i] = ours
			}
			return
		}
	}
	m.change("+ permission of role %s on %s", ours["role"], on)
	in[key] = append(have, any(ours))
}
