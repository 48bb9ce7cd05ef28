package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	behind "github.com/nself-org/nchat-realtime/internal/door/double"
	"github.com/nself-org/nchat-realtime/internal/hasura"
)

// at sends an operation over HTTP to the one endpoint.
func (d *doored) at(query string, header ...string) (int, string) {
	d.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query})
	if err != nil {
		d.t.Fatal(err)
	}
	return d.raw(string(body), header...)
}

func (d *doored) raw(body string, header ...string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.base+throughDoor, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header = bearer(token(d.t, demo.Alice))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// shown answers introspection of a schema, as Hasura's own does.
func shown(t testing.TB, sdl string) func(string, map[string]any) json.RawMessage {
	t.Helper()
	e := executor.New(generated.NewExecutableSchema(generated.Config{Schema: gqlparser.MustLoadSchema(&ast.Source{Input: sdl})}))
	e.Use(extension.Introspection{})
	return func(query string, variables map[string]any) json.RawMessage {
		ctx := graphql.StartOperationTrace(context.Background())
		oc, errs := e.CreateOperationContext(ctx, &graphql.RawParams{Query: query, Variables: variables})
		if len(errs) > 0 {
			t.Error(errs)
			return nil
		}
		run, ctx := e.DispatchOperation(graphql.WithOperationContext(ctx, oc), oc)
		b, _ := json.Marshal(map[string]any{"data": run(ctx).Data}) //nolint:errchkjson // plain
		return b
	}
}

const hasuraSDL = `
schema { query: query_root mutation: mutation_root subscription: subscription_root }
scalar uuid
type items { id: Int! text: String! }
type Presence { userId: uuid! status: PresenceStatus! }
enum PresenceStatus { online away busy offline }
type MessageEvent { other: Int }
type query_root { items: [items!]! presence(userId: uuid!): Presence }
type mutation_root { add(into: String!, text: String!): Int }
type subscription_root { items: [items!]! }`

// TestOneSchema: introspection through the door, over HTTP and over a socket,
// shows Hasura's schema for the role with our subscriptions in it; what is at
// odds is left out, named in the log and by doctor; where Hasura shows none, so
// does the door.
func TestOneSchema(t *testing.T) {
	t.Parallel()
	log := &logged{}
	d := newDooredLogged(t, func(o *behind.Options) { o.Schema = shown(t, hasuraSDL) }, nil, log)
	const ask = `{ __schema { queryType { name } subscriptionType { name fields { name type { name ofType { name } } args { name } } } types { name fields { name } } } }`
	check := func(how, got string) {
		t.Helper()
		for _, want := range []string{`"queryType":{"name":"query_root"}`, `"subscriptionType":{"name":"subscription_root"`, `"name":"items"`, `"name":"presenceChanged"`, `"name":"deliveryChanged"`} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %s in %.400s", how, want, got)
			}
		}
		if strings.Contains(got, `"name":"messageChanged"`) {
			t.Errorf("%s: what is at odds is shown", how)
		}
	}
	more := shown(t, strings.Replace(hasuraSDL, "type mutation_root {", "type mutation_root { backend_only: Int", 1))
	d.h.Instead(func(w http.ResponseWriter, q *http.Request) bool { // to who has the secret, Hasura shows what is for backends
		var body struct {
			Query     string
			Variables map[string]any
		}
		if q.Header.Get("X-Hasura-Admin-Secret") == "" || q.Header.Get("X-Hasura-Role") != "user" || json.NewDecoder(q.Body).Decode(&body) != nil {
			return false
		}
		_, _ = w.Write(more(body.Query, body.Variables))
		return true
	})
	if _, got := d.at(ask, "Authorization", "", "X-Hasura-Admin-Secret", admin, "X-Hasura-Role", "user"); !strings.Contains(got, "backend_only") {
		t.Errorf("an admin is not shown what Hasura shows: %.400s", got)
	}
	_, got := d.at(ask)
	check("HTTP", got)
	if strings.Contains(got, "backend_only") {
		t.Error("a user is shown what an admin was")
	}
	_, got = d.raw(`{"query":"` + strings.Replace(ask, "__schema", `_\u005fschema`, 1) + `"}`)
	check("spelt otherwise", got)
	s := d.open()
	check("a socket", s.run(ask).String())
	if !strings.Contains(log.String(), "subscription messageChanged is not shown: Hasura has another type MessageEvent") {
		t.Error("the log does not name the conflict:", log)
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	doctor := exec.CommandContext(t.Context(), bin, "doctor")
	doctor.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + d.url, "HASURA_GRAPHQL_JWT_SECRET=" + secret, "HASURA_GRAPHQL_ADMIN_SECRET=" + admin, "HASURA_UPSTREAM_URL=" + d.h.URL()}
	if out, err := doctor.CombinedOutput(); err == nil || !strings.Contains(string(out), "FAIL  schema     subscription messageChanged is not shown: Hasura has another type MessageEvent") {
		t.Errorf("doctor does not name the conflict: %v\n%s", err, out)
	}
	if _, got := d.at(`{ __type(name: "Presence") { fields { name } } }`); got != `{"data":{"__type":{"fields":[{"name":"userId"},{"name":"status"}]}}}` {
		t.Error("a role sees more of a type than Hasura shows it:", got)
	}
	// Mixed with anything else it is Hasura's alone, and so is a batch of it.
	before := len(d.h.Bodies())
	batch := `[{"query":"{ __schema { queryType { name } } }"}]`
	if _, got := d.raw(batch); !strings.HasPrefix(got, "[") || string(d.h.Bodies()[before]) != batch {
		t.Error(got)
	}
	hidden := newDoored(t, nil, nil)
	if _, got := hidden.at(ask); !strings.Contains(got, "introspection is disabled") {
		t.Error(got)
	}
	if r := hidden.open().run(ask); !strings.Contains(r.String(), "introspection is disabled") {
		t.Error(r)
	}
}

