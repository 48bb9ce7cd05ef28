package wsock

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
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

// longestID bounds an operation's id, which each of its messages repeats.
const longestID = 1024

// message is what a peer sends, its keys exactly as the protocols spell them.
type message struct {
	id      string
	hasID   bool
	kind    string
	payload json.RawMessage // nil: absent or null
}

// parse reads one message. Anything but one object with a type is an error.
func parse(data []byte) (message, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil || raw == nil {
		return message{}, fmt.Errorf("not a JSON object")
	}
	var m message
	if !isString(raw["type"], &m.kind) {
		return m, fmt.Errorf("type must be a string")
	}
	if id := raw["id"]; isSet(id) {
		if m.hasID = isString(id, &m.id); !m.hasID || len(m.id) > longestID {
			return m, fmt.Errorf("id must be a string of at most %d bytes", longestID)
		}
	}
	if payload := raw["payload"]; isSet(payload) {
		m.payload = payload
	}
	return m, nil
}

// isSet says whether a member is there: null and absence are the same.
func isSet(raw json.RawMessage) bool { return raw != nil && string(raw) != "null" }

func isString(raw json.RawMessage, into *string) bool {
	return len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, into) == nil
}

// object reads a payload that may be absent or null; false: it is neither that
// nor an object.
func object(raw json.RawMessage) (map[string]any, bool) {
	if raw == nil {
		return nil, true
	}
	var m map[string]any
	return m, json.Unmarshal(raw, &m) == nil
}

// handle is one message of the peer's.
func (c *Conn) handle(data []byte) {
	m, err := parse(data)
	if err != nil {
		c.bad(m, err.Error())
		return
	}
	switch {
	case m.kind == connectionInit:
		c.onInit(m)
	case c.legacy && m.kind == "start", !c.legacy && m.kind == "subscribe":
		c.onSubscribe(m)
	case c.legacy && m.kind == "stop", !c.legacy && m.kind == "complete":
		c.onComplete(m)
	case c.legacy && m.kind == connectionTerminate:
		c.Close(websocket.CloseNormalClosure, "Terminated")
	case !c.legacy && (m.kind == "ping" || m.kind == "pong"):
		c.onPing(m)
	default:
		c.bad(m, "unknown type")
	}
}

// bad answers a message that is not as the protocol says: the newer one ends
// the socket; the older one says so and goes on.
func (c *Conn) bad(m message, why string) {
	if !c.legacy {
		c.Close(closeBadRequest, "Invalid message: "+why)
		return
	}
	said := gqlerror.List{{Message: "Invalid message: " + why, Extensions: fault.New(fault.Invalid, "").Extensions()}}
	c.mu.Lock()
	running := c.running[m.id] != nil // and goes on: an error of that id would end it
	c.mu.Unlock()
	if m.hasID && !running {
		op := &operation{c: c, id: m.id}
		c.urgently(frame{op: op, data: op.errorFrame(said)})
		return
	}
	c.urgent(connectionError(said[0].Message, said[0].Extensions))
}

func connectionError(text string, extensions map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"type": "connection_error", "payload": map[string]any{"message": text, "extensions": extensions}})
	if err != nil {
		return []byte(`{"type":"connection_error","payload":{"message":"internal error"}}`)
	}
	return b
}

func (c *Conn) onPing(m message) {
	if m.payload != nil && m.payload[0] != '{' {
		c.bad(m, "payload must be an object")
		return
	}
	if m.kind == "pong" {
		return
	}
	answer := []byte(`{"type":"pong"}`)
	if m.payload != nil {
		answer = append(append([]byte(`{"type":"pong","payload":`), m.payload...), '}')
	}
	c.urgent(answer)
}

func (c *Conn) urgent(data []byte) { c.urgently(frame{data: data}) }

func (c *Conn) urgently(f frame) {
	if !c.queue.urgent(f) {
		c.Close(closeSlow, "Slow consumer")
	}
}

func (c *Conn) onInit(m message) {
	payload, ok := object(m.payload)
	if !ok {
		c.bad(m, "payload must be an object")
		return
	}
	c.mu.Lock()
	first := c.stage == fresh
	if first {
		c.stage = initing
	}
	c.mu.Unlock()
	if !first {
		c.Close(closeTooManyInits, "Too many initialisation requests")
		return
	}
	c.ops.Add(1)
	go func() { // off the reader, which goes on minding the protocol
		defer c.ops.Done()
		c.judge(payload)
	}()
}

