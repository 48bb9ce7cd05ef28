package e2e

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	behind "github.com/nself-org/nchat-realtime/internal/door/double"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const throughDoor = "/v1/graphql"

// doored is a node with a double of Hasura behind it, and the database that
// both have: with a table items, which the double's live queries poll.
type doored struct {
	*node
	h    *behind.Hasura
	pool *pgxpool.Pool
}

func newDoored(t testing.TB, change func(*behind.Options), env map[string]string) *doored {
	t.Helper()
	return newDooredLogged(t, change, env, nil)
}

func newDooredLogged(t testing.TB, change func(*behind.Options), env map[string]string, log *logged) *doored {
	t.Helper()
	url := database(t)
	h, pool := hasuraOn(t, url, change)
	given := map[string]string{"HASURA_UPSTREAM_URL": h.URL(), "OPERATIONS_PER_MINUTE": "100000"}
	for k, v := range env {
		given[k] = v
	}
	d := &doored{node: insideLogged(t, url, given, log.handler()), h: h, pool: pool}
	t.Cleanup(h.Stop) // before the node leaves: its sockets have upstreams until then
	return d
}

// hasuraOn is a double of Hasura on a database; who makes it stops it.
func hasuraOn(t testing.TB, url string, change func(*behind.Options)) (*behind.Hasura, *pgxpool.Pool) {
	t.Helper()
	pool := pgtest.Pool(t, url)
	if _, err := pool.Exec(t.Context(), `create table items (id int generated always as identity primary key, text text not null); insert into items (text) values ('first')`); err != nil {
		t.Fatal(err)
	}
	var key struct{ Key string }
	if err := json.Unmarshal([]byte(secret), &key); err != nil {
		t.Fatal(err)
	}
	o := behind.Options{Pool: pool, Key: key.Key, Admin: admin, Era: behind.Newest, Poll: 10 * time.Millisecond, KeepAlive: time.Second}
	if change != nil {
		change(&o)
	}
	return behind.New(o), pool
}

func (d *doored) open(change ...func(*auth.Claims)) *sock {
	d.t.Helper()
	return d.dialAt(throughDoor, token(d.t, demo.Alice, change...))
}

func (d *doored) insert(text string) {
	d.t.Helper()
	if _, err := d.pool.Exec(d.t.Context(), `insert into items (text) values ($1)`, text); err != nil {
		d.t.Fatal(err)
	}
}

// TestOneSocketForBoth: what is Hasura's and what is ours runs on one socket, for
// the same user, and Hasura is dialled once, when it is first asked.
func TestOneSocketForBoth(t *testing.T) {
	t.Parallel()
	d := newDoored(t, nil, nil)
	bob := d.dialAt(throughDoor, token(t, demo.Bob))
	mine := bob.start(watch(demo.Alice))
	until(t, mine, `"offline"`)
	if n := d.h.Dials.Load(); n != 0 {
		t.Fatalf("Hasura was dialled %d times before it was asked", n)
	}
	theirs := bob.start(`subscription { items { id text } }`)
	until(t, theirs, `"first"`)
	if r := bob.run(`{ whoami }`); !strings.Contains(r.String(), `"x-hasura-user-id":"`+demo.Bob.String()+`"`) || !strings.Contains(r.String(), `"x-hasura-role":"user"`) {
		t.Fatal("Hasura takes the caller for another:", r)
	}
	if r := bob.run(`mutation { add(into: "items", text: "second") }`); !strings.Contains(r.String(), `{"add":2}`) {
		t.Fatal(r)
	}
	until(t, theirs, `"second"`)
	alice := d.open()
	if r := alice.run(`mutation { heartbeat(input: {active: true}) { id } }`); len(r.Errors) > 0 {
		t.Fatal("a heartbeat is about its socket, and is ours:", r)
	}
	until(t, mine, `"online"`)
	if n := d.h.Dials.Load(); n != 1 {
		t.Fatalf("%d sockets at Hasura: alice asked it for nothing", n)
	}
	for _, h := range d.h.Headers() {
		for name := range h {
			if strings.HasPrefix(name, "Sec-Websocket-") && name != "Sec-Websocket-Key" && name != "Sec-Websocket-Version" && name != "Sec-Websocket-Protocol" {
				t.Error("a header of the handshake went through:", name)
			}
		}
	}
}

// TestWhoRunsAnOperation: by its root fields, however they are written.
func TestWhoRunsAnOperation(t *testing.T) {
	t.Parallel()
	d := newDoored(t, nil, nil)
	s := d.open()
	here := `presenceChanged(userIds: ["` + demo.Bob.String() + `"])`
	for query, want := range map[string]string{
		`subscription { x: ` + here + ` { status } }`: `{"x":{"status":"offline"}}`,
		`subscription { ...f } fragment f on subscription_root { ` + here + ` { ...p } } fragment p on Presence { status }`: `{"presenceChanged":{"status":"offline"}}`,
		`subscription { ... on subscription_root @include(if: true) { ` + here + ` { status } } }`:                          `{"presenceChanged":{"status":"offline"}}`,
		`subscription { items { id } }`:                                 `"items":[{"id": 1`,
		`subscription { ... on subscription_root { y: items { id } } }`: `"y":[{"id": 1`,
		`subscription { ` + here + ` { status } items { id } }`:         `fields of two servers`,
		`subscription { ...f ...g } fragment f on subscription_root { ` + here + ` { status } } fragment g on x { items { id } }`: `fields of two servers`,
		`subscription { items { id } ` + here + ` @skip(if: true) { status } }`:                                                   `fields of two servers`,
		`subscription { nothing { id } }`:                `not found in type`,
		`query { myPresence { status } }`:                `field 'myPresence' not found in type`,
		`{ this is no GraphQL`:                           `it failed`,
		`{ __typename }`:                                 `query_root`,
		`{ fails }`:                                      `"code":"validation-failed"`,
		`mutation { refreshSession(token: "x") { id } }`: `"code":"invalid-jwt"`,
	} {
		if r := s.run(query); !strings.Contains(strings.ReplaceAll(r.String(), `": `, `":`), strings.ReplaceAll(want, `": `, `":`)) {
			t.Errorf("%s\n%s\nwant %s", query, r, want)
		}
	}
	// Of several operations the one that is named; the others need not be known here.
	c := s.startNamed(`query A { items { id } } subscription B($u: [uuid!]!) { ...f } fragment f on subscription_root { presenceChanged(userIds: $u) { status } } fragment i on items { id } query C { items { ...i } }`,
		"B", map[string]any{"u": []any{demo.Bob}})
	until(t, c, `{"presenceChanged":{"status":"offline"}}`)
}

// startNamed is start for a document of several operations.
func (s *sock) startNamed(query, name string, variables map[string]any) <-chan result {
	s.mu.Lock()
	s.next++
	id := fmt.Sprint(s.next)
	c := make(chan result, 1024)
	s.subs[id] = c
	s.mu.Unlock()
	s.write(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": query, "operationName": name, "variables": variables}})
	return c
}

// logged is what a server logs, for a test to read meanwhile.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// handler is of a log that may be nil: then nothing is kept.
func (l *logged) handler() slog.Handler {
	if l == nil {
		return slog.DiscardHandler
	}
	return slog.NewTextHandler(l, nil)
}
