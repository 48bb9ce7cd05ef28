package door

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/door/double"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

const (
	patient = time.Minute
	key     = "a-key-of-the-tests-of-the-door-and-of-nobody"
	admin   = "the-admin-secret-of-the-tests-of-the-door"
)

const ownSDL = `
type Query { mine: String }
type Mutation { refreshSession(token: String!): String heartbeat: String }
type Subscription { ours: Int }`

// engine is this server's, executed by hand: ours tells the numbers that are
// sent to it.
type engine struct {
	schema *ast.Schema
	mu     sync.Mutex
	subs   map[chan int]struct{}
}

func (e *engine) Schema() *ast.Schema { return e.schema }

func (e *engine) Complexity(context.Context, string, string, int, map[string]any) (int, bool) {
	return 0, false
}

func (e *engine) tell(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.subs {
		c <- n
	}
}

func (e *engine) Exec(ctx context.Context) graphql.ResponseHandler {
	oc := graphql.GetOperationContext(ctx)
	field := oc.Operation.SelectionSet[0].(*ast.Field).Name
	if oc.Operation.Operation != ast.Subscription {
		return graphql.OneShot(&graphql.Response{Data: fmt.Appendf(nil, `{%q:"here"}`, field)})
	}
	c := make(chan int, 1000)
	c <- 0
	e.mu.Lock()
	e.subs[c] = struct{}{}
	e.mu.Unlock()
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, c)
	})
	return func(context.Context) *graphql.Response {
		select {
		case n := <-c:
			return &graphql.Response{Data: fmt.Appendf(nil, `{%q:%d}`, field, n)}
		case <-ctx.Done():
			return nil
		}
	}
}

func newSchema() *ast.Schema { return gqlparser.MustLoadSchema(&ast.Source{Input: ownSDL}) }

// counted is what an observer was told.
type counted struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counted) add(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[what] += n
}

func (c *counted) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[what]
}

type rig struct {
	t      *testing.T
	d      *Door
	h      *double.Hasura
	pool   *pgxpool.Pool
	tr     *wsock.Transport
	engine *engine
	seen   *counted
	url    string
	mu     sync.Mutex
	last   *Link
}

// setup is what a test changes of a rig.
type setup struct {
	options []func(*Options)
	double  func(*double.Options)
	times   func(*times)
	limits  wsock.Limits
	tables  bool

	elsewhere func(wsock.Elsewhere) wsock.Elsewhere // around the door's
	room      func(context.Context, int) (func(), error)
}

