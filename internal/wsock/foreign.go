package wsock

import (
	"context"
	"encoding/json"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/limit"
)

// Elsewhere runs an operation that is not the executor's, to its end, in the
// operation's own goroutine: when ctx ends nobody wants more of it. ran false:
// it is the executor's after all, with Foreign's params as they then are.
type Elsewhere func(ctx context.Context, f Foreign) (end End, ran bool)

// Foreign is an operation as it is offered to Elsewhere.
type Foreign struct {
	o   *operation
	ctx context.Context //nolint:containedctx // as Elsewhere has it, by which room is taken
}

// End is how a foreign operation ended. The zero value: it completed.
type End struct {
	Payload json.RawMessage // of an error message, as the socket's subprotocol has it
	Err     error           // a fault, where there is no payload
	Refused bool            // it was not run: its socket is read more slowly
}

// Params are what was asked, and what the executor will be; without the variables, which
// are not decoded before it is known that it is the executor's.
func (f Foreign) Params() *graphql.RawParams { return f.o.params }

// Taken says that the executor will not be asked: what was read of the payload is let go,
// Params is nil, and Sent alone stays.
func (f Foreign) Taken() { f.o.params = nil }

// Whole are Params with the variables. Errors: validation-failed for too many.
func (f Foreign) Whole() (*graphql.RawParams, error) {
	whole := *f.o.params
	var err error
	whole.Variables, _, err = f.o.asked.decode(f.o.c.t.o.Limits)
	return &whole, err
}

// Sent is the subscribe's payload as it came.
func (f Foreign) Sent() json.RawMessage { return f.o.asked.payload }

// Legacy says that the socket speaks the older protocol.
func (f Foreign) Legacy() bool { return f.o.c.legacy }

// Next sends a result, an encoded ExecutionResult. It waits while the socket's
// queue is full, and holds room for a large one until it is written: a fault says that
// there is none, and then nothing is sent. Results keep the order of calls.
func (f Foreign) Next(result json.RawMessage) error {
	out := frame{op: f.o}
	if len(result) > limit.Roomy {
		done, err := f.o.room(f.ctx, len(result))
		if err != nil {
			return err
		}
		out.done = done
	}
	out.data = f.o.envelope(f.o.kind(), result)
	f.o.c.put(f.o.ctx, out)
	return nil
}

// elsewhere offers the operation to who may run it, and is the message to end
// with; nil: the peer wants none.
func (o *operation) elsewhere(ctx context.Context) (last []byte, ran bool) {
	if o.c.t.o.Elsewhere == nil {
		return nil, false
	}
	end, ran := o.c.t.o.Elsewhere(ctx, Foreign{o, ctx})
	if end.Refused {
		o.c.refused()
	}
	switch {
	case !ran || o.ctx.Err() != nil:
		return nil, ran
	case end.Payload != nil:
		return o.envelope("error", end.Payload), true
	case end.Err != nil:
		return o.errorFrame(told(end.Err)), true
	}
	return o.envelope("complete", nil), true
}
