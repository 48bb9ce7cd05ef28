package gqlhttp

import (
	"net/http"
	"strings"
	"testing"
)

// TestABatch is answered as Hasura does: each as it would be alone, in order.
func TestABatch(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	for body, want := range map[string]string{
		`[{"query":"{ hello }"}]`: `[{"data":{"hello":"hello "}}]`,
		` [{"query":"query($n: String) { hello(name: $n) }","variables":{"n":"a"}}, {"query":"query A { hello } query B { hello(name: \"b\") }","operationName":"B"}]`: `[{"data":{"hello":"hello a"}},{"data":{"hello":"hello b"}}]`,
		`[{"query":"{ nothing }"},{"query":"{ denied }"},{"query":"{ silent }"},{"query":"{ marshals }"},{"query":"{ hello }"}]`:                                       "",
		`[{"query":"subscription { forever }"},{"query":"{ hello }"}]`:                                                                                                 "",
	} {
		for _, accept := range []string{mediaJSON, mediaGraphQL} {
			r := s.do(t, http.MethodPost, "", accept, mediaJSON, body, nil) //nolint:bodyclose // by do
			got := all(t, r)
			if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), accept) {
				t.Errorf("%s: %d %v", body, r.StatusCode, r.Header)
			}
			if want != "" && got != want || want == "" && (!strings.HasSuffix(got, `,{"data":{"hello":"hello "}}]`) || !strings.HasPrefix(got, `[{"errors":[{"message"`)) {
				t.Errorf("%s: %s", body, got)
			}
			if n := strings.Count(got, `"errors":[`); want == "" && n != strings.Count(body, `"query"`)-1 {
				t.Errorf("%s: %d errors in %s", body, n, got)
			}
		}
	}
	before := s.schema.ran.Load()
	if got := all(t, s.do(t, http.MethodPost, "", mediaJSON, mediaJSON, `[{"query":"mutation { bump }"},{"query":"mutation { bump }"}]`, nil)); strings.Count(got, `"bump"`) != 2 || s.schema.ran.Load() != before+2 { //nolint:bodyclose // by do
		t.Error(got)
	}
}