// TestRefreshThroughTheDoor: refreshSession extends the socket and what it has at
// Hasura; a token that is not refreshed ends the socket with 4403.
func TestRefreshThroughTheDoor(t *testing.T) {
	t.Parallel()
	d := newDoored(t, nil, nil)
	var short func(*auth.Claims)
	var mine, theirs <-chan result
	var kept *sock
	inTime(t, 6*time.Second, func(ttl time.Duration) (why string) {
		if kept != nil {
			_ = kept.ws.Close()
		}
		eventually(t, "Hasura has no socket", func() bool { return d.h.Sockets() == 0 })
		before, began := d.h.Dials.Load(), time.Now()
		short = func(c *auth.Claims) { c.TTL = ttl }
		kept = d.open(short)
		mine, theirs = kept.start(watch(demo.Bob)), kept.start(`subscription { items { text } }`)
		if why = kept.answers(mine, `"offline"`); why == "" {
			why = kept.answers(theirs, `"first"`)
		}
		if why == "" {
			why = kept.answers(kept.start(`mutation { refreshSession(token: "`+token(t, demo.Alice)+`") { expiresAt } }`), `"expiresAt"`)
		}
		if why == "" {
			eventually(t, "a second socket at Hasura takes over", func() bool {
				return d.h.Dials.Load() == before+2 && d.h.Sockets() == 1 || time.Since(began) > 2*ttl
			})
		}
		return why
	})
	left := d.open(short) // its end is after that of kept's first token
	left.start(`subscription { items { text } }`)
	if e := left.end(); e.Code != 4403 {
		t.Errorf("closed with %d %s", e.Code, e.Text)
	}
	d.insert("after the first token's end")
	until(t, theirs, "after the first token's end")
	d.h.Close(1012, "") // dialled again, with the new token
	d.insert("and again")
	until(t, theirs, "and again")
	bob := d.dialAt(throughDoor, token(t, demo.Bob))
	until(t, mine, `"online"`)
	_ = bob
}

