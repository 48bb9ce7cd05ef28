package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/hasura"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// standIn answers where a Hasura is looked for.
type standIn struct {
	metadata string
	open     bool                                     // it does not enforce permissions of remote schemas
	asked    func(query string, h http.Header) string // what is wrong with an operation; nil: nothing
	ran      []string                                 // the operations
	pool     *pgxpool.Pool                            // its database, where a check asks it
}

// look is what one of doctor's checks finds of it.
func (s *standIn) look(t *testing.T, name string, env map[string]string) (string, error) {
	t.Helper()
	s.ran = nil
	mux := http.NewServeMux()
	mux.HandleFunc("/v1alpha1/config", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, fmt.Sprintf(`{"is_remote_schema_permissions_enabled":%v}`, !s.open))
	})
	mux.HandleFunc("/v1/metadata", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"resource_version":1,"metadata":`+s.metadata+`}`)
	})
	mux.HandleFunc("/v1/graphql", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Query string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		s.ran = append(s.ran, body.Query)
		answer := `{"data":{}}`
		if s.asked != nil {
			if wrong := s.asked(body.Query, r.Header); wrong != "" {
				answer = fmt.Sprintf(`{"errors":[{"message":%q}]}`, wrong)
			}
		}
		_, _ = io.WriteString(w, answer)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	given := map[string]string{"HASURA_UPSTREAM_URL": srv.URL}
	for key, value := range env {
		given[key] = value
	}
	all := hasuraChecks(configured(t, "postgres://nobody@127.0.0.1:1/none", given), s.pool)
	at := slices.IndexFunc(all, func(k check) bool { return k.name == name })
	if at < 0 {
		t.Fatalf("there is no check of %s", name)
	}
	return all[at].look(t.Context())
}

// TestHasuraTakesOurTokens, with a claims_map that wants more of them than we know
// of; and where none can be made, doctor says why.
func TestHasuraTakesOurTokens(t *testing.T) {
	t.Parallel()
	key := func(more string) map[string]string {
		return map[string]string{"HASURA_GRAPHQL_JWT_SECRET": strings.TrimSuffix(testKey, "}") +
			`,"claims_map":{"x-hasura-allowed-roles":{"path":"$.roles"},"x-hasura-default-role":{"path":"$.role"},"x-hasura-user-id":{"path":"$.sub"},` + more + `}}`}
	}
	for more, want := range map[string]string{
		`"x-hasura-org-id":{"path":"$.org"}`:     "Hasura takes this server's tokens",
		`"x-hasura-org-id":{"path":"$.orgs[0]"}`: "not tried: claims_map: the place of x-hasura-org-id cannot be filled",
	} {
		env := key(more)
		j, err := auth.ParseJWTConfig(env["HASURA_GRAPHQL_JWT_SECRET"])
		if err != nil {
			t.Fatal(err)
		}
		s := &standIn{metadata: "{}", asked: func(_ string, h http.Header) string { // it has the same secret
			if _, err := auth.New(auth.Options{JWT: &j}).Authenticate(t.Context(), h); err != nil {
				return err.Error()
			}
			return ""
		}}
		if found, err := s.look(t, "tokens", env); err != nil || found != want {
			t.Errorf("%s: %q %v", more, found, err)
		}
	}
}

// mergedInto is a Hasura's metadata once ours are put in.
func mergedInto(t *testing.T, metadata string) string {
	t.Helper()
	var before hasura.Tree
	if err := json.Unmarshal([]byte(metadata), &before); err != nil {
		t.Fatal(err)
	}
	ours, err := hasura.Project()
	if err != nil {
		t.Fatal(err)
	}
	after, _, _, err := hasura.Plan{Ours: ours, Roles: []string{"user", "me"}}.Merge(before)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(after)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAnActionOfTheirsIsNoFault: one of the app's own with a name of ours stays, is
// named, and is not called to see whether the secret is right.
func TestAnActionOfTheirsIsNoFault(t *testing.T) {
	t.Parallel()
	s := &standIn{metadata: mergedInto(t, `{"version":3,"sources":[],"actions":[{"name":"whoIsOnline","definition":{"handler":"https://app.example.com/who"}}]}`),
		asked: func(query string, _ http.Header) string {
			if strings.Contains(query, "whoIsOnline") {
				return "not a valid json response from webhook"
			}
			return ""
		}}
	if found, err := s.look(t, "metadata", nil); err != nil || found != "applied; action whoIsOnline is another one: left as it is" {
		t.Errorf("%q %v", found, err)
	}
	if _, err := s.look(t, "secrets", nil); err != nil || len(s.ran) != 1 {
		t.Errorf("%q %v", s.ran, err)
	}
	s.metadata = mergedInto(t, `{"version":3,"sources":[]}`)
	if _, err := s.look(t, "secrets", nil); err == nil || len(s.ran) != 2 {
		t.Errorf("our own: %q %v", s.ran, err)
	}
}

// TestHasuraIsAskedByTheNamesItHas: those that its console gave our fields.
func TestHasuraIsAskedByTheNamesItHas(t *testing.T) {
	t.Parallel()
	s := &standIn{metadata: `{"remote_schemas":[{"name":"nchat_realtime","definition":{"customization":{"root_fields_namespace":"live",
 "field_names":[{"parent_type":"Presence","prefix":"no_"},{"parent_type":"Query","prefix":"rt_","suffix":"_x"},{"parent_type":"RealtimeConfig","mapping":{"serverTime":"now"}}]}}}]}`}
	if _, err := s.look(t, "secrets", nil); err != nil || !slices.Equal(s.ran, []string{"{ live { rt_realtimeConfig_x { now } } }"}) {
		t.Errorf("%q %v", s.ran, err)
	}
}

// TestRemoteSchemasWithoutPermissionAreNamed: the switch that ours needs hides them.
func TestRemoteSchemasWithoutPermissionAreNamed(t *testing.T) {
	t.Parallel()
	s := &standIn{metadata: `{"remote_schemas":[{"name":"nchat_realtime"},{"name":"shop","permissions":[{"role":"user"}]},{"name":"cms"},{"name":"crm","permissions":[]}]}`}
	found, err := s.look(t, "permission", nil)
	if err != nil || strings.Count(found, "WARNING: ") != 2 || !strings.Contains(found, "remote schema cms has no permission") || !strings.Contains(found, "remote schema crm has no permission") {
		t.Errorf("%q %v", found, err)
	}
	s.open = true
	if found, err := s.look(t, "permission", nil); err == nil || strings.Count(err.Error(), "WARNING: ") != 2 {
		t.Errorf("before it is switched on: %q %v", found, err)
	}
}

// TestASecondTenantIsNotShownTheFirst: with permissions that name the first, doctor
// fails as soon as there is another; not where each of them is named.
func TestASecondTenantIsNotShownTheFirst(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	s := &standIn{metadata: mergedInto(t, `{"version":3,"sources":[]}`), pool: pgtest.New(t)}
	if found, err := s.look(t, "tenants", nil); err != nil {
		t.Errorf("one tenant: %q %v", found, err)
	}
	const named = "there is a tenant \"acme\" too: role user, select of nchat_channels in default: it shows the rows of tenant primary to users of all tenants"
	for _, of := range []string{`nchat_users (email, display_name, source_account_id) values ('a', 'a', 'acme')`, `nchat_channels (name, slug, source_account_id) values ('a', 'a', 'acme')`} {
		if _, err := s.pool.Exec(t.Context(), `delete from public.nchat_users`); err != nil {
			t.Fatal(err)
		}
		if _, err := s.pool.Exec(t.Context(), `insert into public.`+of); err != nil {
			t.Fatal(err)
		}
		if found, err := s.look(t, "tenants", nil); err == nil || !strings.Contains(err.Error(), named) {
			t.Errorf("two, by %s: %q %v", of, found, err)
		}
	}
	whole := s.metadata
	s.metadata = strings.ReplaceAll(whole, `"primary"`, `"X-Hasura-Source-Account-Id"`)
	if found, err := s.look(t, "tenants", nil); err != nil {
		t.Errorf("by the token: %q %v", found, err)
	}
	s.metadata = strings.Replace(whole, `{"_eq":"primary"}`, `{"_in":["primary","acme"]}`, 1)
	if found, err := s.look(t, "tenants", nil); err != nil {
		t.Errorf("both are named: %q %v", found, err)
	}
}
