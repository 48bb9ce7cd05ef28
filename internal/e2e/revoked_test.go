package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/hasura"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

var asAdmin = http.Header{"X-Hasura-Admin-Secret": {admin}}

func issuedAgo(d time.Duration, id string) func(*auth.Claims) {
	return func(c *auth.Claims) { c.Now, c.TokenID = time.Now().Add(-d), id }
}

// byHasura is what Hasura sends for a user, and the token where it passes it on.
func byHasura(user uuid.UUID, tok string) http.Header {
	h := http.Header{"X-Nchat-Webhook-Secret": {hookSecret}, "X-Hasura-Role": {"user"}, "X-Hasura-User-Id": {user.String()}}
	if tok != "" {
		h.Set("Authorization", "Bearer "+tok)
	}
	return h
}

func (n *node) revoke(user uuid.UUID) {
	n.t.Helper()
	if r := n.post(fmt.Sprintf(`mutation { revokeSessions(userId: %q) }`, user), asAdmin); len(r.Errors) > 0 {
		n.t.Fatal(r)
	}
}

// waiting is how many syncs wait at a node.
func (n *node) waiting() int {
	n.t.Helper()
	all := n.operator("/debug/pprof/goroutine?debug=2")
	return strings.Count(all, "feed.(*Service).await(")
}

// events opens an event stream.
func (n *node) events(tok, query string) io.Reader {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.base+"/graphql", strings.NewReader(operation(query)))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header = bearer(tok)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = res.Body.Close() })
	return res.Body
}

func sendTo(channel uuid.UUID, key string) string {
	return fmt.Sprintf(`mutation { sendMessage(input: {channelId: %q, clientMessageId: %q, content: "after"}) { status error { code } } }`, channel, key)
}

// TestARevokedUserIsRefusedThroughHasura: on every node, for what it asks and
// writes and in actions, whether or not Hasura passes its token on; a token issued
// afterwards is good where it does.
func TestARevokedUserIsRefusedThroughHasura(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := startNode(t, url, "HASURA_WEBHOOK_SECRET="+hookSecret), startNode(t, url, "HASURA_WEBHOOK_SECRET="+hookSecret)
	d := newDouble(t, two, pgtest.Pool(t, url))
	if out, err := d.tool(url, "hasura", "apply"); err != nil {
		t.Fatal(err, out)
	}
	old := token(t, demo.Carol, issuedAgo(time.Minute, "old"))
	if r := two.post(`{ myPresence { status } }`, byHasura(demo.Carol, "")); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	one.revoke(demo.Carol)
	refused := func(what string, ask func() string) {
		t.Helper()
		eventually(t, what+" is refused", func() bool { return strings.Contains(ask(), "JWTRevoked") })
	}
	for _, q := range []string{`{ myPresence { status } }`, `{ sync { cursor } }`, sendTo(demo.General, "c")} {
		for what, h := range map[string]http.Header{"the user alone": byHasura(demo.Carol, ""), "an old token": byHasura(demo.Carol, old)} {
			for i, n := range []*node{one, two} {
				refused(fmt.Sprintf("%s with %s at node %d", q, what, i+1), func() string { return n.post(q, h).String() })
			}
		}
	}
	online := fmt.Sprintf(`{ whoIsOnline(channelId: %q) { userId } }`, demo.General)
	refused("a query through Hasura", func() string { return d.ask(uuid.Nil, `{ myPresence { status } }`, "Authorization", "Bearer "+old) })
	refused("an action through Hasura", func() string { return d.ask(uuid.Nil, online, "Authorization", "Bearer "+old) })
	fresh := token(t, demo.Carol, func(c *auth.Claims) { c.Now = time.Now().Add(2 * time.Second); c.TTL = time.Hour })
	eventually(t, "a token issued afterwards is good", func() bool {
		return !strings.Contains(d.ask(uuid.Nil, `{ myPresence { status } }`, "Authorization", "Bearer "+fresh), "errors") &&
			!strings.Contains(d.ask(uuid.Nil, online, "Authorization", "Bearer "+fresh), "errors")
	})
	d.locked(func() { // an install that passes no headers on
		for _, rs := range objects(d.meta["remote_schemas"]) {
			rs["definition"].(hasura.Tree)["forward_client_headers"] = false
		}
		for _, a := range objects(d.meta["actions"]) {
			a["definition"].(hasura.Tree)["forward_client_headers"] = false
		}
	})
	refused("a query without its token", func() string { return d.ask(demo.Carol, `{ myPresence { status } }`) })
	refused("an action without its token", func() string { return d.ask(demo.Carol, online) })
	if r := d.ask(demo.Bob, online); strings.Contains(r, "errors") {
		t.Error("somebody else:", r)
	}
}

