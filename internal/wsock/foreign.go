package wsock

import (
	"context"
	"encoding/json"

	"github.com/99designs/gqlgen/graphql"
)

// Elsewhere runs an operation that is not the executor's, to its end, in the
// operation's own goroutine: when ctx ends nobody wants more of it. ran false:
// it is the executor's after all, with Foreign's params as they then are.
type Elsewhere func(ctx context.Context, f Foreign) (end End, ran bool)

// Foreign is an operation as it is offered to Elsewhere.
type Foreign struct{ o *operation }

// End is how a foreign operation ended. The zero value: it completed.
type End struct {
	Payload json.RawMessage // of an error message, as the socket's subprotocol has it
	Err     error           // a fault, where there is no payload
}

// Params are what was asked, and what the executor will be; without the variables, which
// are not decoded before it is known that it is the executor's.
func (f Foreign) Params() *graphql.RawParams { return f.o.params }

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
// queue is full; false: the operation is over. Results keep the order of calls.
func (f Foreign) Next(result json.RawMessage) bool {
	kind := "next"
	if f.o.c.legacy {
		kind = "data"
	}
	return f.o.c.put(f.o.ctx, frame{data: f.o.envelope(kind, result), op: f.o})
}

// elsewhere offers the operation to who may run it, and is the message to end
// with; nil: the peer wants none.
func (o *operation) elsewhere(ctx context.Context) (last []byte, ran bool) {
	if o.c.t.o.Elsewhere == nil {
		return nil, false
	}
	end, ran := o.c.t.o.Elsewhere(ctx, Foreign{o})
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
