package gqlhttp

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestAMutationThatRanIsNotToBeTriedAgain: what might be refused for its answer is
// refused before it runs; what ran and cannot be answered whole says that it ran. A
// batch is answered by an array, whatever there is room for.
func TestAMutationThatRanIsNotToBeTriedAgain(t *testing.T) {
	t.Parallel()
	const none = `{"errors":[{"message":"no room","extensions":{"code":"rate-limited","retryAfterMs":1000,"retryable":true}}]`
	const ran = `{"errors":[{"message":"it was carried out; its answer is larger than there is room for: ask for less","extensions":{"code":"validation-failed","retryable":false}}],"data":null}`
	const bump, small, large = `{"query":"mutation { bump }"}`, `{"data":{"bump":`, `{"data":{"large":"xxx`
	swell, much := `{"query":"mutation { swell }"}`, `{"query":"mutation($m: String) { bump(much: $m) }","variables":{"m":"`+strings.Repeat("x", 20<<10)+`"}}`
	for name, c := range map[string]struct {
		room int // for so many bytes
		body string
		want []string // what it begins with, and what else is in it
		runs int64
	}{
		"small":                        {0, bump, []string{small}, 1},
		"much is sent":                 {0, much, []string{none}, 0},
		"much is sent, and may":        {100 << 10, much, []string{small}, 1},
		"much is answered":             {0, swell, []string{ran}, 1},
		"much is answered, and may":    {2 << 20, swell, []string{`{"data":{"swell":"xxx`}, 1},
		"a query":                      {0, `{"query":"{ large }"}`, []string{none}, 1},
		"in a batch":                   {0, `[` + bump + `,` + swell + `,` + bump + `]`, []string{`[` + small, ran + `,` + small}, 3},
		"much is sent in a batch":      {0, `[` + bump + `,` + much + `,` + bump + `]`, []string{`[` + small, none + `},` + small}, 2},
		"a query in a batch":           {0, `[` + bump + `,{"query":"{ large }"},` + bump + `]`, []string{`[` + small, none + `},` + small}, 3},
		"after a large one in a batch": {1<<20 + 1<<10, `[{"query":"{ large }"},` + bump + `,{"query":"{ hello }"}]`, []string{`[` + large, none + `},{"data":{"hello`}, 2},
		"only large ones in a batch":   {0, `[{"query":"{ large }"},{"query":"{ large }"}]`, []string{`[` + none + `},` + none}, 2},
		"room for one":                 {1<<20 + 1<<10, `[{"query":"{ large }"},{"query":"{ large }"}]`, []string{`[` + large, none}, 2},
	} {
		for _, accept := range []string{mediaJSON, mediaGraphQL, mediaSSE} {
			if accept == mediaSSE && c.body[0] == '[' {
				continue
			}
			held := atomic.Int64{}
			s := newSite(t, Options{Room: func(_ context.Context, bytes int) (func(), error) {
				if held.Add(int64(bytes)) > int64(c.room) {
					held.Add(-int64(bytes))
					return nil, fault.Later(fault.RateLimited, time.Second, "no room")
				}
				return func() { held.Add(-int64(bytes)) }, nil
			}})
			r := s.do(t, http.MethodPost, "", accept, mediaJSON, c.body, nil) //nolint:bodyclose // by do
			got := all(t, r)
			<-s.left
			if accept == mediaSSE {
				got = strings.TrimPrefix(got, ":\n\nevent: next\ndata: ")
			}
			for i, want := range c.want {
				if i == 0 && !strings.HasPrefix(got, want) || !strings.Contains(got, want) {
					t.Errorf("%s as %s: %.300s ... without %.300s", name, accept, got, want)
				}
			}
			if n := s.schema.ran.Load(); n != c.runs || held.Load() != 0 {
				t.Errorf("%s as %s: %d ran, %d bytes are held", name, accept, n, held.Load())
			}
		}
	}
}
