package hasura

import (
	"context"
	"net/http"
)

// Through is what Hasura would do to an operation of ours besides passing it on.
type Through struct {
	Roles map[string]string // what each role is granted of our remote schema, as SDL
	Why   []string          // why an operation must not go round Hasura; none: it may, within what its role is granted
}

// Examine looks whether an operation of our fields may be answered without
// Hasura, and nothing of Hasura's is gone round by it.
func (c Client) Examine(ctx context.Context) (Through, error) {
	t := Through{Roles: map[string]string{}}
	var is struct {
		Allow       *bool `json:"is_allow_list_enabled"`
		Permissions *bool `json:"is_remote_schema_permissions_enabled"`
	}
	if err := c.ask(ctx, http.MethodGet, "/v1alpha1/config", nil, Tree{}, &is); err != nil {
		return t, err
	}
	say := func(wrong bool, why string) {
		if wrong {
			t.Why = append(t.Why, why)
		}
	}
	say(is.Allow == nil || *is.Allow, "an allow list is enabled, or Hasura does not say that none is")
	say(is.Permissions == nil || !*is.Permissions, "remote schema permissions are not enforced")
	now, _, err := c.Export(ctx)
	if err != nil {
		return t, err
	}
	limits, _ := now["api_limits"].(Tree)
	say(len(limits) > 0 && limits["disabled"] != true, "Hasura has api limits")
	say(CustomOf(now) != nil, "the remote schema's names are customized")
	wrong, err := c.Inconsistent(ctx)
	if err != nil {
		return t, err
	}
	say(len(wrong) > 0, "Hasura's metadata are inconsistent")
	found := false
	for _, rs := range list(now, "remote_schemas") {
		if text(rs, "name") != Name {
			continue
		}
		found = true
		for _, p := range list(rs, "permissions") {
			t.Roles[text(p, "role")] = text(p, "definition", "schema")
		}
	}
	say(!found, "this server is not a remote schema of Hasura's")
	return t, nil
}
