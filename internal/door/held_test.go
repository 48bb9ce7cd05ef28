package door

import (
	"context"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/fault"
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

// TestAResultThereIsNoRoomFor ends its operation, at Hasura too, and nothing else: where
// its caller has not read others, and where it is larger than any may be. Of a mutation it
// is said that it was carried out.
func TestAResultThereIsNoRoomFor(t *testing.T) {
	t.Parallel()
	const most = 100 << 10
	r := newRig(t, setup{room: func(_ context.Context, bytes int) (func(), error) {
		if bytes > most {
			return nil, fault.Later(fault.RateLimited, time.Second, "no room")
		}
		return func() {}, nil
	}})
	r.d.frame = 200 << 10
	p := r.open(wsock.TransportWS)
	for _, c := range []struct{ query, want string }{
		{`{ big(kb: 90) }`, `"data"`},
		{`{ big(kb: 110) }`, `"no room"`},
		{`subscription { big(kb: 110) }`, `"code":"rate-limited"`},
		{`mutation { big(kb: 110) }`, `"it was carried out; `},
		{`subscription { big(kb: 300) }`, `"a result of Hasura's has more than`},
		{`mutation { big(kb: 300) }`, `"it was carried out; `},
	} {
		p.start("1", c.query)
		p.expect(`"id":"1"`, c.want)
		if c.want == `"data"` {
			p.expect(`"complete"`)
		}
	}
	eventually(t, "they have ended at Hasura", func() bool { return r.h.Doing.Load() == 0 })
	p.start("1", `{ whoami }`)
	p.expect(`"alice"`)
	if n := r.h.Dials.Load(); n != 1 {
		t.Errorf("Hasura was dialled %d times", n)
	}
}