func newRig(t *testing.T, s setup) *rig {
	t.Helper()
	r := &rig{t: t, engine: &engine{schema: newSchema(), subs: map[chan int]struct{}{}}, seen: &counted{n: map[string]int{}}}
	ho := double.Options{Key: key, Admin: admin, Anonymous: "public", Era: double.Newest, Poll: 10 * time.Millisecond, KeepAlive: 100 * time.Millisecond}
	if s.tables {
		r.pool = pgtest.Pool(t, pgtest.NewURL(t))
		if _, err := r.pool.Exec(t.Context(), `create table items (id int generated always as identity primary key, text text not null); insert into items (text) values ('first')`); err != nil {
			t.Fatal(err)
		}
		ho.Pool = r.pool
	}
	if s.double != nil {
		s.double(&ho)
	}
	r.h = double.New(ho)
	t.Cleanup(r.h.Stop)
	o := Options{Upstream: r.h.URL(), Schema: r.engine.schema, Role: func(context.Context, http.Header) (string, error) { return "user", nil },
		Admit: func(r *http.Request, _ http.Header) (context.Context, error) { return r.Context(), nil }, Take: func(context.Context) (func(), error) { return func() {}, nil },
		Encrypted: func(*http.Request) bool { return false },
		ClientIP:  func(*http.Request) string { return "192.0.2.7" }, Observer: r.observer()}
	o.Sockets = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.tr.Do(w, q, executor.New(r.engine)) })
	o.Own = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"data":{"mine":"here"}}`)) })
	for _, f := range s.options {
		f(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.d = d
	d.times = times{dial: patient, first: patient, again: patient, idle: time.Minute, pulse: 200 * time.Millisecond, silence: patient / 3,
		least: 10 * time.Millisecond, most: 100 * time.Millisecond, steady: time.Second, body: patient}
	if s.times != nil {
		s.times(&d.times)
	}
	s.limits.SocketsPerIP, s.limits.InitTimeout = 10000, patient
	elsewhere := wsock.Elsewhere(d.Elsewhere)
	if s.elsewhere != nil {
		elsewhere = s.elsewhere(elsewhere)
	}
	r.tr = wsock.New(wsock.Options{Limits: s.limits, CheckOrigin: func(*http.Request) bool { return true }, Elsewhere: elsewhere, Init: r.init, Room: s.room})
	srv := httptest.NewServer(d)
	r.url = srv.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		r.tr.Drain(ctx, 0)
		srv.Close()
		d.Close()
		r.leaksNothing()
	})
	return r
}

func (r *rig) observer() Observer {
	c := r.seen
	return Observer{Upstream: func(n int) { c.add("upstream", n) }, Dialed: func(w string) { c.add("dialed "+w, 1) }, Lost: func(w string) { c.add("lost "+w, 1) },
		Resubscribed: func(n int) { c.add("resubscribed", n) }, Unchanged: func() { c.add("unchanged", 1) },
		Ended: func(w string) { c.add("ended "+w, 1) }, Answered: func(w string) { c.add("answered "+w, 1) }}
}

// leaksNothing: when the last client has gone, no socket and no operation of the
// door's is left, nor a socket at Hasura.
func (r *rig) leaksNothing() {
	r.t.Helper()
	eventually(r.t, "no socket is left upstream", func() bool { return r.h.Sockets() == 0 && r.seen.of("upstream") == 0 })
	eventually(r.t, "no operation is left upstream", func() bool { return r.h.Doing.Load() == 0 })
}

func (r *rig) init(ctx context.Context, q wsock.Request) (wsock.Accepted, error) {
	given := http.Header{}
	if m, ok := q.Payload["headers"].(map[string]any); ok {
		for name, v := range m {
			given.Set(name, fmt.Sprint(v))
		}
	}
	ctx, link := r.d.Link(ctx, q.Conn, q.Header, given)
	r.mu.Lock()
	r.last = link
	r.mu.Unlock()
	return wsock.Accepted{Context: ctx, Closed: func(wsock.CloseInfo) { link.Close() }}, nil
}

func (r *rig) link() *Link {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func mint(t testing.TB, user string, for_ time.Duration) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(for_).Unix(), "https://hasura.io/jwt/claims": map[string]any{
		"x-hasura-allowed-roles": []string{"user"}, "x-hasura-default-role": "user", "x-hasura-user-id": user}}).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// peer is a client, frame by frame.
type peer struct {
	t  *testing.T
	ws *websocket.Conn
}

func (r *rig) dial(protocol string, header http.Header) *peer {
	r.t.Helper()
	return r.dialAt(pathGraphQL, protocol, header)
}

func (r *rig) dialAt(path, protocol string, header http.Header) *peer {
	r.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{protocol}}
	ws, res, err := d.DialContext(r.t.Context(), "ws"+strings.TrimPrefix(r.url, "http")+path, header)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	r.t.Cleanup(func() { _ = ws.Close() })
	return &peer{r.t, ws}
}

// open is a client that was let in, in either protocol.
func (r *rig) open(protocol string) *peer {
	r.t.Helper()
	return r.in(r.dial(protocol, nil))
}

// in lets a client in, as alice.
func (r *rig) in(p *peer) *peer {
	r.t.Helper()
	p.say(`{"type":"connection_init","payload":{"headers":{"Authorization":"Bearer ` + mint(r.t, "alice", time.Hour) + `"}}}`)
	p.expect(`"connection_ack"`)
	return p
}

func (p *peer) say(text string) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) legacy() bool { return p.ws.Subprotocol() == wsock.LegacyWS }

func (p *peer) start(id, query string) {
	p.t.Helper()
	kind := "subscribe"
	if p.legacy() {
		kind = "start"
	}
	b, err := json.Marshal(map[string]any{"id": id, "type": kind, "payload": map[string]any{"query": query}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.say(string(b))
}

func (p *peer) stop(id string) {
	p.t.Helper()
	kind := "complete"
	if p.legacy() {
		kind = "stop"
	}
	p.say(`{"id":"` + id + `","type":"` + kind + `"}`)
}

// read is the next frame that is no keepalive; or how the socket was closed.
func (p *peer) read() (string, *websocket.CloseError) {
	p.t.Helper()
	for {
		_ = p.ws.SetReadDeadline(time.Now().Add(patient))
		_, b, err := p.ws.ReadMessage()
		if e, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // gorilla's own
			return "", e
		}
		if err != nil {
			p.t.Fatalf("nothing came: %v", err)
		}
		if s := string(b); s != `{"type":"ka"}` {
			return s, nil
		}
	}
}

// expect is the next frame, which has to hold all of texts.
func (p *peer) expect(texts ...string) string {
	p.t.Helper()
	got, e := p.read()
	if e != nil {
		p.t.Fatalf("closed with %d %s, want %q", e.Code, e.Text, texts)
	}
	for _, text := range texts {
		if !strings.Contains(got, text) {
			p.t.Fatalf("%.300s, want %q", got, texts)
		}
	}
	return got
}

func eventually(t testing.TB, what string, ok func() bool) {
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

// both runs a test in both protocols.
func both(t *testing.T, f func(t *testing.T, protocol string)) {
	for _, protocol := range []string{wsock.TransportWS, wsock.LegacyWS} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f(t, protocol)
		})
	}
}