// TestThePage: who is not let in here is not let in there.
func TestThePage(t *testing.T) {
	t.Parallel()
	d := newDoored(t, nil, map[string]string{"ALLOWED_ORIGINS": "https://app.example.com"})
	if status, got := d.at(`{ items { id } }`, "Origin", "https://evil.example"); status != 403 || !strings.Contains(got, "access-denied") || len(d.h.Bodies()) > 0 {
		t.Error(status, got)
	}
	if status, got := d.at(`{ items { id } }`, "Origin", "https://app.example.com"); status != 200 || !strings.Contains(got, "first") {
		t.Error(status, got)
	}
	allowed, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.base+throughDoor, strings.NewReader(`{"query":"{ items { id } }"}`))
	if err != nil {
		t.Fatal(err)
	}
	allowed.Header = bearer(token(t, demo.Alice))
	allowed.Header.Set("Origin", "https://app.example.com")
	answer, err := http.DefaultClient.Do(allowed)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if got := answer.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != "https://app.example.com" {
		t.Error("a page is told", got)
	}
	header := http.Header{"Origin": {"https://evil.example"}}
	_, res, err := (&websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}).DialContext(t.Context(), strings.Replace(d.base, "http", "ws", 1)+throughDoor, header)
	if err == nil || res == nil {
		t.Fatal("let in")
	}
	if _ = res.Body.Close(); res.StatusCode != 403 {
		t.Error(res, err)
	}
	for _, path := range []string{"/v1/metadata", "/v2/query", "/v1/graphql/..%2fmetadata", "/console"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.base+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 404 || len(d.h.Bodies()) > 2 {
			t.Error(path, res.StatusCode)
		}
	}
}

// TestWithoutHasura: a newcomer's client finds this server where Hasura would be.
func TestWithoutHasura(t *testing.T) {
	t.Parallel()
	n := inside(t, database(t), nil)
	d := &doored{node: n}
	if status, got := d.at(`{ myPresence { status } }`); status != 200 || !strings.Contains(got, `"myPresence"`) {
		t.Error(status, got)
	}
	until(t, n.dialAt(throughDoor, token(t, demo.Alice)).start(watch(demo.Bob)), `"offline"`)
}

