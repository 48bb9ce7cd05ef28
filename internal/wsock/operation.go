package wsock

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/share"
)

// operation is one running subscribe. Whether its id is still its own the
// socket's operations tell, by identity: an id may be used again at once.
type operation struct {
	c      *Conn
	id     string
	asked  *asked             // until it runs here
	params *graphql.RawParams // from when it runs until it is executed
	bytes  int                // of its message
	ctx    context.Context    //nolint:containedctx // the operation is its lifetime
	cancel context.CancelFunc
	gone   atomic.Bool // completed by the peer: nothing more is sent for it

	// Of what it executes, once that has begun.
	responses graphql.ResponseHandler
	in        context.Context //nolint:containedctx // of responses
	flow      *flow           // nil: its responses have to be waited for
	held      holding
}

// drop ends an operation the peer wants no more of.
func (o *operation) drop() {
	o.gone.Store(true)
	o.cancel()
}

// run executes the operation and sends what it says. Whatever panics ends it
// and nothing else.
func (o *operation) run() { o.goOn(o.execute) }

// goOn sends what the operation says, in a goroutine that may wait, until it ends or
// needs none.
func (o *operation) goOn(say func() (last []byte, rests bool)) {
	if last, rests := o.guarded(say); !rests {
		o.end(last)
	}
}

// end ends the operation with a message; nil: the peer wants none.
//
// The id stays the operation's until the writer takes its last message: were
// it free while that still waits, a peer that completes it meanwhile and uses
// the id again would take the old one's end for the new one's.
func (o *operation) end(last []byte) {
	defer o.c.ops.all.Done()
	defer o.held.end()
	defer o.cancel()
	if o.flow != nil {
		o.c.queue.unwait(&o.flow.task)
	}
	if last == nil || !o.c.put(o.ctx, frame{data: last, op: o, last: true}) {
		o.c.ops.release(o)
	}
}

// guarded has a panic end the operation.
func (o *operation) guarded(say func() ([]byte, bool)) (last []byte, rests bool) {
	defer func() {
		if p := recover(); p != nil {
			last, rests = o.failed(o.ctx, p), false
		}
	}()
	return say()
}

// execute begins to execute, and sends every response. last is the message to end
// with; nil: the peer wants none. rests: it goes on without a goroutine.
func (o *operation) execute() (last []byte, rests bool) {
	ctx := o.c.t.o.Operation(graphql.StartOperationTrace(o.ctx), o.c)
	o.params = o.asked.params()
	if end, ran := o.elsewhere(ctx); ran {
		return end, false
	}
	variables, takes, err := o.asked.decode(o.c.t.o.Limits)
	if err != nil {
		o.c.refused()
		return o.errorFrame(told(err)), false
	}
	o.params.Variables, o.asked = variables, nil
	exec := o.c.exec
	oc, errs := exec.CreateOperationContext(ctx, o.params)
	o.params = nil
	if oc != nil {
		ctx = graphql.WithOperationContext(ctx, oc)
	}
	if len(errs) > 0 {
		if o.ctx.Err() == nil { // else it was completed before its turn
			o.c.refused()
		}
		return o.errorFrame(exec.DispatchError(ctx, errs).Errors), false
	}
	if err := o.toRun(ctx, oc, takes); err != nil {
		return o.errorFrame(told(err)), false
	}
	if cached := oc.Operation.Position.Src.Input; cached == oc.RawQuery { // many subscriptions of one text keep it once
		oc.RawQuery = cached
	}
	o.responses, o.in = exec.DispatchOperation(ctx, oc)
	if s := share.Of(o.in); s != nil {
		o.begins(s)
		return nil, true
	}
	for {
		if last, more := o.respond(o.in); !more {
			return last, false
		}
	}
}

// respond sends the next response; more false: that was the last.
func (o *operation) respond(ctx context.Context) (last []byte, more bool) {
	r := o.responses(ctx)
	switch {
	case r == nil:
		return o.envelope("complete", nil), false
	case r == share.Nothing:
		return nil, true
	case len(r.Errors) > 0 && len(r.Data) == 0: // nothing was executed, or the stream ended for a reason: an error, and the end
		return o.errorFrame(r.Errors), false
	}
	data := o.next(r) // before the next call, which writes over r.Data
	if err := o.hold(ctx, len(data)); err != nil {
		return o.noRoom(err) //nolint:contextcheck // as below
	}
	return nil, o.c.put(o.ctx, o.frame(data)) //nolint:contextcheck // the operation's, which outlives what asks
}

