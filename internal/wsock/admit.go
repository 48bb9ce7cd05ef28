package wsock

import (
	"context"
	"fmt"
	"slices"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// admission is what becomes of a subscribe.
type admission int

const (
	admitted admission = iota
	full               // as many operations as there may be
	taken              // the id is in use
	held               // until the ack
)

// admitLocked reserves an operation's id, before anything of it is executed.
// The older protocol's client sends start right behind connection_init, without
// waiting for the ack; and with an id in use it replaces the operation.
func (c *Conn) admitLocked(op *operation) admission {
	if c.stage != ready {
		c.held = slices.DeleteFunc(c.held, func(o *operation) bool { return o.id == op.id })
		if len(c.held) >= c.t.o.Limits.Operations {
			return full
		}
		c.held = append(c.held, op)
		return held
	}
	old, exists := c.running[op.id]
	switch {
	case exists && !c.legacy:
		return taken
	case exists:
		old.drop()
	case len(c.running) >= c.t.o.Limits.Operations:
		return full
	}
	if c.legacy {
		c.queue.forget(op.id) // what was still to be said of an earlier one
	}
	op.ctx, op.cancel = context.WithCancel(c.base)
	c.running[op.id] = op
	c.ops.Add(1)
	return admitted
}

// begin does what an admission says.
func (c *Conn) begin(op *operation, a admission) {
	switch a {
	case admitted:
		if c.t.o.Observer.Subscribed != nil {
			c.t.o.Observer.Subscribed()
		}
		go op.run()
	case full:
		c.urgently(frame{op: op, data: op.errorFrame(gqlerror.List{{
			Message:    fmt.Sprintf("more than %d operations on one socket", c.t.o.Limits.Operations),
			Extensions: fault.New(fault.Invalid, "").Extensions()}})})
	case taken:
		const before, after = "Subscriber for ", " already exists"
		c.Close(closeExists, before+cut(op.id, longestReason-len(before+after))+after)
	case held:
	}
}