// TestDirect: what is ours alone is answered without Hasura, only where a check of
// Hasura found nothing that would be gone round, and only as far as the role is
// granted it there.
func TestDirect(t *testing.T) {
	t.Parallel()
	ours, err := hasura.Project()
	if err != nil {
		t.Fatal(err)
	}
	merged, _, _, err := hasura.Plan{Ours: ours, Roles: []string{"user"}}.Merge(hasura.Tree{"version": json.Number("3"), "sources": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	const (
		open = `{"is_allow_list_enabled":false,"is_remote_schema_permissions_enabled":true}`
		none = `{"inconsistent_objects":[]}`
	)
	as := func(hasura.Tree) {}
	for what, c := range map[string]struct {
		config  string
		wrong   string
		change  func(hasura.Tree)
		directs bool
	}{
		"nothing stands in the way": {open, none, as, true},
		"an allow list":             {strings.Replace(open, "false", "true", 1), none, as, false},
		"permissions not enforced":  {strings.Replace(open, "true", "false", 1), none, as, false},
		"Hasura does not say":       {`{}`, none, as, false},
		"limits":                    {open, none, func(m hasura.Tree) { m["api_limits"] = hasura.Tree{"depth_limit": 3} }, false},
		"no remote schema":          {open, none, func(m hasura.Tree) { delete(m, "remote_schemas") }, false},
		"other names": {open, none, func(m hasura.Tree) {
			m["remote_schemas"].([]any)[0].(hasura.Tree)["definition"].(hasura.Tree)["customization"] = hasura.Tree{"root_fields_namespace": "x"}
		}, false},
		"inconsistent": {open, `{"inconsistent_objects":[{"type":"remote_schema","name":"shop","reason":"x","definition":"shop"}]}`, as, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(merged)
			if err != nil {
				t.Fatal(err)
			}
			meta, _ := decode(text).(hasura.Tree)
			c.change(meta)
			log := &logged{}
			h := behind.New(behind.Options{Admin: admin, Key: "a-key-of-the-end-to-end-tests-and-of-nobody-else"})
			h.Instead(func(w http.ResponseWriter, r *http.Request) bool {
				switch r.URL.Path {
				case "/v1alpha1/config":
					_, _ = io.WriteString(w, c.config)
				case "/v1/metadata":
					body, _ := io.ReadAll(r.Body)
					if strings.Contains(string(body), "inconsistent") {
						_, _ = io.WriteString(w, c.wrong)
						return true
					}
					_ = json.NewEncoder(w).Encode(hasura.Tree{"resource_version": 1, "metadata": meta}) //nolint:errchkjson // read from JSON
				default:
					return false
				}
				return true
			})
			d := &doored{node: insideLogged(t, database(t), map[string]string{"HASURA_UPSTREAM_URL": h.URL(), "FRONT_DOOR_DIRECT": "auto"}, log.handler()), h: h}
			t.Cleanup(h.Stop)
			eventually(t, "Hasura was looked at", func() bool { return strings.Contains(log.String(), "answering without Hasura") })
			for query, may := range map[string]bool{
				`{ myPresence { status } }`:                                        true,
				`{ a: myPresence { ...p } } fragment p on MyPresence { status }`:   true,
				`{ myPresence { status } items { id } }`:                           false,
				`{ myPresence { status } __typename }`:                             false,
				`query @cached { myPresence { status } }`:                          false,
				`mutation { revokeSessions(userId: "` + demo.Bob.String() + `") }`: false, // not the role's
				`{ sync(first: 1) { cursor } }`:                                    false, // Hasura adds an argument
			} {
				before := len(h.Bodies())
				_, got := d.at(query)
				if passed := len(h.Bodies()) > before; passed == (may && c.directs) {
					t.Errorf("%s: passed on %t: %s", query, passed, got)
				}
				if may && c.directs && !strings.Contains(got, `"status"`) {
					t.Error(got)
				}
			}
			s := d.open()
			asked := h.Asked.Load()
			if r := s.run(`{ myPresence { status } }`); h.Asked.Load() > asked == c.directs || c.directs && !strings.Contains(r.String(), `"status"`) {
				t.Errorf("over a socket: passed on %t: %s", h.Asked.Load() > asked, r)
			}
			before := len(h.Bodies())
			d.raw(`[{"query":"{ myPresence { status } }"}]`)
			d.raw(`{"query":"{ myPresence { status } }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}`)
			d.at(`{ myPresence { status } }`, "X-Hasura-Admin-Secret", admin)
			if n := len(h.Bodies()) - before; n != 3 {
				t.Errorf("%d of 3 were passed on: a batch, a persisted query, an admin's", n)
			}
		})
	}
}

// TestNothingIsLeft: sockets that came through the door leave neither goroutines
// nor sockets at Hasura, however they go.
func TestNothingIsLeft(t *testing.T) { // alone: it counts goroutines
	d := newDoored(t, nil, nil)
	round := func() {
		var all []*sock
		for i := range 30 {
			s := d.open()
			until(t, s.start(`subscription { items { text } }`), "first")
			until(t, s.start(watch(demo.Bob)), "offline")
			if i%3 == 0 {
				s.start(`{ slow(ms: 3000) }`) // a socket is not looked at there while it runs
			}
			all = append(all, s)
		}
		d.h.Close(1012, "")
		for i, s := range all {
			if i%2 == 0 {
				_ = s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
			}
			_ = s.ws.Close()
		}
		eventually(t, "Hasura has no socket left", func() bool { return d.h.Sockets() == 0 && d.h.Doing.Load() == 0 })
	}
	round()
	count := func() int { runtime.GC(); return runtime.NumGoroutine() }
	settled := 0
	eventually(t, "it comes to rest", func() bool { n := count(); rest := n == settled; settled = n; return rest })
	round()
	round()
	eventually(t, "as many goroutines as before", func() bool { return count() <= settled+3 })
}

// TestTheFrontDoorAlone serves the one endpoint and nothing of what only Hasura
// and the playground need; and does not start without Hasura.
func TestTheFrontDoorAlone(t *testing.T) {
	t.Parallel()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "front-door")
	cmd.Env = []string{"DATABASE_URL=postgres:///x", "HASURA_GRAPHQL_JWT_SECRET=" + secret}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "HASURA_UPSTREAM_URL must be set") {
		t.Errorf("%v %s", err, out)
	}
	url := database(t)
	h, pool := hasuraOn(t, url, nil)
	d := &doored{node: startAs(t, "front-door", url, "HASURA_UPSTREAM_URL="+h.URL(), "HASURA_WEBHOOK_SECRET="+hookSecret), h: h, pool: pool}
	t.Cleanup(h.Stop)
	s := d.open()
	until(t, s.start(`subscription { items { text } }`), "first")
	until(t, s.start(watch(demo.Bob)), "offline")
	d.insert("second")
	if status, got := d.at(`{ items { text } }`); status != http.StatusOK || !strings.Contains(got, "second") {
		t.Error(status, got)
	}
	before := len(h.Bodies())
	for _, path := range []string{"/graphql", "/playground", "/hasura/actions", "/hasura/events", "/v1/metadata", "/v2/query", "/metrics", "/"} {
		res, err := http.Post(d.base+path, "application/json", strings.NewReader(`{}`)) //nolint:noctx // it ends with its server
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s is served: %d", path, res.StatusCode)
		}
	}
	if n := len(h.Bodies()) - before; n != 0 {
		t.Errorf("%d requests were passed on", n)
	}
}

