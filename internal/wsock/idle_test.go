package wsock_test

import (
	"context"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// TestSubscriptionsOfOneTextKeepItOnce: what lives as long as a socket has no copy of
// its own of what is known already.
func TestSubscriptionsOfOneTextKeepItOnce(t *testing.T) {
	t.Parallel()
	r := &rig{schema: newSchema()}
	exec := executor.New(r.schema)
	exec.SetQueryCache(lru.New[*ast.QueryDocument](10))
	var mu sync.Mutex
	var texts []*byte
	exec.AroundOperations(func(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
		oc := graphql.GetOperationContext(ctx)
		mu.Lock()
		defer mu.Unlock()
		texts = append(texts, unsafe.StringData(oc.RawQuery))
		if len(oc.Headers) > 0 {
			t.Error("it keeps the headers of the upgrade")
		}
		return next(ctx)
	})
	p := r.serve(t, wsock.Options{}, exec).modern(t)
	for i, id := range []string{"a", "b", "c"} {
		p.subscribe(id, "subscription { forever }")
		eventually(t, "it runs", func() bool { return r.schema.live.Load() == int64(i+1) })
	}
	p.settle()
	mu.Lock()
	defer mu.Unlock()
	if len(texts) != 3 || len(slices.Compact(texts)) != 1 {
		t.Errorf("%d texts of three operations", len(texts))
	}
}

// TestAnIdleSocketsReaderIsFresh: it stands where it began, and not below the message
// that was read before.
func TestAnIdleSocketsReaderIsFresh(t *testing.T) { //nolint:paralleltest // of other tests' readers some stand elsewhere
	r := newRig(t, wsock.Options{})
	p := r.modern(t)
	p.subscribe("a", "subscription { forever }")
	p.settle()
	eventually(t, "one reader, begun by the one before", func() bool {
		var all strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&all, 2)
		readers, fresh := 0, 0
		for g := range strings.SplitSeq(all.String(), "\n\n") {
			if strings.Contains(g, "wsock.(*Conn).read(") {
				readers++
				if strings.Contains(g, "created by github.com/nself-org/nchat-realtime/internal/wsock.(*Conn).read ") {
					fresh++
				}
			}
		}
		return readers == 1 && fresh == 1
	})
}
