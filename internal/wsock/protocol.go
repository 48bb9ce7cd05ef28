package wsock

import (
	"context"
	"encoding/json"
	"fmt"
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
	closeTryAgain       = websocket.CloseTryAgainLater
	connectionInit      = "connection_init"
	connectionTerminate = "connection_terminate"
)

// message is what a peer sends, its keys exactly as the protocols spell them.
type message struct {
	id      string
	hasID   bool
	kind    string
	payload json.RawMessage // nil: absent
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
	if id, ok := raw["id"]; ok {
		if m.hasID = isString(id, &m.id); !m.hasID {
			return m, fmt.Errorf("id must be a string")
		}
	}
	m.payload = raw["payload"]
	return m, nil
}

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
		c.Close(closeBadRequest, "Invalid message: "+err.Error())
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
		c.Close(closeBadRequest, "Invalid message: unknown type")
	}
}

func (c *Conn) onPing(m message) {
	if _, ok := object(m.payload); !ok {
		c.Close(closeBadRequest, "Invalid message: payload must be an object")
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

func (c *Conn) urgent(data []byte) {
	if !c.queue.urgent(data) {
		c.Close(closeSlow, "Slow consumer")
	}
}

func (c *Conn) onInit(m message) {
	payload, ok := object(m.payload)
	if !ok {
		c.Close(closeBadRequest, "Invalid message: payload must be an object")
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
	ack, err := json.Marshal(struct {
		Type    string         `json:"type"`
		Payload map[string]any `json:"payload,omitempty"`
	}{"connection_ack", a.Ack})
	if err != nil {
		c.refuse(err)
		return
	}
	if a.Context == nil {
		a.Context = c.ctx
	}
	c.mu.Lock()
	c.user, c.base = a.UserKey, a.Context
	c.stage = ready
	c.extendLocked(a.ExpiresAt)
	c.mu.Unlock()
	c.urgent(ack)
	if c.legacy {
		c.urgent([]byte(`{"type":"ka"}`))
	}
	c.queue.nudge()
}

func (c *Conn) ask(ctx context.Context, payload map[string]any) (a Accepted, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in init: %v", p)
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
		body, merr := json.Marshal(map[string]any{"type": "connection_error",
			"payload": map[string]any{"message": f.Message, "extensions": f.Extensions()}})
		if merr == nil {
			c.urgent(body)
		}
	}
	if f.Retryable {
		c.Close(closeTryAgain, f.Message)
		return
	}
	c.Close(closeForbidden, f.Message)
}

func (c *Conn) onSubscribe(m message) {
	c.mu.Lock()
	stage, base := c.stage, c.base
	c.mu.Unlock()
	if stage != ready {
		c.Close(closeUnauthorized, "Unauthorized")
		return
	}
	params, ok := subscribeParams(m)
	if !ok {
		c.Close(closeBadRequest, "Invalid message: subscribe needs an id and a payload with a query")
		return
	}
	params.Headers = c.header
	ctx, cancel := context.WithCancel(base)
	op := &operation{c: c, id: m.id, ctx: ctx, cancel: cancel}
	c.mu.Lock()
	old, exists := c.running[m.id]
	full := len(c.running) >= c.t.o.Limits.Operations && !exists
	if !full && (!exists || c.legacy) {
		c.running[m.id] = op
		c.ops.Add(1)
	}
	c.mu.Unlock()
	switch {
	case full:
		cancel()
		c.urgent(op.errorFrame(gqlerror.List{&gqlerror.Error{
			Message:    fmt.Sprintf("more than %d operations on one socket", c.t.o.Limits.Operations),
			Extensions: fault.New(fault.Invalid, "").Extensions()}}))
		return
	case exists && !c.legacy:
		cancel()
		c.Close(closeExists, "Subscriber for "+m.id+" already exists")
		return
	case exists: // the older protocol replaces
		old.drop()
	}
	if c.t.o.Observer.Subscribed != nil {
		c.t.o.Observer.Subscribed()
	}
	go op.run(params)
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
	_, persisted := raw["extensions"]
	if !isString(raw["query"], &p.Query) && !(persisted && raw["query"] == nil) {
		return nil, false
	}
	if name := raw["operationName"]; name != nil && string(name) != "null" && !isString(name, &p.OperationName) {
		return nil, false
	}
	var ok bool
	if p.Variables, ok = variables(raw["variables"]); !ok {
		return nil, false
	}
	p.Extensions, ok = object(raw["extensions"])
	return p, ok
}

// variables are read with numbers kept as they were written.
func variables(raw json.RawMessage) (map[string]any, bool) {
	if raw == nil {
		return nil, true
	}
	var m map[string]any
	if err := unmarshalNumbers(raw, &m); err != nil {
		return nil, false
	}
	return m, true
}

func (c *Conn) onComplete(m message) {
	if !m.hasID {
		c.Close(closeBadRequest, "Invalid message: "+m.kind+" needs an id")
		return
	}
	c.mu.Lock()
	op := c.running[m.id]
	delete(c.running, m.id)
	c.mu.Unlock()
	if op != nil {
		op.drop()
	}
}