// judge asks Init, and acknowledges or refuses.
func (c *Conn) judge(payload map[string]any) {
	late := time.AfterFunc(c.t.o.Limits.InitTimeout, func() { c.Close(closeTryAgain, "Initialisation took too long") })
	defer late.Stop()
	a, err := c.ask(c.ctx, payload)
	if err != nil {
		c.refuse(err)
		return
	}
	c.mu.Lock()
	c.closed = a.Closed
	c.mu.Unlock()
	if !c.t.enter(a.UserKey) {
		c.refuse(fault.Later(fault.RateLimited, time.Second, "too many sockets"))
		return
	}
	c.mu.Lock()
	c.user = a.UserKey
	c.mu.Unlock()
	if err := c.admit(a); err != nil {
		c.refuse(err)
		return
	}
	ack, err := encodeAck(a.Ack)
	if err != nil {
		c.refuse(fmt.Errorf("encoding the ack: %w", err))
		return
	}
	c.open(a, ack)
}

// admit tells the owner that the socket is in, before its peer hears of it.
func (c *Conn) admit(a Accepted) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic as a socket begins: %v", p)
		}
	}()
	if a.Begin != nil {
		a.Begin(c.ctx)
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

// open acknowledges, and starts what the older protocol's clients sent without
// waiting for that. All at once: a peer that has read the ack may subscribe,
// and nothing is said before it.
func (c *Conn) open(a Accepted, ack []byte) {
	if a.Context == nil {
		a.Context = c.ctx
	}
	base, cancel := context.WithCancel(a.Context)
	context.AfterFunc(c.ctx, cancel) // operations end with the socket, whatever their context came from
	c.mu.Lock()
	c.base, c.stage = base, ready
	c.extendLocked(a.ExpiresAt)
	room := c.queue.urgent(frame{data: ack}) && c.queue.urgent(frame{tick: true}) // the first round trip is measured at once
	held := c.held
	c.held = nil
	answers := make([]admission, len(held))
	for i, op := range held {
		answers[i] = c.admitLocked(op)
	}
	c.mu.Unlock()
	if !room {
		c.Close(closeSlow, "Slow consumer")
	}
	for i, op := range held {
		c.begin(op, answers[i])
	}
}

func (c *Conn) ask(ctx context.Context, payload map[string]any) (a Accepted, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in init: %v\n%s", p, debug.Stack())
		}
	}()
	return c.t.o.Init(ctx, Request{Header: c.header, RemoteIP: c.ip, Payload: payload, Conn: c})
}

// refuse ends a socket that was not let in: for good where its credentials are
// at fault, else so that it comes back.
func (c *Conn) refuse(err error) {
	f := fault.From(err)
	if f.Code == fault.Unexpected && c.ctx.Err() == nil {
		c.log.ErrorContext(c.ctx, "socket not initialised", "error", err)
	}
	if c.legacy {
		c.urgent(connectionError(f.Message, f.Extensions()))
	}
	if f.Retryable {
		c.Close(closeTryAgain, f.Message)
		return
	}
	c.Close(closeForbidden, f.Message)
}

func (c *Conn) onSubscribe(m message) {
	c.mu.Lock()
	stage := c.stage
	c.mu.Unlock()
	if stage == fresh || stage == initing && !c.legacy {
		c.Close(closeUnauthorized, "Unauthorized")
		return
	}
	params, ok := subscribeParams(m)
	if !ok {
		c.bad(m, m.kind+" needs an id and a payload with a query")
		return
	}
	params.Headers = c.header
	op := &operation{c: c, id: m.id, params: params}
	c.mu.Lock()
	a := c.admitLocked(op)
	c.mu.Unlock()
	c.begin(op, a)
}

func subscribeParams(m message) (*graphql.RawParams, bool) {
	if !m.hasID || m.id == "" || m.payload == nil {
		return nil, false
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(m.payload, &raw) != nil || raw == nil {
		return nil, false
	}
	p := &graphql.RawParams{ReadTime: graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}}
	if name := raw["operationName"]; isSet(name) && !isString(name, &p.OperationName) {
		return nil, false
	}
	var ok bool
	if p.Variables, ok = variables(raw["variables"]); !ok {
		return nil, false
	}
	if p.Extensions, ok = object(raw["extensions"]); !ok {
		return nil, false
	}
	_, persisted := p.Extensions["persistedQuery"] // may stand for the query
	return p, isString(raw["query"], &p.Query) || persisted && !isSet(raw["query"])
}

// variables are read with numbers kept as they were written.
func variables(raw json.RawMessage) (m map[string]any, ok bool) {
	if raw == nil {
		return nil, true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return m, d.Decode(&m) == nil
}

func (c *Conn) onComplete(m message) {
	if !m.hasID {
		c.bad(m, m.kind+" needs an id")
		return
	}
	c.mu.Lock()
	op := c.running[m.id]
	delete(c.running, m.id)
	c.held = slices.DeleteFunc(c.held, func(o *operation) bool { return o.id == m.id })
	c.mu.Unlock()
	if op == nil {
		c.queue.forget(m.id) // if it was refused, and has not been told
		return
	}
	op.drop()
	if c.legacy { // the older protocol confirms
		done := &operation{c: c, id: m.id}
		c.urgently(frame{op: done, data: done.envelope("complete", nil)})
	}
}
