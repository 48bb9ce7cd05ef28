package door

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/limit"
)

// TestEachOfABatchIsCounted, however it is written, and there are no more of them than at
// /graphql: of what is one too many Hasura does nothing.
func TestEachOfABatchIsCounted(t *testing.T) {
	t.Parallel()
	var counted, most atomic.Int64
	r := newRig(t, setup{options: []func(*Options){func(o *Options) {
		o.Take = func(context.Context) (func(), error) {
			if counted.Load() == most.Load() {
				return nil, fault.Later(fault.RateLimited, time.Second, "too many")
			}
			counted.Add(1)
			return func() { counted.Add(-1) }, nil
		}
	}}})
	const one = `{"query":"{ whoami }"}`
	list := func(n int, each string) string { return "[" + strings.Repeat(each+",", n-1) + each + "]" }
	large := `{"query":"{ whoami }","variables":{"x":"` + strings.Repeat("x", 8<<10) + `"}}`
	for what, c := range map[string]struct {
		body          string
		most, counted int64
		status        int
	}{
		"one":                  {`{"query":"{ whoami }","variables":{"a":[1,2,3]}}`, 1000, 1, 200},
		"a batch":              {list(3, one), 1000, 3, 200},
		"with spaces":          {" \r\n\t[ " + one + " ,\n" + one + "] ", 1000, 2, 200},
		"with much in it":      {`[{"query":"{ whoami } # \\\",\\","variables":{"a":[[1,2],{"b":"],[\"","c":3}]}},` + one + `]`, 1000, 2, 200},
		"as many as there may": {list(limit.BatchOperations, one), 1000, limit.BatchOperations, 200},
		"one too many":         {list(limit.BatchOperations+1, one), 1000, 1, 400},
		"large":                {list(20, large), 1000, 20, 200},
		"large, and too many":  {list(limit.BatchOperations+1, large), 1000, 1, 400},
		"beyond the allowance": {list(4, one), 3, 1, 429},
		"large, and beyond it": {list(20, large), 3, 1, 429},
		"nothing":              {`[]`, 1000, 1, 200},
	} {
		counted.Store(0)
		most.Store(c.most)
		before := len(r.h.Bodies())
		res, got, err := r.do(http.MethodPost, pathGraphQL, c.body)
		if err != nil {
			t.Fatal(what, err)
		}
		if passed := len(r.h.Bodies()) - before; res.StatusCode != c.status || counted.Load() != c.counted || (passed == 1) != (c.status == 200) {
			t.Errorf("%s: %d %.200s; counted as %d, %d passed on", what, res.StatusCode, got, counted.Load(), passed)
		}
	}
	b := &batch{ReadCloser: io.NopCloser(strings.NewReader(list(300, one))), take: func() (func(), error) { return func() {}, nil }}
	if _, err := io.Copy(io.Discard, b); err == nil {
		t.Error("its end is none")
	}
	if n, err := b.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("it goes on behind its end")
	}
}