// TestWhatIsPassedOnIsCounted: a user's operations at the one endpoint are of one
// allowance, over HTTP and over sockets, whoever answers them; and nobody else pays.
func TestWhatIsPassedOnIsCounted(t *testing.T) {
	t.Parallel()
	const most = 2 // one comes back in half a minute
	d := newDoored(t, nil, map[string]string{"OPERATIONS_PER_MINUTE": fmt.Sprint(most)})
	s := d.open()
	s.run(`{ whoami }`)
	for i := range most - 1 {
		if status, got := d.at(`{ whoami }`); status != http.StatusOK {
			t.Fatal(i, status, got)
		}
	}
	before := len(d.h.Bodies())
	for _, query := range []string{`{ whoami }`, `{ __schema { queryType { name } } }`, `mutation { add(into: "items", text: "x") }`} {
		if status, got := d.at(query); status != http.StatusTooManyRequests || !strings.Contains(got, `"code":"rate-limited"`) || !strings.Contains(got, `"retryAfterMs"`) {
			t.Error(query, status, got)
		}
	}
	until(t, s.start(`{ whoami }`), `"rate-limited"`)
	if n := len(d.h.Bodies()) - before; n != 0 {
		t.Errorf("%d of what was refused were passed on", n)
	}
	for who, header := range map[string][]string{
		"another user":     {"Authorization", "Bearer " + token(t, demo.Bob)},
		"the app's server": {"Authorization", "", "X-Hasura-Admin-Secret", admin},
		"nobody Hasura knows, who pays by address": {"Authorization", "Bearer e30.e30.e30"},
	} {
		if status, got := d.at(`{ whoami }`, header...); status != http.StatusOK {
			t.Error(who, status, got)
		}
	}
}
