package door

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// showing executes introspection: its answers have so many bytes.
type showing struct {
	*engine
	bytes int
	ran   atomic.Int64
}

func (s *showing) Exec(context.Context) graphql.ResponseHandler {
	s.ran.Add(1)
	return graphql.OneShot(&graphql.Response{Data: []byte(`{"__schema":"` + strings.Repeat("x", s.bytes) + `"}`)})
}

// TestIntrospectionOverHTTP is executed once for who asks the same, takes room while it
// is sent, and does not wait for who does not read it.
func TestIntrospectionOverHTTP(t *testing.T) {
	t.Parallel()
	const ask = `{"query":"{ __schema { queryType { name } } }"}`
	var e *showing
	var held, taken, most atomic.Int64
	most.Store(1 << 30)
	r := newRig(t, setup{options: []func(*Options){func(o *Options) {
		e = &showing{engine: &engine{schema: newSchema()}, bytes: 100 << 10}
		o.Executor = func(*ast.Schema) graphql.GraphExecutor { return executor.New(e) }
		o.WriteTimeout = time.Second
		o.Room = func(_ context.Context, bytes int) (func(), error) {
			if int64(bytes) > most.Load() {
				return nil, fault.Later(fault.RateLimited, time.Second, "no room")
			}
			held.Add(int64(bytes))
			taken.Add(1)
			return func() { held.Add(-int64(bytes)) }, nil
		}
	}}})
	r.h.Instead(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, `{"data":{"__schema":{"queryType":{"name":"Q"},"directives":[],"types":[{"kind":"OBJECT","name":"Q","fields":[{"name":"a","args":[],"type":{"kind":"SCALAR","name":"Int"}}]}]}}}`)
		return true
	})
	for _, c := range []struct {
		body string
		ran  int64
	}{{ask, 1}, {ask, 1}, {strings.Replace(ask, "name", "kind", 1), 2}, {strings.Replace(ask, `"}`, `","variables":{"a":1}}`, 1), 3}} {
		if res, got, err := r.do(http.MethodPost, pathGraphQL, c.body); err != nil || res.StatusCode != http.StatusOK || len(got) < e.bytes || e.ran.Load() != c.ran {
			t.Errorf("%s: %v %d bytes %v, executed %d times", c.body, res, len(got), err, e.ran.Load())
		}
		eventually(t, "its room is given back", func() bool { return held.Load() == 0 })
	}
	most.Store(100 << 10)
	if res, got, err := r.do(http.MethodPost, pathGraphQL, ask); err != nil || res.StatusCode != http.StatusTooManyRequests || !strings.Contains(got, "no room") {
		t.Error(res, got, err)
	}
	most.Store(1 << 30)
	e.bytes = 32 << 20                                              // more than the system takes for who does not read
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://")) //nolint:noctx // it is closed below
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	last := strings.Replace(ask, "name", "fields { name }", 1)
	before := taken.Load()
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", pathGraphQL, len(last), last); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is sent", func() bool { return taken.Load() > before })
	eventually(t, "it is given up", func() bool { return held.Load() == 0 })
}