// TestAWaitingSyncEndsWithItsToken: nothing is told to it that came after its
// token was revoked on another node, or had expired.
func TestAWaitingSyncEndsWithItsToken(t *testing.T) {
	t.Parallel()
	url := database(t)
	env := "HASURA_WEBHOOK_SECRET=" + hookSecret
	one, two := startNode(t, url, env), startNode(t, url, env)
	cursor := func(h http.Header) string {
		var p struct{ Sync struct{ Cursor string } }
		if r := two.post(`{ sync { cursor } }`, h); json.Unmarshal(r.Data, &p) != nil || p.Sync.Cursor == "" {
			t.Fatal(r)
		}
		return p.Sync.Cursor
	}
	waitFrom := func(cursor string, h http.Header) <-chan result {
		q := fmt.Sprintf(`{ sync(cursor: %q, waitMs: 25000) { messages { content } } }`, cursor)
		c := make(chan result, 1)
		go func() { c <- two.post(q, h) }()
		return c
	}
	wait := func(h http.Header) <-chan result { return waitFrom(cursor(h), h) }
	old := issuedAgo(time.Minute, "old")
	waits := map[string]<-chan result{
		"a token":              wait(bearer(token(t, demo.Carol, old))),
		"one that Hasura sent": wait(byHasura(demo.Carol, token(t, demo.Carol, old))),
		"Hasura's word":        wait(byHasura(demo.Carol, "")),
	}
	bob := bearer(token(t, demo.Bob))
	here := cursor(bob)
	lasting := waitFrom(here, bob)
	eventually(t, "all wait", func() bool { return two.waiting() == 4 })
	began := time.Now()
	one.revoke(demo.Carol)
	for what, c := range waits {
		if r := next(t, c); !strings.Contains(r.String(), "JWTRevoked") {
			t.Errorf("%s: %s", what, r)
		}
	}
	t.Logf("the polls of the other node ended %.2f s after the revocation", time.Since(began).Seconds())
	short := waitFrom(cursor(bearer(token(t, demo.Alice))), bearer(token(t, demo.Alice, func(c *auth.Claims) { c.TTL = 2 * time.Second })))
	if r := next(t, short); !strings.Contains(r.String(), "JWTExpired") {
		t.Error("an expired token's:", r)
	}
	if r := one.post(sendTo(demo.General, "d"), bearer(token(t, demo.Dave))); !strings.Contains(r.String(), `"sent"`) {
		t.Fatal(r)
	}
	r := next(t, lasting)
	if r.String() == `{"data":{"sync":{"messages":[]}},"errors":null}` { // it had waited for as long as it may
		r = next(t, waitFrom(here, bob))
	}
	if !strings.Contains(r.String(), `"after"`) {
		t.Error("somebody else's poll:", r)
	}
}

// TestASocketRefreshedElsewhereRunsOnItsNewToken: to revoke the old one leaves it
// alone, and to revoke the new one closes it.
func TestASocketRefreshedElsewhereRunsOnItsNewToken(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := startNode(t, url), startNode(t, url)
	pool := pgtest.Pool(t, url)
	first, second := token(t, demo.Alice, issuedAgo(time.Minute, "first")), token(t, demo.Alice, issuedAgo(0, "second"))
	s := one.dial(first)
	if r := two.post(fmt.Sprintf(`mutation { refreshSession(token: %q, sessionId: %q) { userId } }`, second, s.session()), bearer(second)); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	eventually(t, "the socket's node has taken it over", func() bool {
		var id string
		return pool.QueryRow(t.Context(), `select token_id from realtime.sessions where id = $1`, s.session()).Scan(&id) == nil && id == "second"
	})
	revoke := func(id string, tok string) {
		t.Helper()
		if r := two.post(fmt.Sprintf(`mutation { revokeSessions(userId: %q, tokenId: %q) }`, demo.Alice, id), asAdmin); len(r.Errors) > 0 {
			t.Fatal(r)
		}
		eventually(t, "the socket's node refuses it", func() bool {
			return strings.Contains(one.post(`{ myPresence { status } }`, bearer(tok)).String(), "JWTRevoked")
		})
	}
	revoke("first", first)
	if r := s.run(`{ myPresence { status } }`); len(r.Errors) > 0 {
		t.Fatal("closed for a token it does not run on:", r)
	}
	revoke("second", second)
	if e := s.end(); e.Code != 4403 {
		t.Error(e)
	}
}

// TestWhoIsSuspendedIsOutAtOnce: on every node, over sockets, streams, polls and
// Hasura; others see nobody there. Let in again, everything is as before.
func TestWhoIsSuspendedIsOutAtOnce(t *testing.T) {
	t.Parallel()
	url := database(t)
	env := "HASURA_WEBHOOK_SECRET=" + hookSecret
	one, two := startNode(t, url, env), startNode(t, url, env)
	pool := pgtest.Pool(t, url)
	exec := func(q string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), q, demo.Carol); err != nil {
			t.Fatal(err)
		}
	}
	bob := one.dial(token(t, demo.Bob)).start(watch(demo.Carol))
	next(t, bob)
	for _, q := range []string{
		`update public.nchat_users set status = 'suspended' where id = $1`,
		`update public.nchat_users set status = 'deleted' where id = $1`,
		`update public.nchat_users set deleted_at = now() where id = $1`,
	} {
		tok := token(t, demo.Carol)
		sockets := []*sock{one.dial(tok), two.dial(tok)}
		until(t, bob, `"online"`)
		stream := two.events(tok, watch(demo.Bob))
		began := time.Now()
		exec(q)
		for _, s := range sockets {
			if e := s.end(); e.Code != 4403 {
				t.Errorf("%s: %v", q, e)
			}
		}
		for s := bufio.NewScanner(stream); s.Scan(); { // to its end
		}
		t.Logf("out on both nodes after %.2f s", time.Since(began).Seconds())
		if r := until(t, bob, `"offline"`); !strings.Contains(r.String(), `"lastSeenAt":null`) {
			t.Error("seen:", r)
		}
		for _, n := range []*node{one, two} {
			for _, h := range []http.Header{bearer(tok), byHasura(demo.Carol, ""), byHasura(demo.Carol, tok)} {
				if r := n.post(sendTo(demo.General, uuid.NewString()), h); !strings.Contains(r.String(), "JWTRevoked") {
					t.Error("writes:", r)
				}
			}
		}
		if s := two.dial(tok); s.end().Code != 4403 {
			t.Error("let in")
		}
		exec(`update public.nchat_users set status = 'active', deleted_at = null where id = $1`)
		for _, n := range []*node{one, two} {
			eventually(t, "back", func() bool {
				return strings.Contains(n.post(sendTo(demo.General, uuid.NewString()), bearer(tok)).String(), `"sent"`)
			})
		}
	}
}
