package door

import (
	"context"
	"runtime"
	"testing"
	"weak"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// TestWhatWasDecodedIsLetGo when an operation begins at Hasura, which is sent what was
// sent: variables take hundreds of times as much once they are read.
func TestWhatWasDecodedIsLetGo(t *testing.T) {
	t.Parallel()
	var params weak.Pointer[graphql.RawParams]
	r := newRig(t, setup{elsewhere: func(next wsock.Elsewhere) wsock.Elsewhere {
		return func(ctx context.Context, f wsock.Foreign) (wsock.End, bool) {
			params = weak.Make(f.Params())
			return next(ctx, f)
		}
	}})
	t.Cleanup(func() { r.h.Gate(false) })
	r.h.Gate(true)
	p := r.open(wsock.TransportWS)
	p.start("1", `mutation { held }`)
	eventually(t, "it runs", func() bool { return r.h.Asked.Load() == 1 })
	eventually(t, "it is let go", func() bool { runtime.GC(); return params.Value() == nil })
	r.h.Gate(false)
	p.expect(`"id":"1"`, `"held"`)
}
