package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/door"
	"github.com/nself-org/nchat-realtime/internal/hasura"
	"github.com/nself-org/nchat-realtime/internal/roster"
)

// hasuraChecks look at a running Hasura; without its address there are none.
func hasuraChecks(c config.Config, pool *pgxpool.Pool) []check {
	if c.HasuraUpstream == "" {
		return []check{{"hasura", func(context.Context) (string, error) { return "not looked at: HASURA_UPSTREAM_URL is not set", nil }, ""}}
	}
	h := hasura.Client{Endpoint: c.HasuraUpstream, AdminSecret: c.AdminSecret}
	lines := func(list []string, err error) error {
		if err == nil && len(list) > 0 {
			err = errors.New(strings.Join(list, "; "))
		}
		return err
	}
	return []check{
		{"hasura", h.Version, "check HASURA_UPSTREAM_URL and that Hasura, version 2, runs there"},
		{"metadata", func(ctx context.Context) (string, error) { return applied(ctx, h, c) },
			"run nchat-realtime hasura apply (with --dry-run first, to see what that changes); a wrong admin secret fails here too"},
		{"consistent", func(ctx context.Context) (string, error) {
			list, err := h.Inconsistent(ctx)
			return "Hasura has no inconsistent metadata", lines(list, err)
		}, "mend what Hasura names, then reload its metadata with the remote schemas"},
		{"permission", func(ctx context.Context) (string, error) { return enforced(ctx, h) },
			"set HASURA_GRAPHQL_ENABLE_REMOTE_SCHEMA_PERMISSIONS=true on Hasura, and grant roles on your own remote schemas first"},
		{"secrets", func(ctx context.Context) (string, error) {
			now, _, err := h.Export(ctx)
			if err == nil {
				err = h.Reaches(ctx, now)
			}
			return "the admin secret and the webhook secret match", err
		}, "give Hasura NCHAT_REALTIME_URL and the same HASURA_WEBHOOK_SECRET, and this server Hasura's admin secret; the server must run"},
		{"schema", func(ctx context.Context) (string, error) {
			list, err := conflicts(ctx, c)
			if errors.Is(err, door.ErrHidden) {
				return "Hasura hides its schema, and so does the one endpoint", nil
			}
			return "this server's subscriptions are shown in Hasura's schema", lines(list, err)
		}, "rename the type in Hasura, or apply with --type-prefix; the subscriptions work all the same, and are not in introspection at /v1/graphql"},
		{"tokens", func(ctx context.Context) (string, error) { return sameKey(ctx, h, c) }, "give both the very same HASURA_GRAPHQL_JWT_SECRET"},
		{"retries", func(ctx context.Context) (string, error) {
			now, _, err := h.Export(ctx)
			return "event triggers try again", lines(hasura.Impatient(now), err)
		}, "set num_retries of these event triggers, or run nchat-realtime hasura apply"},
		{"access", func(ctx context.Context) (string, error) {
			now, _, err := h.Export(ctx)
			var found []string
			for _, f := range (hasura.Access{Roles: c.UserRoles, Nobody: c.UnauthorizedRole, LegacyPresence: c.LegacyPresence}).Examine(now) {
				found = append(found, f.String())
			}
			return "Hasura's permissions tell nothing that is hidden here", lines(found, err)
		}, "change these permissions in Hasura, each as it says"},
		{"tenants", func(ctx context.Context) (string, error) { return tenants(ctx, h, c, pool) }, "change these permissions in Hasura, each as it says; hasura apply keeps to it"},
	}
}

// applied looks whether Hasura has all that is ours. What was left as it is, is as
// it should be: it is said.
func applied(ctx context.Context, h hasura.Client, c config.Config) (string, error) {
	now, _, err := h.Export(ctx)
	if err != nil {
		return "", err
	}
	ours, err := hasura.Project()
	if err != nil {
		return "", err
	}
	plan := hasura.Plan{Ours: ours, Roles: c.UserRoles, View: c.PresenceView}
	_, changes, kept, err := plan.Merge(now)
	if err == nil && len(changes) > 0 {
		err = fmt.Errorf("not as it should be: %s", strings.Join(changes, "; "))
	}
	return strings.Join(append([]string{"applied"}, kept...), "; "), err
}

// enforced looks whether roles see what they are granted, and names what of the
// app's own that hides, or will.
func enforced(ctx context.Context, h hasura.Client) (string, error) {
	now, _, err := h.Export(ctx)
	if err != nil {
		return "", err
	}
	hidden := ""
	for _, line := range hasura.Ungranted(now) {
		hidden += "; WARNING: " + line
	}
	if err := h.Enforces(ctx); err != nil {
		return "", fmt.Errorf("%w%s", err, hidden)
	}
	return "roles see what they are granted" + hidden, nil
}

// tenants looks for permissions that name a tenant, where there are others.
func tenants(ctx context.Context, h hasura.Client, c config.Config, pool *pgxpool.Pool) (string, error) {
	now, _, err := h.Export(ctx)
	if err != nil {
		return "", err
	}
	found, named := (hasura.Access{Roles: c.UserRoles, Nobody: c.UnauthorizedRole}).OneTenant(now)
	if len(found) == 0 {
		return "no permission names a tenant", nil
	}
	other, err := roster.TenantBesides(ctx, pool, named)
	if err != nil || other == "" {
		return "there is none but those that permissions name", err
	}
	lines := make([]string, len(found))
	for i, f := range found {
		lines[i] = f.String()
	}
	return "", fmt.Errorf("there is a tenant %.40q too: %s", other, strings.Join(lines, "; "))
}

// conflicts are the subscriptions of this server that Hasura's schema has no
// room for.
func conflicts(ctx context.Context, c config.Config) ([]string, error) {
	d, err := door.New(door.Options{Upstream: c.HasuraUpstream, Schema: generated.NewExecutableSchema(generated.Config{}).Schema()})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Conflicts(ctx, http.Header{"X-Hasura-Admin-Secret": {c.AdminSecret}})
}

// sameKey has Hasura verify a token of ours.
func sameKey(ctx context.Context, h hasura.Client, c config.Config) (string, error) {
	j, err := auth.ParseJWTConfig(c.JWTSecret)
	if err != nil {
		return "", err
	}
	token, err := auth.Mint(j, auth.Claims{User: uuid.New(), Role: c.UserRoles[0], TTL: time.Minute})
	if err != nil {
		return "not tried: " + err.Error(), nil //nolint:nilerr // that is an answer
	}
	name, value := j.Bears(token)
	return "Hasura takes this server's tokens", h.Query(ctx, http.Header{name: {value}}, "{ __typename }")
}
