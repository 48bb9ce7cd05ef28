package hasura_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/hasura"
)

// named is the object of that name in a list.
func named(t *testing.T, in hasura.Tree, key, name string) hasura.Tree {
	t.Helper()
	for _, x := range in[key].([]any) {
		if x := x.(hasura.Tree); x["name"] == name {
			return x
		}
	}
	t.Fatalf("no %s in %s", name, key)
	return nil
}

// inTable is an object of a list of a table.
func inTable(t *testing.T, merged hasura.Tree, table, key, name string) hasura.Tree {
	t.Helper()
	for _, x := range merged["sources"].([]any)[0].(hasura.Tree)["tables"].([]any) {
		if x := x.(hasura.Tree); x["table"].(hasura.Tree)["name"] == table {
			return named(t, x, key, name)
		}
	}
	t.Fatalf("no table %s", table)
	return nil
}

// added is what an app may add to what is ours: each key with what is put in.
const added = `{
 "action": {"permissions": [{"role": "moderator"}], "definition": {"headers": [{"name": "x-app", "value": "1"}], "request_transform": {"version": 2}}},
 "type": {"relationships": [{"name": "user", "type": "object"}]},
 "event": {"headers": [{"name": "x-app-event", "value": "2"}], "retry_conf": {"num_retries": 4, "interval_sec": 7}, "cleanup_config": {"paused": true}},
 "cron": {"headers": [{"name": "x-app-cron", "value": "3"}], "retry_conf": {"num_retries": 9}},
 "schema": {"definition": {"customization": {"root_fields_namespace": "live", "type_names": {"suffix": "_rt", "mapping": {"Message": "Chat"}},
  "field_names": [{"parent_type": "Query", "prefix": "rt_", "mapping": {"sync": "catchUp"}}]}}, "remote_relationships": [{"type_name": "Presence"}]}}`

// put adds what is in more: to lists and objects, and in the place of all else.
func put(in, more hasura.Tree) {
	for key, x := range more {
		switch x := x.(type) {
		case []any:
			have, _ := in[key].([]any)
			in[key] = append(have, x...)
		case hasura.Tree:
			have, _ := in[key].(hasura.Tree)
			if have == nil || key == "retry_conf" {
				have = hasura.Tree{}
			}
			in[key] = have
			put(have, x)
		default:
			in[key] = x
		}
	}
}

