package gqlhttp

import (
	"fmt"
	"net/http"
	"runtime"
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

// TestTooManyValues: what would take many times its bytes is refused before it is
// decoded, alone and in a batch, of which then nothing runs.
func TestTooManyValues(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	for n, want := range map[int]string{3000: "hello", 4000: "variables have more than 32768 values; an object counts for 8"} {
		op := `{"query":"{ hello }","variables":{"x":` + many(n) + `}}`
		for _, body := range []string{op, `[{"query":"{ hello }"},` + op + `]`} {
			ran := s.schema.ran.Load()
			got := all(t, s.do(t, http.MethodPost, "", "", mediaJSON, body, nil)) //nolint:bodyclose // by do
			if !strings.Contains(got, want) || (n == 4000) != (s.schema.ran.Load() == ran) {
				t.Errorf("%d: %.300s", n, got)
			}
		}
	}
}

// TestABatchIsDecodedOneByOne: while an operation runs there are no variables of those
// that come, and of those that were. Not parallel: it counts the bytes that live.
func TestABatchIsDecodedOneByOne(t *testing.T) { //nolint:paralleltest // see above
	s := newSite(t, Options{})
	const each = 8
	body := "[" + strings.TrimSuffix(strings.Repeat(`{"query":"{ hello }","variables":{"x":`+many(3000)+`}},`, each), ",") + "]"
	before, most := live(), 0
	s.schema.runs = func() { most = max(most, live()-before) }
	got := all(t, s.do(t, http.MethodPost, "", "", mediaJSON, body, nil)) //nolint:bodyclose // by do
	if n := strings.Count(got, "hello "); n != each || most > 2<<20 {     // one takes a megabyte
		t.Errorf("%d answers, and %d bytes in use", n, most)
	}
}

// live is how many bytes are in use.
func live() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) //nolint:gosec // it is no more than there are
}
