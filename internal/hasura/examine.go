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

// Ungranted are remote schemas of the app's own without a permission: with remote
// schema permissions enforced, which holds for all of them, only admins see those.
func Ungranted(t Tree) (lines []string) {
	for _, rs := range list(t, "remote_schemas") {
		if text(rs, "name") != Name && len(list(rs, "permissions")) == 0 {
			lines = append(lines, fmt.Sprintf("remote schema %s has no permission: with HASURA_GRAPHQL_ENABLE_REMOTE_SCHEMA_PERMISSIONS=true it is hidden from every role but admin", text(rs, "name")))
		}
	}
	return lines
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

// Reaches reports whether Hasura, with these metadata, reaches this server with
// the right secret, for operations and for actions. Of actions it asks one of
// ours: what another's of that name does is not known.
func (c Client) Reaches(ctx context.Context, now Tree) error {
	custom := CustomOf(now)
	field := custom.field("Query", "realtimeConfig") + " { " + custom.field("RealtimeConfig", "serverTime") + " }"
	if namespace := Namespace(now); namespace != "" {
		field = namespace + " { " + field + " }"
	}
	if err := c.Query(ctx, nil, "{ "+field+" }"); err != nil {
		return fmt.Errorf("the remote schema: %w", err)
	}
	if !slices.ContainsFunc(list(now, "actions"), func(a Tree) bool { return text(a, "name") == "whoIsOnline" && isOurAction(a) }) {
		return nil
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
				if strings.HasPrefix(text(e, "name"), Name) && !triesAgain(e) {
					lines = append(lines, text(e, "name")+" has num_retries 0: what fails once is lost")
				}
			}
		}
	}
	return lines
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

// field is how Hasura calls a field of a type of ours.
func (c *Customization) field(of, name string) string {
	if c == nil {
		return name
	}
	for _, x := range c.FieldNames {
		if x.ParentType != of {
			continue
		}
		if as, ok := x.Mapping[name]; ok {
			return as
		}
		return x.Prefix + name + x.Suffix
	}
	return name
}
