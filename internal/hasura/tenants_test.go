package hasura_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/hasura"
)

// TestPermissionsThatNameATenant show its rows to everybody: those we ship do, for a
// token need not say whose it is. Where permissions there ask the token, ours do.
func TestPermissionsThatNameATenant(t *testing.T) {
	t.Parallel()
	a := hasura.Access{Roles: []string{"user", "me"}}
	p := plan(t)
	p.View = true
	shipped, _, _, err := p.Merge(tree(t, `{"version":3,"sources":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	found, tenants := a.OneTenant(shipped)
	if len(found) != 8 || slices.ContainsFunc(tenants, func(s string) bool { return s != "primary" }) { // users, channels, messages and the view
		t.Errorf("%q %q", found, tenants)
	}
	for filter, want := range map[string]string{
		`{"source_account_id":{"_eq":"acme"}}`: "acme",
		`{"source_account_id":"acme"}`:         "acme",
		`{"_or":[{"channel":{"source_account_id":{"_in":["b","a"]}}},{"user_id":{"_eq":"X-Hasura-User-Id"}}]}`:       "a, b",
		`{"source_account_id":{"_eq":"x-hasura-source-account-id"}}`:                                                 "",
		`{"user_id":{"_eq":"X-Hasura-User-Id"}}`:                                                                     "",
		`{"_and":[{"source_account_id":{"_eq":"X-Hasura-Source-Account-Id"}},{"name":{"_eq":"source_account_id"}}]}`: "",
		`{"_not":{"channel":{"source_account_id":{"_eq":"acme"}}},"source_account_id":{"_in":["X-Hasura-Account"]}}`: "acme",
	} {
		found, tenants := a.OneTenant(tree(t, tables("nchat_messages", perm("select", `{"filter":`+filter+`,"columns":"*"}`))))
		if want == "" && len(found) > 0 || want != "" && (len(found) != 1 || !strings.Contains(found[0].Reason, "tenant "+want+" to") || strings.Join(tenants, ", ") != want) {
			t.Errorf("%s: %q %q", filter, found, tenants)
		}
	}
	if found, _ := a.OneTenant(tree(t, tables("orders", perm("select", `{"filter":{"tenant":"acme"},"columns":"*"}`)))); len(found) > 0 {
		t.Errorf("the app's own: %q", found)
	}

	// As the mend says it, or as the app has it: apply follows, and leaves it so.
	for what, in := range map[string]string{
		"what we shipped": strings.ReplaceAll(str(t, shipped), `"primary"`, `"X-Hasura-Source-Account-Id"`),
		"the app's own":   tables("orders", perm("select", `{"filter":{"source_account_id":{"_eq":"x-hasura-source-account-id"}},"columns":"*"}`)),
	} {
		if what == "the app's own" {
			in = strings.Replace(in, "nchat_channels", "rooms", 1)
		}
		merged, changes, _, err := p.Merge(tree(t, in))
		if found, _ := a.OneTenant(merged); err != nil || len(found) > 0 || strings.Contains(str(t, merged), `"primary"`) || what == "what we shipped" && len(changes) > 0 {
			t.Errorf("%s: %q %q %v", what, found, changes, err)
		}
		if n := strings.Count(str(t, merged), `{"_eq":"X-Hasura-Source-Account-Id"}`); n != 8 {
			t.Errorf("%s: %d permissions ask for the tenant", what, n)
		}
		if _, changes, _, err := p.Merge(merged); err != nil || len(changes) > 0 {
			t.Errorf("%s, again: %q %v", what, changes, err)
		}
	}
}
