package hasura_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/hasura"
)

// theirs is a project that lives: a table of nchat's with rights of its own, a
// trigger, an action, a remote schema, and what else Hasura exports.
const theirs = `{"version":3,"sources":[{"name":"main","kind":"postgres","configuration":{"connection_info":{"database_url":{"from_env":"PG"}}},
 "functions":[{"function":{"schema":"public","name":"search"}}],
 "tables":[
  {"table":{"schema":"public","name":"orders"},"event_triggers":[{"name":"order_placed","webhook":"https://example.com","retry_conf":{"num_retries":0}}]},
  {"table":{"schema":"public","name":"nchat_messages"},"is_enum":false,
   "select_permissions":[{"role":"user","permission":{"columns":"*","filter":{"mine":true}}}],
   "insert_permissions":[{"role":"user","permission":{"check":{},"columns":["content"]}}],
   "remote_relationships":[{"name":"delivery","definition":{"to_remote_schema":{"remote_schema":"shop","lhs_fields":["id"],"remote_field":{"parcel":{"arguments":{"id":"$id"}}}}}}],
   "event_triggers":[{"name":"notify","webhook":"https://example.com/n","definition":{"insert":{"columns":"*"}}}]}]}],
 "remote_schemas":[{"name":"shop","definition":{"url":"https://shop.example.com"},"permissions":[{"role":"user","definition":{"schema":"schema { query: Q } type Q { a: Int }"}}]}],
 "actions":[{"name":"pay","definition":{"handler":"https://pay.example.com"}},{"name":"whoIsOnline","definition":{"handler":"https://elsewhere.example.com"}}],
 "custom_types":{"objects":[{"name":"Paid","fields":[{"name":"id","type":"uuid!"}]}],"scalars":[{"name":"money"}]},
 "cron_triggers":[{"name":"nightly","schedule":"0 0 * * *"}],
 "inherited_roles":[{"role_name":"x","role_set":["user"]}],"big":9007199254740993}`

