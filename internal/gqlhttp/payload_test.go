package gqlhttp

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// many is a JSON array of n small objects.
func many(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{"":0},`, n), ",") + "]" }

// TestExtensionsAreNotKept: of an operation's a persisted query's version and hash are
// held as long as it lives, and nothing else, by whichever way it came.
func TestExtensionsAreNotKept(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	more := `{"x":` + many(1000) + `,` + persisted("{ hello }")[1:]
	for _, c := range []struct{ method, query, body string }{
		{http.MethodPost, "", `{"query":"{ hello }","extensions":` + more + `}`},
		{http.MethodPost, "", `[{"query":"{ hello }","extensions":` + more + `}]`},
		{http.MethodGet, get("query", "{ hello }", "extensions", " "+more), ""},
	} {
		content := ""
		if c.method == http.MethodPost {
			content = mediaJSON
		}
		if got := all(t, s.do(t, c.method, c.query, "", content, c.body, nil)); !strings.Contains(got, "hello") { //nolint:bodyclose // by do
			t.Fatal(got)
		}
		if got := fmt.Sprint(s.schema.asked.Load().Extensions); !strings.HasPrefix(got, "map[persistedQuery:map[sha256Hash:") || len(got) > 200 {
			t.Errorf("kept: %.200s", got)
		}
	}
}
