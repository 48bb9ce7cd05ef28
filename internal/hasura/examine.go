package hasura

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Version is Hasura's own. Errors where it is none of version 2.
func (c Client) Version(ctx context.Context) (string, error) {
	var out struct {
		Version string `json:"version"`
	}
	if err := c.ask(ctx, http.MethodGet, "/v1/version", nil, Tree{}, &out); err != nil {
		return "", err
	}
	if !strings.HasPrefix(strings.TrimPrefix(out.Version, "v"), "2.") {
		return out.Version, fmt.Errorf("version %s: this server is made for version 2", out.Version)
	}
	return out.Version, nil
}

// Enforces reports whether roles see of a remote schema what they are granted,
// and not all of it.
func (c Client) Enforces(ctx context.Context) error {
	var out struct {
		Permissions *bool `json:"is_remote_schema_permissions_enabled"`
	}
	if err := c.ask(ctx, http.MethodGet, "/v1alpha1/config", nil, Tree{}, &out); err != nil {
		return err
	}
	if out.Permissions == nil || !*out.Permissions {
		return errors.New("remote schema permissions are not enforced: every role sees all of the remote schema")
	}
	return nil
}

// Query runs an operation on Hasura's schema.
func (c Client) Query(ctx context.Context, header http.Header, query string) error {
	var out struct {
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := c.ask(ctx, http.MethodPost, "/v1/graphql", header, Tree{"query": query}, &out); err != nil {
		return err
	}
	if len(out.Errors) > 0 {
		return errors.New(out.Errors[0].Message)
	}
	return nil
}

// Reaches reports whether Hasura reaches this server with the right secret, for
// operations and for actions.
func (c Client) Reaches(ctx context.Context, namespace string) error {
	field := "realtimeConfig { serverTime }"
	if namespace != "" {
		field = namespace + " { " + field + " }"
	}
	if err := c.Query(ctx, nil, "{ "+field+" }"); err != nil {
		return fmt.Errorf("the remote schema: %w", err)
	}
	const nobody = "00000000-0000-0000-0000-000000000000"
	err := c.Query(ctx, nil, `{ whoIsOnline(channelId: "`+nobody+`") { userId } }`)
	if err != nil && !strings.Contains(err.Error(), "access denied") { // that is this server's own answer
		return fmt.Errorf("an action: %w", err)
	}
	return nil
}

// Impatient are event triggers of ours that lose what fails once.
func Impatient(t Tree) (lines []string) {
	for _, s := range list(t, "sources") {
		for _, table := range list(s, "tables") {
			for _, e := range list(table, "event_triggers") {
				conf, _ := e["retry_conf"].(Tree)
				if n, _ := conf["num_retries"].(json.Number); strings.HasPrefix(text(e, "name"), Name) && (n == "" || n == "0") {
					lines = append(lines, text(e, "name")+" has num_retries 0: what fails once is lost")
				}
			}
		}
	}
	return lines
}

// owned are nchat's tables that this server believes, and the column that says whose a row is.
var owned = map[string]string{"nchat_contacts": "user_id", "nchat_blocked_users": "blocker_id", "nchat_channel_members": "user_id", "nchat_messages": "user_id"}

// Forgeable are permissions by which a user role writes rows in another's name:
// into contacts, blocks, members or messages, without the row's user being
// bound to x-hasura-user-id.
func Forgeable(t Tree, roles []string) (lines []string) {
	for _, s := range list(t, "sources") {
		for _, table := range list(s, "tables") {
			id, _ := table["table"].(Tree)
			column, ok := owned[text(id, "name")]
			if !ok {
				continue
			}
			for key, rule := range map[string]string{"insert_permissions": "check", "update_permissions": "filter", "delete_permissions": "filter"} {
				for _, p := range list(table, key) {
					perm, _ := p["permission"].(Tree)
					safe := binds(perm[rule], column) || rule == "check" && sets(perm, column)
					if key == "update_permissions" && writes(perm, column) {
						safe = safe && (binds(perm["check"], column) || sets(perm, column))
						rule = "filter and check"
					}
					if role := text(p, "role"); slices.Contains(roles, role) && !safe {
						lines = append(lines, fmt.Sprintf("role %s may %s %s for others: bind %s to X-Hasura-User-Id in its %s", role,
							strings.TrimSuffix(key, "_permissions"), text(id, "name"), column, rule))
					}
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// binds reports whether a condition holds only for the caller's own rows: every
// branch of an _or has to.
func binds(cond any, column string) bool {
	c, _ := cond.(Tree)
	for key, x := range c {
		switch key {
		case "_and":
			for _, part := range branches(x) {
				if binds(part, column) {
					return true
				}
			}
		case "_or":
			all := branches(x)
			if len(all) > 0 && !slices.ContainsFunc(all, func(part any) bool { return !binds(part, column) }) {
				return true
			}
		case column:
			if is, ok := x.(Tree); ok && isCaller(is["_eq"]) {
				return true
			}
		}
	}
	return false
}

func branches(x any) []any {
	l, _ := x.([]any)
	return l
}

// writes reports whether a role may put something else into the column.
func writes(perm Tree, column string) bool {
	return perm["columns"] == "*" || slices.Contains(branches(perm["columns"]), any(column))
}

// sets reports whether Hasura itself writes the caller into the column.
func sets(perm Tree, column string) bool {
	set, _ := perm["set"].(Tree)
	return isCaller(set[column])
}

func isCaller(x any) bool {
	s, ok := x.(string)
	return ok && strings.EqualFold(s, "x-hasura-user-id")
}

// Namespace is the field under which the remote schema's root fields stand; "": none.
func Namespace(t Tree) string {
	if c := CustomOf(t); c != nil {
		return c.RootFieldsNamespace
	}
	return ""
}

// CustomOf is the customization of the remote schema as it is; nil: none.
func CustomOf(t Tree) *Customization {
	for _, rs := range list(t, "remote_schemas") {
		def, _ := rs["definition"].(Tree)
		c, ok := def["customization"]
		if text(rs, "name") != Name || !ok {
			continue
		}
		var out Customization
		if b, err := json.Marshal(c); err == nil && json.Unmarshal(b, &out) == nil {
			return &out
		}
	}
	return nil
}
