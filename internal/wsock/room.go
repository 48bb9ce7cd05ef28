package wsock

import (
	"context"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/limit"
)

// holding is the room an operation holds of its caller's, for the largest frame it
// has made: while one waits to be written, and to its end. The engine keeps the
// buffer of a subscription's largest event for the next.
type holding struct {
	mu     sync.Mutex
	room   limit.Room // guarded by mu
	frames int        // guarded by mu: not written yet
	ended  bool       // guarded by mu: the operation
}

// hold has the operation hold room for a frame of so many bytes. A small one needs none.
func (o *operation) hold(ctx context.Context, bytes int) error {
	o.held.mu.Lock()
	defer o.held.mu.Unlock()
	return o.held.room.UpTo(bytes, func(n int) (done func(), err error) { return o.room(ctx, n) })
}

func (o *operation) room(ctx context.Context, bytes int) (done func(), err error) {
	if o.c.t.o.Room == nil {
		return func() {}, nil
	}
	return o.c.t.o.Room(ctx, bytes)
}

// frame is one with data for which the operation holds room.
func (o *operation) frame(data []byte) frame {
	f := frame{data: data, op: o}
	if h := &o.held; len(data) > limit.Roomy {
		h.mu.Lock()
		h.frames++
		h.mu.Unlock()
		f.done = func() { h.less(func() { h.frames-- }) }
	}
	return f
}

// end is the operation's: it makes no more frames.
func (h *holding) end() { h.less(func() { h.ended = true }) }

func (h *holding) less(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if change(); h.ended && h.frames == 0 {
		h.room.Free()
	}
}

// toRun takes room for what a mutation will be answered, before it runs, and for a
// subscription's variables, of so many bytes, which it has for as long as it lives.
func (o *operation) toRun(ctx context.Context, oc *graphql.OperationContext, variables int) error {
	switch oc.Operation.Operation { //nolint:exhaustive // a query takes what it answers
	case ast.Mutation:
		return o.hold(ctx, limit.Echo(o.bytes+len(oc.RawQuery)))
	case ast.Subscription:
		return o.hold(ctx, variables)
	}
	return nil
}

// noRoom is what becomes of a response there is no room for: the operation's end. Of a
// mutation, which was carried out, it is an answer that says so, and is not to be tried again.
func (o *operation) noRoom(err error) (last []byte, more bool) {
	if graphql.GetOperationContext(o.in).Operation.Operation != ast.Mutation {
		return o.errorFrame(told(err)), false
	}
	return nil, o.c.put(o.ctx, o.frame(o.next(&graphql.Response{Errors: told(limit.CarriedOut())})))
}

// told is a fault as an operation's errors.
func told(err error) gqlerror.List {
	f := fault.From(err)
	return gqlerror.List{{Message: f.Message, Extensions: f.Extensions()}}
}
