package app

import (
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

// TestARevokedUserIsRefusedAtTheDoor whatever else it sends: Hasura, which knows of no
// revocation, gets nothing that it might take for its token. Whoever cannot be told goes on.
func TestARevokedUserIsRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	url, asked := hasuraAt(t, `{"data":{}}`)
	p := built(t, map[string]string{"HASURA_UPSTREAM_URL": url, "FRONT_DOOR_PATHS": "/api/rest/"})
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
