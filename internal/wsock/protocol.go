package wsock

import (
	"fmt"

	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/limit"
)

// Close codes of graphql-transport-ws, and one of ours.
const (
	closeBadRequest     = 4400
	closeUnauthorized   = 4401
	closeForbidden      = 4403
	closeSubprotocol    = 4406
	closeInitTimeout    = 4408
	closeExists         = 4409
	closeTooManyInits   = 4429
	closeSlow           = 4499 // nothing could be written for the write deadline
	closeInternal       = 4500
	closeTryAgain       = websocket.CloseTryAgainLater
	connectionInit      = "connection_init"
	connectionTerminate = "connection_terminate"
)

// protocol is what each message of the peer's does, in both protocols.
type protocol struct{ c *Conn }

// handle is one message of the peer's; free: a ping, a pong or a complete.
func (p protocol) handle(data []byte) (free bool) {
	m, err := parse(data)
	if err != nil {
		p.bad(m, err.Error())
		return false
	}
	m.bytes = len(data)
	switch {
	case m.kind == connectionInit:
		p.onInit(m)
	case p.c.legacy && m.kind == "start", !p.c.legacy && m.kind == "subscribe":
		p.onSubscribe(m)
	case p.c.legacy && m.kind == "stop", !p.c.legacy && m.kind == "complete":
		p.onComplete(m)
		return true
	case p.c.legacy && m.kind == connectionTerminate:
		p.c.Close(websocket.CloseNormalClosure, "Terminated")
	case !p.c.legacy && (m.kind == "ping" || m.kind == "pong"):
		p.onPing(m)
		return true
	default:
		p.bad(m, "unknown type")
	}
	return false
}

// bad answers a message that is not as the protocol says: the newer one ends
// the socket; the older one says so and goes on.
func (p protocol) bad(m message, why string) {
	if !p.c.legacy {
		p.c.Close(closeBadRequest, "Invalid message: "+why)
		return
	}
	said := gqlerror.List{{Message: "Invalid message: " + why, Extensions: fault.New(fault.Invalid, "").Extensions()}}
	if m.hasID && !p.c.ops.runs(m.id) { // one that runs goes on, and an error of its id would end it
		op := &operation{c: p.c, id: m.id}
		p.c.answer(frame{op: op, data: op.errorFrame(said)})
		return
	}
	p.c.answer(frame{data: connectionError(said[0].Message, said[0].Extensions)})
}

// pingBytes is how much a ping or a pong may have: what is sent comes back, ahead of all
// else, to whoever it may be.
const pingBytes = 4 << 10

func (p protocol) onPing(m message) {
	if m.bytes > pingBytes {
		p.bad(m, fmt.Sprintf("a %s has at most %d bytes", m.kind, pingBytes))
		return
	}
	if m.payload != nil && !begins(m.payload, '{') {
		p.bad(m, "payload must be an object")
		return
	}
	if m.kind == "pong" {
		return
	}
	answer := []byte(`{"type":"pong"}`)
	if m.payload != nil {
		answer = append(append([]byte(`{"type":"pong","payload":`), m.payload...), '}')
	}
	p.c.answer(frame{data: answer})
}

// initValues is how many values a connection_init may have, an object counting for eight:
// they are decoded for whoever sends them.
const initValues = 1024

func (p protocol) onInit(m message) {
	if m.payload != nil && !begins(m.payload, '{') {
		p.bad(m, "payload must be an object")
		return
	}
	if _, err := limit.Takes(m.payload, initValues); err != nil {
		p.bad(m, fmt.Sprintf("payload has more than %d values", initValues))
		return
	}
	if !p.c.ops.judge() {
		p.c.Close(closeTooManyInits, "Too many initialisation requests")
		return
	}
	payload := object(m.payload)
	p.c.ops.all.Go(func() { // off the reader, which goes on minding the protocol
		(&handshake{p.c}).run(payload)
	})
}

func (p protocol) onSubscribe(m message) {
	if at := p.c.ops.at(); at == awaited || at == judged && !p.c.legacy {
		p.c.Close(closeUnauthorized, "Unauthorized")
		return
	}
	asked, ok := askedIn(m)
	if !ok {
		p.bad(m, m.kind+" needs an id and a payload with a query")
		return
	}
	p.c.ops.add(&operation{c: p.c, id: m.id, asked: asked, bytes: m.bytes})
}

func (p protocol) onComplete(m message) {
	if !m.hasID {
		p.bad(m, m.kind+" needs an id")
		return
	}
	op := p.c.ops.take(m.id)
	if op == nil {
		p.c.queue.forget(m.id) // if it was refused, and has not been told
		return
	}
	op.drop()
	if p.c.legacy { // the older protocol confirms
		done := &operation{c: p.c, id: m.id}
		p.c.answer(frame{op: done, data: done.envelope("complete", nil)})
	}
}