func tree(t *testing.T, text string) hasura.Tree {
	t.Helper()
	var out hasura.Tree
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func str(t *testing.T, x any) string {
	t.Helper()
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func plan(t *testing.T) hasura.Plan {
	t.Helper()
	m, _ := project(t)
	return hasura.Plan{Ours: m, Roles: []string{"user", "me"}}
}

// keeps reports what of before is not in after, at the same place.
func keeps(before, after any, at string) (lost []string) {
	switch b := before.(type) {
	case hasura.Tree:
		a, _ := after.(hasura.Tree)
		for k, x := range b {
			lost = append(lost, keeps(x, a[k], at+"."+k)...)
		}
	case []any:
		a, _ := after.([]any)
		for _, x := range b {
			if !slices.ContainsFunc(a, func(y any) bool { return len(keeps(x, y, at)) == 0 }) {
				lost = append(lost, at)
			}
		}
	default:
		if before != after {
			lost = append(lost, at)
		}
	}
	return lost
}

// TestMergeDropsNothing, changes nothing the second time, and Remove undoes it.
func TestMergeDropsNothing(t *testing.T) {
	t.Parallel()
	before := tree(t, theirs)
	merged, changes, kept, err := plan(t).Merge(before)
	if err != nil {
		t.Fatal(err)
	}
	if str(t, before) != str(t, tree(t, theirs)) {
		t.Error("what was given is changed")
	}
	if lost := keeps(before, merged, ""); len(lost) > 0 {
		t.Errorf("lost: %v", lost)
	}
	all := str(t, merged)
	for _, want := range []string{`"nchat_realtime_message"`, `"nchat_realtime_user"`, `"nchat_realtime_expiry"`, `"presence_counts"`, `"setUserStatus"`, `"NchatUserStatus"`, `"role":"me"`} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if len(changes) < 15 || len(kept) != 2 {
		t.Errorf("%d changes, kept %q", len(changes), kept)
	}
	for _, x := range merged["sources"].([]any)[0].(hasura.Tree)["tables"].([]any) { // rights are theirs, where any of nchat's tables was
		if s := str(t, x); strings.Contains(s, "nchat_users") && strings.Contains(s, "select_permissions") {
			t.Errorf("rights are added: %s", s)
		}
	}
	p := plan(t)
	if _, _, _, err := p.Merge(before); err != nil {
		t.Fatal(err)
	}
	again, changes, _, err := p.Merge(merged)
	if err != nil || len(changes) > 0 || str(t, again) != str(t, merged) {
		t.Errorf("run twice: %q %v", changes, err)
	}
	gone, removed, err := hasura.Remove(merged)
	if err != nil || strings.Contains(str(t, gone), "nchat_realtime") || strings.Contains(str(t, gone), "NCHAT_REALTIME_URL") || len(removed) < 12 {
		t.Errorf("removed %q, left %s %v", removed, str(t, gone), err)
	}
	if lost := keeps(before, gone, ""); len(lost) > 0 {
		t.Errorf("removing loses %v", lost)
	}
}

// TestMergeAfterExport: Hasura exports what it was given in its own form.
func TestMergeAfterExport(t *testing.T) {
	t.Parallel()
	merged, _, _, err := plan(t).Merge(tree(t, theirs))
	if err != nil {
		t.Fatal(err)
	}
	rs := merged["remote_schemas"].([]any)[1].(hasura.Tree)
	def := rs["definition"].(hasura.Tree)
	delete(def, "timeout_seconds") // its default
	sdl := rs["permissions"].([]any)[0].(hasura.Tree)["definition"].(hasura.Tree)
	sdl["schema"] = strings.ReplaceAll(strings.ReplaceAll(sdl["schema"].(string), "\n", " "), "  ", " ") // printed anew
	for _, a := range merged["actions"].([]any) {
		d := a.(hasura.Tree)["definition"].(hasura.Tree)
		delete(d, "timeout")
		if d["type"] == "mutation" {
			delete(d, "type")
		}
	}
	if _, changes, _, err := plan(t).Merge(merged); err != nil || len(changes) > 0 {
		t.Errorf("%q %v", changes, err)
	}
	// What is ours and was changed is mended; a role of theirs on our schema stays.
	sdl["schema"] = "schema { query: Query } type Query { myPresence: Int }"
	rs["permissions"] = append(rs["permissions"].([]any), hasura.Tree{"role": "moderator", "definition": hasura.Tree{"schema": "x"}})
	def["url"] = "http://old.example.com"
	mended, changes, _, err := plan(t).Merge(merged)
	if err != nil || len(changes) != 2 || !strings.Contains(str(t, mended), `"moderator"`) || strings.Contains(str(t, mended), "old.example.com") {
		t.Errorf("%q %v", changes, err)
	}
}

func TestMergeIntoNothingAndIntoMany(t *testing.T) {
	t.Parallel()
	fresh, _, _, err := plan(t).Merge(tree(t, `{"version":3,"sources":[]}`))
	if err != nil || !strings.Contains(str(t, fresh), `"select_permissions"`) {
		t.Errorf("an empty Hasura: %v", err)
	}
	tracked, _, _, err := plan(t).Merge(tree(t, `{"version":3,"sources":[{"name":"default","kind":"postgres","tables":[]}]}`))
	if err != nil || !strings.Contains(str(t, tracked), `"members"`) {
		t.Errorf("a Hasura without tables: %v", err)
	}
	two := tree(t, `{"version":3,"sources":[{"name":"a","tables":[]},{"name":"b","tables":[]}]}`)
	if _, _, _, err := plan(t).Merge(two); err == nil || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("two databases: %v", err)
	}
	p := plan(t)
	p.Source = "b"
	m, _, _, err := p.Merge(two)
	if err != nil || len(m["sources"].([]any)[0].(hasura.Tree)["tables"].([]any)) != 0 {
		t.Errorf("--source b: %v", err)
	}
	p.Custom = hasura.Customize("Rt", "realtime")
	m, _, _, err = p.Merge(two)
	if err != nil || hasura.Namespace(m) != "realtime" || !bytes.Contains([]byte(str(t, m)), []byte(`"mapping":{"jsonb":"jsonb"`)) {
		t.Errorf("customized: %v", err)
	}
}

// TestMergeKeepsWhatIsTheirsOfOurs: names that clients know, headers, actions
// and types that are like ours by name only, and the database.
func TestMergeKeepsWhatIsTheirsOfOurs(t *testing.T) {
	t.Parallel()
	p := plan(t)
	p.Custom = hasura.Customize("Rt", "realtime")
	first, _, _, err := p.Merge(tree(t, theirs))
	if err != nil {
		t.Fatal(err)
	}
	def := first["remote_schemas"].([]any)[1].(hasura.Tree)["definition"].(hasura.Tree)
	def["headers"] = append(def["headers"].([]any), hasura.Tree{"name": "x-trace", "value": "on"})
	if _, changes, _, err := plan(t).Merge(first); err != nil || len(changes) != 0 {
		t.Errorf("applied again without its flags: %q %v", changes, err)
	}
	def["timeout_seconds"] = json.Number("5") // as of another version
	again, changes, _, err := plan(t).Merge(first)
	if err != nil || len(changes) != 1 || hasura.Namespace(again) != "realtime" || !strings.Contains(str(t, again), "x-trace") {
		t.Errorf("upgraded: %q %v", changes, err)
	}
	foreign := tree(t, `{"version":3,"sources":[],
 "actions":[{"name":"setUserStatus","definition":{"handler":"{{APP_URL}}/api/hasura/actions/setUserStatus","output_type":"NchatUserStatus!"}}],
 "custom_types":{"objects":[{"name":"NchatUserStatus","fields":[{"name":"mood","type":"String!"}]}]}}`)
	merged, _, kept, err := plan(t).Merge(foreign)
	if err != nil || len(kept) != 2 || !strings.Contains(str(t, merged), "APP_URL") || !strings.Contains(str(t, merged), "mood") {
		t.Errorf("like ours by name: kept %q %v", kept, err)
	}
	two := tree(t, `{"version":3,"sources":[{"name":"default","tables":[]},{"name":"chat","tables":[{"table":{"schema":"public","name":"nchat_messages"}}]}]}`)
	merged, _, _, err = plan(t).Merge(two)
	if err != nil || len(merged["sources"].([]any)[0].(hasura.Tree)["tables"].([]any)) != 0 {
		t.Errorf("the database that has nchat's messages: %v", err)
	}
	p = plan(t)
	p.Source = "default"
	if merged, _, _, err = p.Merge(two); err != nil {
		t.Fatal(err)
	}
	if _, changes, _, err = plan(t).Merge(merged); err != nil || len(changes) != 0 {
		t.Errorf("--source is forgotten: %q %v", changes, err)
	}
}

// definitions are those of the remote schema and of the actions that are ours.
func definitions(merged hasura.Tree) (out []hasura.Tree) {
	for _, x := range append(merged["remote_schemas"].([]any), merged["actions"].([]any)...) {
		if def := x.(hasura.Tree)["definition"].(hasura.Tree); def["forward_client_headers"] != nil {
			out = append(out, def)
		}
	}
	return out
}

// TestForwardingIsTheirs: switched off where Hasura authenticates by a webhook, it
// stays off, also when something else of ours changes; and that is said.
func TestForwardingIsTheirs(t *testing.T) {
	t.Parallel()
	off, _, kept, err := plan(t).Merge(tree(t, `{"version":3,"sources":[]}`))
	if err != nil || len(kept) > 0 || len(definitions(off)) != 5 {
		t.Fatalf("%d %q %v", len(definitions(off)), kept, err)
	}
	for i, def := range definitions(off) {
		if def["forward_client_headers"] != true {
			t.Errorf("added without: %v", def)
		}
		if def["forward_client_headers"] = false; i > 2 {
			delete(def, "forward_client_headers") // as Hasura exports it of actions
		}
	}
	const want = "forward_client_headers is off on nchat_realtime, setUserStatus, markChannelRead, sendChatMessage, whoIsOnline: left as it is"
	if _, changes, kept, err := plan(t).Merge(off); err != nil || len(changes) > 0 || !slices.Equal(kept, []string{want}) {
		t.Errorf("%q %q %v", changes, kept, err)
	}
	for _, key := range []string{"remote_schemas", "actions"} {
		off[key].([]any)[0].(hasura.Tree)["comment"] = "of an older version"
		off[key].([]any)[0].(hasura.Tree)["definition"].(hasura.Tree)["timeout"] = json.Number("7")
	}
	newer, changes, _, err := plan(t).Merge(off)
	if err != nil || len(changes) != 2 || strings.Contains(str(t, newer), `"forward_client_headers":true`) {
		t.Errorf("%q %v", changes, err)
	}
}

func TestImpatientTriggers(t *testing.T) {
	t.Parallel()
	if lines := hasura.Impatient(tree(t, `{"sources":[{"tables":[{"event_triggers":[{"name":"nchat_realtime_user","retry_conf":{"num_retries":0}},{"name":"theirs"},{"name":"nchat_realtime_message","retry_conf":{"num_retries":3}}]}]}]}`)); len(lines) != 1 {
		t.Errorf("impatient: %q", lines)
	}
}