// TestWhatTheyAddToOursStays: roles, headers, retries, names and what else the
// console knows; and nothing is to be done about it, nor is it lost when ours
// changes.
func TestWhatTheyAddToOursStays(t *testing.T) {
	t.Parallel()
	m, _, _, err := plan(t).Merge(tree(t, `{"version":3,"sources":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	more := tree(t, added)
	ours := map[string]hasura.Tree{
		"action": named(t, m, "actions", "setUserStatus"), "type": named(t, m["custom_types"].(hasura.Tree), "objects", "NchatUserStatus"),
		"event": inTable(t, m, "nchat_messages", "event_triggers", "nchat_realtime_message"),
		"cron":  named(t, m, "cron_triggers", "nchat_realtime_expiry"), "schema": named(t, m, "remote_schemas", "nchat_realtime"),
	}
	for key, x := range ours {
		put(x, more[key].(hasura.Tree))
	}
	before := str(t, m)
	if _, changes, _, err := plan(t).Merge(m); err != nil || len(changes) > 0 {
		t.Errorf("to be undone: %q %v", changes, err)
	}
	for key, x := range ours { // as of another version
		switch key {
		case "type":
			x["fields"] = []any{}
		case "event":
			delete(x, "webhook")
			x["webhook_from_env"] = "OLD_ADDRESS"
		case "schema":
			x["comment"], x["definition"].(hasura.Tree)["url_from_env"] = "old", "OLD_ADDRESS"
		default:
			x["comment"] = "old"
		}
	}
	newer, changes, _, err := plan(t).Merge(m)
	if err != nil || len(changes) != len(ours) {
		t.Errorf("%q %v", changes, err)
	}
	if lost := keeps(tree(t, before), newer, ""); len(lost) > 0 || strings.Contains(str(t, newer), "OLD_ADDRESS") { // Hasura takes one address
		t.Errorf("lost: %q", lost)
	}
	inTable(t, newer, "nchat_messages", "event_triggers", "nchat_realtime_message")["retry_conf"] = hasura.Tree{"num_retries": 0}
	newer, changes, _, err = plan(t).Merge(newer)
	if err != nil || len(changes) != 1 || len(hasura.Impatient(newer)) > 0 {
		t.Errorf("what is never tried again: %q %v", changes, err)
	}
}

// TestNamesAreAddedToNames: --type-prefix alone leaves the namespace and what the
// console put there, and the other way round.
func TestNamesAreAddedToNames(t *testing.T) {
	t.Parallel()
	m, _, _, err := plan(t).Merge(tree(t, `{"version":3,"sources":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	put(named(t, m, "remote_schemas", "nchat_realtime"), tree(t, added)["schema"].(hasura.Tree))
	p := plan(t)
	p.Custom = hasura.Customize("Rt", "")
	m, changes, _, err := p.Merge(m)
	if err != nil || len(changes) != 1 {
		t.Errorf("%q %v", changes, err)
	}
	const names = `"customization":{"field_names":[{"mapping":{"sync":"catchUp"},"parent_type":"Query","prefix":"rt_"}],"root_fields_namespace":"live",` +
		`"type_names":{"mapping":{"Message":"Chat","jsonb":"jsonb","timestamptz":"timestamptz","uuid":"uuid"},"prefix":"Rt","suffix":"_rt"}}`
	if got := str(t, m); !strings.Contains(got, names) {
		t.Errorf("%s", got[strings.Index(got, `"customization"`):][:400])
	}
	p.Custom = hasura.Customize("", "now")
	if m, _, _, err = p.Merge(m); err != nil || hasura.Namespace(m) != "now" || !strings.Contains(str(t, m), strings.ReplaceAll(names, `"live"`, `"now"`)) {
		t.Errorf("a namespace: %v", err)
	}
}

// TestRemoveTakesWhatLeadsToUs: relationships of the app's own remote schemas, and of
// its tables in whatever form, without which Hasura would refuse it all; and none
// that lead elsewhere.
func TestRemoveTakesWhatLeadsToUs(t *testing.T) {
	t.Parallel()
	to := func(name, schema string) string {
		return `{"name":"` + name + `","definition":{"to_remote_schema":{"remote_schema":"` + schema + `","lhs_fields":["id"],"remote_field":{"presence":{"arguments":{"userId":"$id"}}}}}}`
	}
	m, _, _, err := plan(t).Merge(tree(t, `{"version":3,"sources":[{"name":"default","tables":[{"table":{"schema":"public","name":"orders"},"remote_relationships":[
 {"name":"old","definition":{"remote_schema":"nchat_realtime","hasura_fields":["id"],"remote_field":{}}},{"name":"older","definition":{"remote_schema":"cms"}}]}]}],
 "remote_schemas":[{"name":"crm","remote_relationships":[{"type_name":"Customer","relationships":[`+to("here", "nchat_realtime")+`,`+to("page", "cms")+`]},
 {"type_name":"Agent","relationships":[`+to("now", "nchat_realtime")+`]}]},{"name":"cms"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	left, changes, err := hasura.Remove(m)
	if err != nil || strings.Contains(str(t, left), "nchat_realtime") || !strings.Contains(str(t, left), `"page"`) || !strings.Contains(str(t, left), `"older"`) {
		t.Errorf("%v: %s", err, str(t, left))
	}
	for _, want := range []string{"- relationship of crm's Customer here", "- relationship of crm's Agent now", "- relationship old"} {
		if !slices.Contains(changes, want) {
			t.Errorf("it does not say %q: %q", want, changes)
		}
	}
}