// failed is the message that ends an operation that panicked. What presents
// the error may panic too.
func (o *operation) failed(ctx context.Context, p any) (last []byte) {
	defer func() {
		if again := recover(); again != nil {
			o.c.log.ErrorContext(ctx, "panic while presenting a panic", "panic", again)
			f := fault.New(fault.Unexpected, "internal error")
			last = o.errorFrame(gqlerror.List{{Message: f.Message, Extensions: f.Extensions()}})
		}
	}()
	err := o.c.t.o.Recover(ctx, p)
	return o.errorFrame(o.c.exec.DispatchError(ctx, gqlerror.List{gqlerror.WrapPath(nil, err)}).Errors)
}

// due says whether a frame is to be sent, as it is about to be.
func (f frame) due() bool {
	switch {
	case f.op == nil:
		return true
	case f.op.gone.Load():
		return false
	}
	return !f.last || f.op.c.ops.release(f.op)
}

// kind is how the socket's protocol calls a response.
func (o *operation) kind() string {
	if o.c.legacy {
		return "data"
	}
	return "next"
}

// next is a response's frame. The payload is put in as it is encoded, and copied
// once: the envelope never encodes it a second time, and a socket that reads slowly
// has a frame waiting for each of its operations.
func (o *operation) next(r *graphql.Response) []byte {
	head, tail := o.around(o.kind())
	var p bytes.Buffer
	p.Grow(len(head) + len(r.Data) + 64)
	p.Write(head)
	p.WriteByte('{')
	if len(r.Errors) > 0 {
		p.WriteString(`"errors":`)
		p.Write(errorsJSON(r.Errors))
		p.WriteByte(',')
	}
	p.WriteString(`"data":`)
	if len(r.Data) == 0 {
		p.WriteString("null")
	} else if utf8.Valid(r.Data) {
		p.Write(r.Data)
	} else { // a text frame that is not UTF-8 would cost the socket
		p.Write(bytes.ToValidUTF8(r.Data, []byte("\uFFFD")))
	}
	if r.HasNext != nil { // part of a deferred result
		member(&p, "hasNext", *r.HasNext)
		if r.Label != "" {
			member(&p, "label", r.Label)
		}
		if len(r.Path) > 0 {
			member(&p, "path", r.Path)
		}
	}
	if len(r.Extensions) > 0 {
		member(&p, "extensions", r.Extensions)
	}
	p.WriteByte('}')
	p.WriteString(tail)
	return p.Bytes()
}

// member adds one to an object; what cannot be encoded is left out.
func member(p *bytes.Buffer, name string, v any) {
	if b, err := json.Marshal(v); err == nil {
		p.WriteString(`,"` + name + `":`)
		p.Write(b)
	}
}

func (o *operation) errorFrame(errs gqlerror.List) []byte {
	if len(errs) == 0 { // somebody between swallowed them; the operation is over all the same
		f := fault.New(fault.Unexpected, "internal error")
		errs = gqlerror.List{{Message: f.Message, Extensions: f.Extensions()}}
	}
	payload := errorsJSON(errs)
	if o.c.legacy { // one error, and the operation is over
		payload = bytes.TrimSuffix(bytes.TrimPrefix(errorsJSON(errs[:1]), []byte("[")), []byte("]"))
	}
	return o.envelope("error", payload)
}

// envelope is a message of the operation's; without a payload where that is nil.
func (o *operation) envelope(kind string, payload []byte) []byte {
	head, tail := o.around(kind)
	if payload == nil {
		head, _ = bytes.CutSuffix(head, []byte(payloadKey))
	}
	return slices.Concat(head, payload, []byte(tail))
}

const payloadKey = `,"payload":`

// around is what stands before a payload, and after it.
func (o *operation) around(kind string) (head []byte, tail string) {
	quoted, err := json.Marshal(o.id)
	if err != nil {
		quoted = []byte(`""`) // cannot be: it is a string
	}
	b := make([]byte, 0, len(quoted)+48)
	b = append(append(b, `{"id":`...), quoted...)
	b = append(append(append(b, `,"type":"`...), kind...), '"')
	return append(b, payloadKey...), "}"
}

// errorsJSON encodes errors; extensions that cannot be encoded are left out.
func errorsJSON(errs gqlerror.List) []byte {
	if b, err := json.Marshal(errs); err == nil {
		return b
	}
	bare := make(gqlerror.List, len(errs))
	for i, e := range errs {
		bare[i] = &gqlerror.Error{Message: e.Message, Path: e.Path, Locations: e.Locations}
	}
	b, err := json.Marshal(bare)
	if err != nil {
		return []byte(`[{"message":"internal error"}]`)
	}
	return b
}
