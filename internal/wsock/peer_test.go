package wsock

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const patient = time.Minute

const sdl = `
type Query { hello: String fails: String }
type Mutation { set: Int }
type Subscription { ticks(n: Int!): Int forever: Int breaks: Int spoils: Int ends: Int big: String state: Int }`

// engine is a schema executed by hand: enough for every way an operation goes.
type engine struct {
	schema  *ast.Schema
	running atomic.Int64                             // subscriptions not ended
	stated  atomic.Int64                             // how often state was read
	asked   atomic.Pointer[graphql.OperationContext] // the newest
}

func newEngine() *engine {
	return &engine{schema: gqlparser.MustLoadSchema(&ast.Source{Input: sdl})}
}

func (e *engine) Schema() *ast.Schema { return e.schema }

func (e *engine) Complexity(context.Context, string, string, int, map[string]any) (int, bool) {
	return 0, false
}

func reply(field string, v any) *graphql.Response {
	b, _ := json.Marshal(map[string]any{field: v}) //nolint:errchkjson // plain values
	return &graphql.Response{Data: b}
}

func (e *engine) Exec(ctx context.Context) graphql.ResponseHandler {
	oc := graphql.GetOperationContext(ctx)
	field := oc.Operation.SelectionSet[0].(*ast.Field)
	e.asked.Store(oc)
	if oc.Operation.Operation != ast.Subscription {
		return once(field.Name)
	}
	e.running.Add(1)
	context.AfterFunc(ctx, func() { e.running.Add(-1) })
	n := 0
	return func(ctx context.Context) *graphql.Response {
		n++
		switch field.Name {
		case "ticks":
			most, _ := field.ArgumentMap(oc.Variables)["n"].(int64)
			if int64(n) > most {
				return nil
			}
			return reply("ticks", n)
		case "breaks":
			if n > 1 {
				panic("a resolver's")
			}
			return reply("breaks", n)
		case "spoils":
			return reply("spoils", func() int { panic("a marshaller's") }())
		case "ends":
			if n > 1 {
				return &graphql.Response{Errors: graphql.ErrorResponse(ctx, "over").Errors}
			}
			return reply("ends", n)
		case "big":
			return reply("big", strings.Repeat("x", 64<<10))
		case "state":
			e.stated.Add(1)
			return reply("state", strings.Repeat("x", 4096))
		}
		<-ctx.Done()
		return nil
	}
}

func once(field string) graphql.ResponseHandler {
	done := false
	return func(ctx context.Context) *graphql.Response {
		if done {
			return nil
		}
		done = true
		if field == "fails" {
			graphql.AddError(ctx, errors.New("no"))
			return reply(field, nil)
		}
		return reply(field, "world")
	}
}

// rig is a transport on a real port.
type rig struct {
	t      *testing.T
	tr     *Transport
	engine *engine
	url    string
	mu     sync.Mutex
	closed []CloseInfo
}

func (r *rig) closings() []CloseInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]CloseInfo(nil), r.closed...)
}

// init lets in as the payload asks it to.
func (r *rig) init(ctx context.Context, q Request) (Accepted, error) {
	if q.Payload["deny"] == true {
		return Accepted{}, fault.New(fault.InvalidJWT, "Could not verify JWT: JWTExpired")
	}
	if q.Payload["later"] == true {
		return Accepted{}, fault.Later(fault.Unexpected, time.Second, "not now")
	}
	user, _ := q.Payload["user"].(string)
	a := Accepted{Context: ctx, Ack: map[string]any{"sessionId": q.Conn.ID()}, UserKey: user, Closed: func(i CloseInfo) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closed = append(r.closed, i)
	}}
	if ms, ok := q.Payload["expiresIn"].(float64); ok {
		a.ExpiresAt = time.Now().Add(time.Duration(ms) * time.Millisecond)
	}
	return a, nil
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, engine: newEngine()}
	o := Options{Limits: Limits{SocketsPerIP: 1000, InitTimeout: patient}, CheckOrigin: func(*http.Request) bool { return true }, Init: r.init,
		Recover: func(context.Context, any) error { return errors.New("internal error") }}
	for _, f := range change {
		f(&o)
	}
	r.tr = New(o)
	exec := executor.New(r.engine)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.tr.Do(w, q, exec) }))
	r.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		r.tr.Drain(ctx, 0)
		srv.Close()
		eventually(t, "every subscription ends with its socket", func() bool { return r.engine.running.Load() == 0 })
	})
	return r
}

// peer is the other end of a socket, frame by frame.
type peer struct {
	t  *testing.T
	ws *websocket.Conn
}

func (r *rig) dial(protocols ...string) *peer {
	r.t.Helper()
	d := websocket.Dialer{Subprotocols: protocols}
	ws, res, err := d.DialContext(r.t.Context(), r.url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	r.t.Cleanup(func() { _ = ws.Close() })
	return &peer{r.t, ws}
}

// open is a socket that was acknowledged.
func (r *rig) open() *peer {
	r.t.Helper()
	p := r.dial(TransportWS)
	p.say(`{"type":"connection_init"}`)
	p.expect(`"type":"connection_ack"`)
	return p
}

func (p *peer) say(text string) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// read is the next frame, or the close.
func (p *peer) read() (string, *websocket.CloseError) {
	p.t.Helper()
	_ = p.ws.SetReadDeadline(time.Now().Add(patient))
	_, b, err := p.ws.ReadMessage()
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		return "", e
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b), nil
}

func (p *peer) expect(parts ...string) string {
	p.t.Helper()
	got, closed := p.read()
	if closed != nil {
		p.t.Fatalf("closed: %v, want %v", closed, parts)
	}
	for _, part := range parts {
		if !strings.Contains(got, part) {
			p.t.Fatalf("got %s, want %s", got, part)
		}
	}
	return got
}

// ends reads on until the close, and answers what came before it.
func (p *peer) ends(code int) []string {
	p.t.Helper()
	var before []string
	for {
		got, closed := p.read()
		if closed == nil {
			before = append(before, got)
			continue
		}
		if closed.Code != code {
			p.t.Fatalf("closed %v, want %d", closed, code)
		}
		if len(closed.Text) > 123 {
			p.t.Fatalf("a reason of %d bytes", len(closed.Text))
		}
		return before
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patient)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("never: " + what)
		}
	}
}

func abort(p *peer) {
	if c, ok := p.ws.NetConn().(*net.TCPConn); ok {
		_ = c.SetLinger(0) // RST
	}
	_ = p.ws.NetConn().Close()
}
