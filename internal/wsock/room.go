package wsock

import (
	"context"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	roomy  = 64 << 10 // bytes of a frame that need no room
	echoes = 4        // times what a mutation sends it is answered, as a rule at most

	mostAsked = 16 << 20 // bytes asked for before it runs: no answer has more
)

// holding is the room an operation holds of its caller's, for the largest frame it
// has made: while one waits to be written, and to its end. The engine keeps the
// buffer of a subscription's largest event for the next.
type holding struct {
	mu     sync.Mutex
	bytes  int      // guarded by mu
	frames int      // guarded by mu: not written yet
	ended  bool     // guarded by mu: the operation
	done   []func() // guarded by mu
}

// hold has the operation hold room for a frame of so many bytes. A small one needs none.
func (o *operation) hold(ctx context.Context, bytes int) error {
	h := &o.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if bytes <= roomy || bytes <= h.bytes {
		return nil
	}
	done, err := o.room(ctx, bytes-h.bytes)
	if err == nil {
		h.bytes, h.done = bytes, append(h.done, done)
	}
	return err
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
	if h := &o.held; len(data) > roomy {
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
		for _, done := range h.done {
			done()
		}
		h.done = nil
	}
}

// toRun takes room for what a mutation will be answered, before it runs.
func (o *operation) toRun(ctx context.Context, oc *graphql.OperationContext) error {
	if oc.Operation.Operation != ast.Mutation {
		return nil
	}
	return o.hold(ctx, min(echoes*(o.bytes+len(oc.RawQuery)), mostAsked))
}

// noRoom is what becomes of a response there is no room for: the operation's end. Of a
// mutation, which was carried out, it is an answer that says so, and is not to be tried again.
func (o *operation) noRoom(err error) (last []byte, more bool) {
	if graphql.GetOperationContext(o.in).Operation.Operation != ast.Mutation {
		return o.errorFrame(told(err)), false
	}
	err = fault.New(fault.Invalid, "it was carried out; its answer is larger than there is room for: ask for less")
	return nil, o.c.put(o.ctx, o.frame(o.next(&graphql.Response{Errors: told(err)})))
}

// told is a fault as an operation's errors.
func told(err error) gqlerror.List {
	f := fault.From(err)
	return gqlerror.List{{Message: f.Message, Extensions: f.Extensions()}}
}
