package gqlhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestMain sees to it that nothing of this package runs on when its requests
// are over.
func TestMain(m *testing.M) {
	code := m.Run()
	left := ""
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if left = running(); left == "" {
			os.Exit(code)
		}
	}
	fmt.Println("still running:\n" + left)
	os.Exit(1)
}

// running is the stacks of goroutines with a function of this package, but for
// the one that asks.
func running() string {
	buf := make([]byte, 16<<20)
	stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	return strings.Join(slices.DeleteFunc(stacks, func(s string) bool {
		return !strings.Contains(s, "internal/gqlhttp.") || strings.Contains(s, "gqlhttp.TestMain(")
	}), "\n\n")
}

const sdl = `
	type Query { hello(name: String): String denied: String broken: String marshals: String limited: String large: String silent: String slow: String endless: String echo(x: Int): String }
	type Mutation { bump(much: String): Int! swell: String }
	type Subscription { ticks(n: Int): Int forever: Int pretty: Int breaks: Int refused: Int fails: Int flood: Int }`

// schema is a hand-written executable schema that counts what it executes.
type schema struct {
	s     *ast.Schema
	ran   atomic.Int64
	ended chan error                               // how the context of a forever or flood ended
	tick  chan int                                 // what forever sends
	asked atomic.Pointer[graphql.OperationContext] // the newest
	runs  func()                                   // called as one is executed; nil: nobody asks
}

func newSchema() *schema {
	return &schema{s: gqlparser.MustLoadSchema(&ast.Source{Input: sdl}), ended: make(chan error, 16), tick: make(chan int)}
}

func (s *schema) Schema() *ast.Schema { return s.s }
func (*schema) Complexity(context.Context, string, string, int, map[string]any) (int, bool) {
	return 0, false
}

func data(field, value string) *graphql.Response {
	return &graphql.Response{Data: fmt.Appendf(nil, `{%q:%s}`, field, value)}
}

func (s *schema) Exec(ctx context.Context) graphql.ResponseHandler {
	oc := graphql.GetOperationContext(ctx)
	s.ran.Add(1)
	s.asked.Store(oc)
	if s.runs != nil {
		s.runs()
	}
	field, ok := oc.Operation.SelectionSet[0].(*ast.Field)
	if !ok {
		return graphql.OneShot(data("none", "null"))
	}
	if oc.Operation.Operation == ast.Subscription {
		return s.events(ctx, field.Name)
	}
	args := field.ArgumentMap(oc.Variables)
	sent := false
	return func(ctx context.Context) *graphql.Response {
		if sent {
			return nil
		}
		sent = true
		switch field.Name {
		case "hello":
			name, _ := args["name"].(string)
			return data("hello", fmt.Sprintf("%q", "hello "+name))
		case "echo":
			return data("echo", fmt.Sprintf("%q", fmt.Sprintf("%T %v", args["x"], args["x"])))
		case "denied":
			graphql.AddError(ctx, fault.Access())
		case "broken":
			graphql.AddError(ctx, errors.New("dial tcp 10.0.0.5: secret-host"))
		case "marshals":
			panic("a marshaller's own")
		case "limited":
			return &graphql.Response{Errors: gqlerror.List{{Message: "slow down", Extensions: fault.Later(fault.RateLimited, 1500*time.Millisecond, "").Extensions()}}}
		case "large", "swell":
			return data(field.Name, `"`+strings.Repeat("x", 1<<20)+`"`)
		case "slow":
			select {
			case <-time.After(200 * time.Millisecond):
				return data("slow", `"done"`)
			case <-ctx.Done():
				return nil
			}
		case "endless":
			<-ctx.Done()
			return nil
		case "silent":
			return nil
		case "bump":
			return data("bump", fmt.Sprint(s.ran.Load()))
		}
		return data(field.Alias, "null")
	}
}

func (s *schema) events(ctx context.Context, field string) graphql.ResponseHandler {
	n := 0
	if field == "flood" || field == "forever" {
		context.AfterFunc(ctx, func() { s.ended <- context.Cause(ctx) })
	}
	return func(ctx context.Context) *graphql.Response {
		n++
		switch {
		case field == "ticks" && n <= 3:
			return data("ticks", fmt.Sprint(n))
		case field == "pretty" && n == 1:
			return data("pretty", "\n1\r\n")
		case field == "breaks" && n == 1:
			return data("breaks", "1")
		case field == "breaks":
			panic("a marshaller's own")
		case field == "refused":
			return &graphql.Response{Errors: gqlerror.List{{Message: "access denied", Extensions: fault.Access().Extensions()}}}
		case field == "fails" && n == 1:
			graphql.AddError(ctx, fault.Access())
			return data("fails", "null")
		case field == "flood":
			return data("flood", `"`+strings.Repeat("x", 1<<20)+`"`)
		case field == "forever":
			select {
			case v := <-s.tick:
				return data("forever", fmt.Sprint(v))
			case <-ctx.Done():
			}
		}
		return nil
	}
}

// panics is an extension that does, where a request's header says so.
type panics struct{}

func (panics) ExtensionName() string                   { return "panics" }
func (panics) Validate(graphql.ExecutableSchema) error { return nil }
func (panics) MutateOperationParameters(_ context.Context, p *graphql.RawParams) *gqlerror.Error {
	if p.Headers.Get("X-Panic") == "read" {
		panic("while reading")
	}
	return nil
}

func (panics) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	if graphql.GetOperationContext(ctx).Headers.Get("X-Panic") == "start" {
		panic("while starting")
	}
	return next(ctx)
}

// logged is what went to the log.
type logged struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// site is a server of the schema over real HTTP.
type site struct {
	*httptest.Server
	schema *schema
	log    *logged
	drain  context.CancelFunc // ends the context of every request
	left   chan struct{}      // one for each request the handler has returned from
	closed chan struct{}      // one for each connection closed
}

func newSite(t *testing.T, o Options, change ...func(*httptest.Server)) *site {
	t.Helper()
	s := &site{schema: newSchema(), log: &logged{}, left: make(chan struct{}, 1000), closed: make(chan struct{}, 1000)}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	o.Present, o.Recover = Presenter(log), Recover(log)
	srv := handler.New(s.schema)
	srv.SetErrorPresenter(o.Present)
	srv.SetRecoverFunc(o.Recover)
	srv.SetDisableSuggestion(true)
	srv.Use(extension.AutomaticPersistedQuery{Cache: lru.New[string](100)})
	srv.Use(panics{})
	srv.AddTransport(New(o))
	base, drain := context.WithCancel(context.WithoutCancel(t.Context()))
	s.drain = drain
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { s.left <- struct{}{} }()
		if r.URL.Path == "/plain" { // a neighbour that sets no deadlines
			_, _ = io.WriteString(w, "plain")
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(base, cancel)()
		srv.ServeHTTP(w, r.WithContext(ctx))
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			s.closed <- struct{}{}
		}
	}
	for _, c := range change {
		c(s.Server)
	}
	if s.EnableHTTP2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		drain()
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *site) do(t *testing.T, method, query, accept, contentType, body string, header http.Header) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/graphql"+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// subscribe opens an event stream.
func (s *site) subscribe(t *testing.T, query string) *http.Response {
	t.Helper()
	return s.do(t, http.MethodPost, "", mediaSSE, mediaJSON, fmt.Sprintf(`{"query":%q}`, query), nil)
}

func all(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const patience = time.Minute

func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain for " + what)
		panic("unreachable")
	}
}
