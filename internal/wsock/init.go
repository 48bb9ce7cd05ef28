package wsock

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// handshake answers a connection_init.
type handshake struct{ c *Conn }

// run asks Init, and acknowledges or refuses.
func (h *handshake) run(payload map[string]any) {
	late := time.AfterFunc(h.c.t.o.Limits.InitTimeout, func() { h.c.Close(closeTryAgain, "Initialisation took too long") })
	defer late.Stop()
	a, err := h.ask(h.c.ctx, payload)
	h.c.header = nil // a socket may last for days, and nobody asks for it again
	if err != nil {
		h.refuse(err)
		return
	}
	h.c.mu.Lock()
	h.c.closed = a.Closed
	h.c.mu.Unlock()
	if !h.c.t.enter(h.c, a.UserKey) {
		h.refuse(fault.Later(fault.RateLimited, time.Second, "too many sockets"))
		return
	}
	h.c.mu.Lock()
	h.c.user = a.UserKey
	h.c.mu.Unlock()
	if err := h.admit(a); err != nil {
		h.refuse(err)
		return
	}
	ack, err := encodeAck(a.Ack)
	if err != nil {
		h.refuse(fmt.Errorf("encoding the ack: %w", err))
		return
	}
	h.open(a, ack)
}

// admit tells the owner that the socket is in, before its peer hears of it.
func (h *handshake) admit(a Accepted) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic as a socket begins: %v", p)
		}
	}()
	if a.Begin != nil {
		a.Begin(h.c.ctx)
	}
	return nil
}

func encodeAck(payload map[string]any) (ack []byte, err error) {
	defer func() { // values encode themselves
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return json.Marshal(struct {
		Type    string         `json:"type"`
		Payload map[string]any `json:"payload,omitempty"`
	}{"connection_ack", payload})
}

// open lets operations run in the context that Init gave.
func (h *handshake) open(a Accepted, ack []byte) {
	if a.Context == nil {
		a.Context = h.c.ctx
	}
	base, cancel := context.WithCancel(a.Context)
	context.AfterFunc(h.c.ctx, cancel) // operations end with the socket, whatever their context came from
	h.c.Extend(a.ExpiresAt)
	h.c.ops.open(base, ack)
}

func (h *handshake) ask(ctx context.Context, payload map[string]any) (a Accepted, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in init: %v\n%s", p, debug.Stack())
		}
	}()
	return h.c.t.o.Init(ctx, Request{Header: h.c.header, RemoteIP: h.c.ip, Payload: payload, Conn: h.c})
}

// refuse ends a socket that was not let in: for good where its credentials are
// at fault, else so that it comes back.
func (h *handshake) refuse(err error) {
	f := fault.From(err)
	if f.Code == fault.Unexpected && h.c.ctx.Err() == nil {
		h.c.log.ErrorContext(h.c.ctx, "socket not initialised", "error", err)
	}
	if h.c.legacy {
		h.c.answer(frame{data: connectionError(f.Message, f.Extensions())})
	}
	if f.Retryable {
		h.c.Close(closeTryAgain, f.Message)
		return
	}
	h.c.Close(closeForbidden, f.Message)
}
