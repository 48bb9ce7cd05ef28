package wsock

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// operation is one running subscribe. Whether its id is still its own is asked
// under the socket's lock, by identity: an id may be used again at once.
type operation struct {
	c      *Conn
	id     string
	ctx    context.Context //nolint:containedctx // the operation is its lifetime
	cancel context.CancelFunc
	gone   atomic.Bool // completed by the peer: nothing more is sent for it
}

// drop ends an operation the peer wants no more of.
func (o *operation) drop() {
	o.gone.Store(true)
	o.cancel()
}

func (o *operation) cancelled() bool { return o.gone.Load() }

// run executes the operation and sends what it says. Whatever panics ends it
// and nothing else.
func (o *operation) run(params *graphql.RawParams) {
	defer o.c.ops.Done()
	defer o.cancel()
	defer o.release()
	defer func() {
		if p := recover(); p != nil {
			o.failed(p)
		}
	}()
	ctx := o.c.t.o.Operation(graphql.StartOperationTrace(o.ctx), o.c)
	exec := o.c.exec
	oc, errs := exec.CreateOperationContext(ctx, params)
	if len(errs) > 0 {
		in := ctx
		if oc != nil {
			in = graphql.WithOperationContext(ctx, oc)
		}
		o.fail(exec.DispatchError(in, errs).Errors)
		return
	}
	responses, ctx := exec.DispatchOperation(ctx, oc)
	for {
		r := responses(ctx)
		if r == nil {
			break
		}
		// Nothing was executed, or the stream ended for a reason: an error, and the end.
		if len(r.Errors) > 0 && len(r.Data) == 0 {
			o.fail(r.Errors)
			return
		}
		// Before the next call, which writes over r.Data.
		if !o.c.queue.put(o.ctx, frame{data: o.next(r), op: o}) {
			return
		}
	}
	o.end(o.envelope("complete", nil))
}

func (o *operation) failed(p any) {
	err := o.c.t.o.Recover(o.ctx, p)
	o.fail(o.c.exec.DispatchError(o.ctx, gqlerror.List{gqlerror.WrapPath(nil, err)}).Errors)
}

func (o *operation) fail(errs gqlerror.List) { o.end(o.errorFrame(errs)) }

// end sends the operation's last message. Its id is free before that is
// written, so that a peer that has read it may use it again.
func (o *operation) end(last []byte) {
	if !o.release() {
		return
	}
	o.c.queue.put(o.ctx, frame{data: last, op: o})
}

// release frees the id; false: it was not the operation's any more.
func (o *operation) release() bool {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	if o.c.running[o.id] != o {
		return false
	}
	delete(o.c.running, o.id)
	return true
}

// next is a response's frame. The payload is put in as it is encoded: the
// envelope never encodes it a second time.
func (o *operation) next(r *graphql.Response) []byte {
	var p bytes.Buffer
	p.Grow(len(r.Data) + 64)
	p.WriteByte('{')
	if len(r.Errors) > 0 {
		p.WriteString(`"errors":`)
		p.Write(mustJSON(r.Errors))
		p.WriteByte(',')
	}
	p.WriteString(`"data":`)
	if len(r.Data) == 0 {
		p.WriteString("null")
	} else {
		p.Write(r.Data)
	}
	if len(r.Extensions) > 0 {
		p.WriteString(`,"extensions":`)
		p.Write(mustJSON(r.Extensions))
	}
	p.WriteByte('}')
	kind := "next"
	if o.c.legacy {
		kind = "data"
	}
	return o.envelope(kind, p.Bytes())
}

func (o *operation) errorFrame(errs gqlerror.List) []byte {
	if o.c.legacy { // one error, and the operation is over
		return o.envelope("error", mustJSON(errs[0]))
	}
	return o.envelope("error", mustJSON(errs))
}

func (o *operation) envelope(kind string, payload []byte) []byte {
	id := mustJSON(o.id)
	b := make([]byte, 0, len(id)+len(payload)+40)
	b = append(append(b, `{"id":`...), id...)
	b = append(append(append(b, `,"type":"`...), kind...), '"')
	if payload != nil {
		b = append(append(b, `,"payload":`...), payload...)
	}
	return append(b, '}')
}

// mustJSON encodes what can always be encoded; what a presenter put into
// extensions and cannot is left out, never a reason to panic.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(`[{"message":"internal error","extensions":{"code":"unexpected"}}]`)
	}
	return b
}

func unmarshalNumbers(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("reading variables: %w", err)
	}
	return nil
}
