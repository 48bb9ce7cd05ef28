package wsock

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// stage is how far a socket's connection_init is.
type stage int

const (
	awaited stage = iota // none has come
	judged               // Init is asked
	ready                // acknowledged
)

// operations are those of one socket: whether any may run yet, what runs, and
// what waits for the ack.
type operations struct {
	c   *Conn
	all sync.WaitGroup // running operations, and the judging of connection_init

	mu      sync.Mutex
	stage   stage                 // guarded by mu
	base    context.Context       //nolint:containedctx // guarded by mu: of operations, once ready
	running map[string]*operation // guarded by mu
	held    []*operation          // guarded by mu: that wait for the ack
}

func (o *operations) at() stage {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stage
}

// judge says that a connection_init has come; false: it is not the first.
func (o *operations) judge() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage != awaited {
		return false
	}
	o.stage = judged
	return true
}

// open acknowledges, and starts what the older protocol's clients sent without
// waiting for that. All at once: a peer that has read the ack may subscribe,
// and nothing is said before it.
func (o *operations) open(base context.Context, ack []byte) {
	o.mu.Lock()
	o.base, o.stage = base, ready
	room := o.c.queue.urgent(frame{data: ack}) && o.c.writer.askPing() // the first round trip is measured at once
	held := o.held
	o.held = nil
	answers := make([]admission, len(held))
	for i, op := range held {
		answers[i] = o.admitLocked(op)
	}
	o.mu.Unlock()
	if !room {
		o.c.Close(closeSlow, "Slow consumer")
	}
	o.c.writer.kick()
	for i, op := range held {
		o.begin(op, answers[i]) //nolint:contextcheck // op.ctx is base's
	}
}

// admission is what becomes of a subscribe.
type admission int

const (
	admitted admission = iota
	full               // as many operations as there may be
	taken              // the id is in use
	held               // until the ack
)

// add takes a subscribe in.
func (o *operations) add(op *operation) {
	o.mu.Lock()
	a := o.admitLocked(op)
	o.mu.Unlock()
	o.begin(op, a)
}

// admitLocked reserves an operation's id, before anything of it is executed.
// The older protocol's client sends start right behind connection_init, without
// waiting for the ack; and with an id in use it replaces the operation.
func (o *operations) admitLocked(op *operation) admission {
	most := o.c.t.o.Limits.Operations
	if o.stage != ready {
		o.held = slices.DeleteFunc(o.held, func(x *operation) bool { return x.id == op.id })
		waiting := op.bytes
		for _, x := range o.held {
			waiting += x.bytes
		}
		if len(o.held) >= most || len(o.held) > 0 && int64(waiting) > o.c.t.o.Limits.FrameBytes { // who has not said who it is holds a frame's worth
			return full
		}
		o.held = append(o.held, op)
		return held
	}
	old, exists := o.running[op.id]
	switch {
	case exists && !o.c.legacy:
		return taken
	case exists:
		old.drop()
	case len(o.running) >= most:
		return full
	}
	if o.c.legacy {
		o.c.queue.forget(op.id) // what was still to be said of an earlier one
	}
	op.ctx, op.cancel = context.WithCancel(o.base)
	o.running[op.id] = op
	o.all.Add(1)
	return admitted
}

// begin does what an admission says.
func (o *operations) begin(op *operation, a admission) {
	switch a {
	case admitted:
		if o.c.t.o.Observer.Subscribed != nil {
			o.c.t.o.Observer.Subscribed()
		}
		go op.run()
	case full:
		o.c.refused()
		o.c.answer(frame{op: op, data: op.errorFrame(gqlerror.List{{
			Message:    fmt.Sprintf("more than %d operations on one socket", o.c.t.o.Limits.Operations),
			Extensions: fault.New(fault.Invalid, "").Extensions()}})})
	case taken:
		const before, after = "Subscriber for ", " already exists"
		o.c.Close(closeExists, before+cut(op.id, longestReason-len(before+after))+after)
	case held:
	}
}

// runs reports whether an id is in use.
func (o *operations) runs(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.running[id] != nil
}

// take takes out what runs, or waits, under an id; nil: nothing runs.
func (o *operations) take(id string) *operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	op := o.running[id]
	delete(o.running, id)
	o.held = slices.DeleteFunc(o.held, func(x *operation) bool { return x.id == id })
	return op
}

// release frees an operation's id; false: it was not the operation's any more.
func (o *operations) release(op *operation) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running[op.id] != op {
		return false
	}
	delete(o.running, op.id)
	return true
}
