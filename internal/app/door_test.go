package app

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// atDoor asks at the one endpoint of a server of which nothing else runs.
func atDoor(t *testing.T, p *parts, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.door.ServeHTTP(w, r)
	return w
}

// hasuraAt is a Hasura that answers everything, and what counts how often.
func hasuraAt(t *testing.T, answer string) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

// manyTypes is an introspection of a schema that is large where it is asked for within itself.
func manyTypes() string {
	types := strings.Builder{}
	for i := range 24 {
		fmt.Fprintf(&types, `,{"kind":"OBJECT","name":"T%d","fields":[`, i)
		for j := range 24 {
			fmt.Fprintf(&types, `%s{"name":"f%d","description":"`+strings.Repeat("x", 4<<10)+`","args":[],"type":{"kind":"OBJECT","name":"T%d"}}`, map[bool]string{true: ","}[j > 0], j, j)
		}
		types.WriteString("]}")
	}
	return `{"data":{"__schema":{"queryType":{"name":"Q"},"directives":[],"types":[{"kind":"OBJECT","name":"Q","fields":[{"name":"a","args":[],"type":{"kind":"OBJECT","name":"T1"}}]}` + types.String() + `]}}}`
}

// TestAtTheDoor is what it refuses, of one server.
func TestAtTheDoor(t *testing.T) { //nolint:tparallel // its parts are steps on one server
	t.Parallel()
	url, asked := hasuraAt(t, manyTypes())
	p := built(t, map[string]string{"HASURA_UPSTREAM_URL": url, "FRONT_DOOR_PATHS": "/api/rest/", "POINTS_PER_MINUTE": "200"})
	t.Run("a revoked user", func(t *testing.T) { refusesRevoked(t, p, asked) })
	t.Run("introspection", func(t *testing.T) { chargesForSchemas(t, p) })
}

// refusesRevoked: whatever else a revoked user sends, Hasura, which knows of no revocation,
// gets nothing that it might take for its token. Whoever cannot be told goes on.
func refusesRevoked(t *testing.T, p *parts, asked *atomic.Int64) {
	t.Helper()
	if err := p.revoked.store.Revoke(t.Context(), "primary", demo.Alice, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.revoked.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	issued := auth.Claims{Now: time.Now().Add(-time.Minute), TTL: time.Hour}
	alice := token(t, issued)
	issued.User = demo.Bob
	bob := token(t, issued)
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	same := func(tok string) string { // the same to who does not look at the bits that are over
		return tok[:len(tok)-1] + string(digits[strings.IndexByte(digits, tok[len(tok)-1])^1])
	}
	for what, c := range map[string]struct {
		header func(tok string) []string
		served bool // with the token of one who was not revoked
	}{
		"its token": {func(tok string) []string { return []string{"Authorization", "Bearer " + tok} }, true},
		"a secret of ours": {func(tok string) []string {
			return []string{"Authorization", "Bearer " + tok, "X-Nchat-Webhook-Secret", "x"}
		}, true},
		"a role that stays here": {func(tok string) []string {
			return []string{"Authorization", "Bearer " + tok, "Connection", "x-hasura-role", "X-Hasura-Role", "bogus"}
		}, true},
		"a secret that stays here": {func(tok string) []string {
			return []string{"Authorization", "Bearer " + tok, "Connection", "close, x-hasura-admin-secret", "X-Hasura-Admin-Secret", "wrong"}
		}, true},
		"another behind it": {func(tok string) []string {
			return []string{"Authorization", "Bearer " + tok, "Authorization", "Bearer x"}
		}, false},
		"another before it": {func(tok string) []string {
			return []string{"Authorization", "Bearer x", "Authorization", "Bearer " + tok}
		}, false},
		"two roles": {func(tok string) []string {
			return []string{"Authorization", "Bearer " + tok, "X-Hasura-Role", "bogus", "X-Hasura-Role", "user"}
		}, false},
		"another kind of space":   {func(tok string) []string { return []string{"Authorization", "Bearer\xa0" + tok} }, false},
		"padding":                 {func(tok string) []string { return []string{"Authorization", "Bearer " + tok + "="} }, false},
		"another last digit":      {func(tok string) []string { return []string{"Authorization", "Bearer " + same(tok)} }, false},
		"three segments and more": {func(tok string) []string { return []string{"Authorization", "Bearer " + tok + ".x"} }, false},
	} {
		for _, path := range []string{"/v1/graphql", "/api/rest/x"} {
			if w := atDoor(t, p, path, `{"query":"{ items { id } }"}`, c.header(alice)...); w.Code != http.StatusForbidden || asked.Swap(0) != 0 {
				t.Errorf("%s, at %s: %d %s", what, path, w.Code, w.Body)
			}
			if w := atDoor(t, p, path, `{"query":"{ items { id } }"}`, c.header(bob)...); (w.Code == http.StatusOK) != c.served || asked.Swap(0) == 1 != c.served {
				t.Errorf("%s, at %s, of another: %d %s", what, path, w.Code, w.Body)
			}
		}
	}
	for what, header := range map[string][]string{
		"nobody":                              nil,
		"who has a token of another's making": {"Authorization", "Bearer " + bob[:len(bob)-4] + "AAAA"},
		"who has a secret":                    {"X-Hasura-Admin-Secret", "another", "Authorization", ""},
	} {
		if w := atDoor(t, p, "/v1/graphql", `{"query":"{ items { id } }"}`, header...); w.Code != http.StatusOK || asked.Swap(0) != 1 {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
}

// chargesForSchemas: introspection costs what that of this server does, whoever else has
// asked the same; and what is larger than a caller may leave unread is not built.
func chargesForSchemas(t *testing.T, p *parts) {
	t.Helper()
	ask := func(who auth.Claims, query string) string {
		t.Helper()
		return atDoor(t, p, "/v1/graphql", `{"query":"`+query+`"}`, "Authorization", "Bearer "+token(t, who)).Body.String()
	}
	bob, carol := auth.Claims{TTL: time.Hour, User: demo.Bob}, auth.Claims{TTL: time.Hour, User: demo.Carol}
	const small = `{ __schema { queryType { name } } }`
	for i := range 3 {
		if got := ask(bob, small); strings.Contains(got, "more than 200 points a minute") != (i == 2) || strings.Contains(got, `"name":"Q"`) != (i < 2) {
			t.Error(i, got)
		}
	}
	if got := ask(carol, `{ __schema { types { fields { type { fields { description } } } } } }`); !strings.Contains(got, "the answer has more than") || len(got) > 1<<10 {
		t.Errorf("%.200s", got)
	}
}
