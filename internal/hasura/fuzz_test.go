package hasura_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/hasura"
)

// FuzzMerge: into whatever metadata the project is put once: after that nothing is
// to be done, and what was there before is untouched.
func FuzzMerge(f *testing.F) {
	f.Add(theirs)
	f.Add(`{}`)
	f.Add(`{"sources":[{"name":"a","tables":[{"table":"nchat_messages","remote_relationships":[{"name":"presence"}],"event_triggers":[{}]}]}],"remote_schemas":[{"name":"nchat_realtime","permissions":{},"definition":[]}]}`)
	f.Add(`{"sources":[{"kind":"postgres","tables":[1,{"table":{"name":"nchat_users"}}]}],"actions":[{"name":"whoIsOnline","definition":{"handler":"{{NCHAT_REALTIME_URL}}/hasura/actions/x"},"permissions":null}],"custom_types":[]}`)
	f.Add(`{"remote_schemas":[{"name":"nchat_realtime","definition":{"headers":[{"name":{}},1],"customization":[]},"permissions":[null]}],"cron_triggers":[{"name":"nchat_realtime_expiry","headers":[{"name":[]}],"retry_conf":{"num_retries":"x"}}]}`)
	m, err := hasura.Project()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var in hasura.Tree
		if d.Decode(&in) != nil || in == nil {
			return
		}
		before := str(t, in)
		p := hasura.Plan{Ours: m, Roles: []string{"user", "me"}}
		once, changes, _, err := p.Merge(in)
		if str(t, in) != before {
			t.Fatalf("what was given is changed: %s", before)
		}
		if err != nil {
			return
		}
		again, more, _, err := p.Merge(tree(t, str(t, once)))
		if err != nil || len(more) > 0 || str(t, again) != str(t, once) {
			t.Fatalf("%q, and then again %q, %v", changes, more, err)
		}
		hasura.Impatient(once)
		hasura.Namespace(once)
	})
}
