package hasura_test

import (
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/hasura"
)

// fromBefore are ours as an apply left them that knew no mark: the action is there,
// and answers what the app has by that name.
const fromBefore = `"actions":[{"name":"setUserStatus","definition":{"handler":"{{NCHAT_REALTIME_URL}}/hasura/actions/setUserStatus","output_type":"NchatUserStatus"}}],`

// TestATypeOfTheirsIsNeverReplaced, by the first apply nor by the next: of whatever
// kind it is, it is named, and nothing is changed.
func TestATypeOfTheirsIsNeverReplaced(t *testing.T) {
	t.Parallel()
	for at, types := range map[string]string{
		"type NchatUserStatus":       `"objects":[{"name":"NchatUserStatus","fields":[{"name":"mood","type":"String!"}]}]`,
		"enum NchatUserStatus":       `"enums":[{"name":"NchatUserStatus","values":[{"value":"up"}]}]`,
		"input type NchatUserStatus": `"input_objects":[{"name":"NchatUserStatus","fields":[{"name":"mood","type":"String!"}]}]`,
		"scalar NchatUserStatus":     `"scalars":[{"name":"NchatUserStatus"}]`,
	} {
		for _, actions := range []string{"", fromBefore} {
			in := tree(t, `{"version":3,"sources":[],`+actions+`"custom_types":{`+types+`}}`)
			_, changes, _, err := plan(t).Merge(in)
			if err == nil || len(changes) > 0 || strings.Count(err.Error(), "! ") != 1 ||
				!strings.Contains(err.Error(), at+" is none that apply wrote, and not what action setUserStatus answers; to mend: rename yours") {
				t.Errorf("%s: %q %v", at, changes, err)
			}
			if gone, _, err := hasura.Remove(in); err != nil || str(t, gone["custom_types"]) != str(t, in["custom_types"]) {
				t.Errorf("%s: removing leaves %s %v", at, str(t, gone), err)
			}
		}
	}
}

// TestATypeLikeOursServes: it is left as it is, and is never made ours.
func TestATypeLikeOursServes(t *testing.T) {
	t.Parallel()
	const alike = `[{"fields":[{"name":"userId","type":"uuid!"},{"name":"status","type":"String!"}],"name":"NchatMemberStatus"}]`
	in := tree(t, `{"version":3,"sources":[],"custom_types":{"objects":`+alike+`}}`)
	once, _, kept, err := plan(t).Merge(in)
	if err != nil || len(kept) > 0 || !strings.Contains(str(t, once), alike[1:len(alike)-1]) || strings.Count(str(t, once), `"nchat_realtime: `) != 3 {
		t.Errorf("%q %v: %s", kept, err, str(t, once["custom_types"]))
	}
	if _, changes, kept, err := plan(t).Merge(once); err != nil || len(changes) > 0 || len(kept) > 0 {
		t.Errorf("again: %q %q %v", changes, kept, err)
	}
	named(t, once["custom_types"].(hasura.Tree), "objects", "NchatMemberStatus")["fields"] = []any{}
	if _, _, _, err := plan(t).Merge(once); err == nil {
		t.Error("theirs is replaced once it is another")
	}
}
