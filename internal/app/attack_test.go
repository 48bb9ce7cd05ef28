package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/graph"
	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// attacked is a server with alice online and her lease watched: no attack may
// take her offline, not for a moment.
type attacked struct {
	*parts
	t    *testing.T
	base string
	look *pgxpool.Pool
	flap chan presence.View // what bob saw of alice
}

func attack(t *testing.T, env map[string]string) *attacked {
	t.Helper()
	p := built(t, env)
	a := &attacked{parts: p, t: t, base: running(t, p), look: pgtest.Pool(t, p.config.DatabaseURL), flap: make(chan presence.View, 64)}
	soon(t, "doorbells", func() bool { return !p.bus.Stale() })
	p.presence.Sessions.Begin(t.Context(), presence.Opening{ID: uuid.New(), Key: viewer.Key{Tenant: "primary", User: demo.Alice}, Counts: true,
		Device: presence.DeviceUnknown, Socket: session{c: &wsock.Conn{}}})
	seen := p.presence.Watch.Presence(t.Context(), viewer.Of("primary", demo.Bob), []uuid.UUID{demo.Alice})
	if v := <-seen; v.Status != presence.Online {
		t.Fatalf("alice is %s to begin with", v.Status)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v := range seen {
			a.flap <- v
		}
	}()
	t.Cleanup(func() { <-done })
	return a
}

// calm says that nobody noticed.
func (a *attacked) calm() {
	a.t.Helper()
	select {
	case v := <-a.flap:
		a.t.Errorf("bob saw alice %s", v.Status)
	default:
	}
	var alive bool
	if err := a.look.QueryRow(a.t.Context(), `select exists (select from realtime.nodes where id = $1 and lease_until > clock_timestamp())`,
		a.lease.ID()).Scan(&alive); err != nil || !alive {
		a.t.Errorf("the lease has run out (%v)", err)
	}
}

// ask sends an operation of a user's, and answers what is said of it.
func (a *attacked) ask(ctx context.Context, user uuid.UUID, query string, variables map[string]any, headers ...string) string {
	return a.post(ctx, user, map[string]any{"query": query, "variables": variables}, headers...)
}

func (a *attacked) post(ctx context.Context, user uuid.UUID, operation map[string]any, headers ...string) string {
	body, err := json.Marshal(operation)
	if err != nil {
		return err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token(a.t, auth.Claims{User: user, TTL: time.Hour}))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func aliases(n int, field string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d: %s ", i, field)
	}
	return b.String()
}

// TestManyIDs: 1,000 ids under 30 names are 30,000 in one operation and are refused;
// 1,000 in each of a flood of operations are paid for, and refused when the points
// are gone, with the time to wait; alice stays.
func TestManyIDs(t *testing.T) {
	t.Parallel()
	a := attack(t, map[string]string{"POINTS_PER_MINUTE": "210"})
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	v := map[string]any{"ids": ids}
	query := `query($ids: [uuid!]!) { ` + aliases(30, `presences(userIds: $ids) { status }`) + `}`
	if got := a.ask(t.Context(), demo.Carol, query, v); !strings.Contains(got, "more than 1000 ids in one operation") {
		t.Fatalf("%.300s", got)
	}
	var all sync.WaitGroup
	answers := make([]string, 30)
	for i := range answers {
		all.Go(func() {
			answers[i] = a.ask(t.Context(), demo.Carol, `query($ids: [uuid!]!) { presences(userIds: $ids) { status } }`, v)
		})
	}
	all.Wait()
	served, refused := 0, 0
	for _, x := range answers {
		switch {
		case strings.Contains(x, `"status"`):
			served++
		case strings.Contains(x, `"rate-limited"`) && strings.Contains(x, `"retryable":true`) && strings.Contains(x, `"retryAfterMs"`):
			refused++
		default:
			t.Errorf("%.300s", x)
		}
	}
	if served < 10 || served > 12 || refused != len(answers)-served { // 21 points each, of 210 and what came back meanwhile
		t.Errorf("%d served, %d refused", served, refused)
	}
	if got := a.ask(t.Context(), demo.Bob, `{ myPresence { userId } }`, nil); !strings.Contains(got, demo.Bob.String()) {
		t.Errorf("bob: %s", got)
	}
	a.calm()
}

// TestManyPolls: of a user's syncs only so many wait, they hold no turn while they
// do, and nothing once they are over.
func TestManyPolls(t *testing.T) {
	t.Parallel()
	a := attack(t, map[string]string{"MAX_WAITING_POLLS": "8"})
	var first struct {
		Data struct{ Sync struct{ Cursor string } }
	}
	if err := json.Unmarshal([]byte(a.ask(t.Context(), demo.Carol, `{ sync { cursor } }`, nil)), &first); err != nil || first.Data.Sync.Cursor == "" {
		t.Fatalf("%v %+v", err, first)
	}
	ctx, cancel := context.WithCancel(t.Context())
	query := `query($c: String) { ` + aliases(30, `sync(cursor: $c, waitMs: 25000) { cursor }`) + `}`
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { a.ask(ctx, demo.Carol, query, map[string]any{"c": first.Data.Sync.Cursor}) })
	}
	key := "primary/" + demo.Carol.String()
	soon(t, "eight wait", func() bool {
		if n := a.budgets.polls.Of(key); n > 8 {
			t.Fatalf("%d wait", n)
		}
		return a.budgets.polls.Of(key) == 8
	})
	if got := a.ask(t.Context(), demo.Carol, `query($c: String) { sync(cursor: $c, waitMs: 25000) { cursor } }`, map[string]any{"c": first.Data.Sync.Cursor}); !strings.Contains(got, "rate-limited") {
		t.Errorf("one more: %.300s", got)
	}
	if got := a.ask(t.Context(), demo.Carol, `{ myPresence { userId } }`, nil); !strings.Contains(got, demo.Carol.String()) {
		t.Errorf("who polls has no turn for anything else: %.300s", got)
	}
	cancel()
	all.Wait()
	soon(t, "nothing is held", func() bool { return a.budgets.polls.Len() == 0 })
	a.calm()
}

// TestManyDocuments: what is too long is kept nowhere, what is kept is bounded by
// bytes, and a document is kept under its hash only if it is good.
func TestManyDocuments(t *testing.T) {
	t.Parallel()
	a := attack(t, map[string]string{"OPERATIONS_PER_MINUTE": "100000"})
	pad := func(i, n int) string {
		return fmt.Sprintf("{ realtimeConfig { serverTime } } #%d%s", i, strings.Repeat(" ", n))
	}
	if got := a.ask(t.Context(), demo.Carol, pad(0, 1000000), nil); !strings.Contains(got, "more than 65536 bytes") {
		t.Fatalf("%.300s", got)
	}
	if a.documents.Bytes() != 0 {
		t.Errorf("%d bytes kept of what was refused", a.documents.Bytes())
	}
	if got := a.ask(t.Context(), demo.Carol, pad(0, 0), nil); a.documents.Bytes() < 10*len(pad(0, 0)) {
		t.Errorf("%d bytes are kept of a document of %d, which takes more: %.300s", a.documents.Bytes(), len(pad(0, 0)), got)
	}
	a.parsesInTurn(demo.Carol, pad(0, 1000))
	for i := range 25 {
		if got := a.ask(t.Context(), demo.Carol, pad(i, 0)+strings.Repeat("\n#", 3000), nil); !strings.Contains(got, "serverTime") {
			t.Fatalf("%.300s", got)
		}
	}
	if n := a.documents.Bytes(); n > cachedParsed || n < cachedParsed/2 {
		t.Errorf("%d bytes of documents are kept", n)
	}
	for text, good := range map[string]bool{`{ realtimeConfig { serverTime } }`: true, `{ realtimeConfig { nothing } }`: false, `{ no`: false, pad(0, 1000000): false} {
		sum := sha256.Sum256([]byte(text))
		hash := map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hex.EncodeToString(sum[:])}}
		if got := a.post(t.Context(), demo.Carol, map[string]any{"query": text, "extensions": hash}); good != !strings.Contains(got, `"errors"`) {
			t.Errorf("%.40s: %.200s", text, got)
		}
		if got := a.post(t.Context(), demo.Carol, map[string]any{"extensions": hash}); good == strings.Contains(got, "PERSISTED_QUERY_NOT_FOUND") {
			t.Errorf("%.40s, by its hash: %.200s", text, got)
		}
	}
	a.calm()
}

// TestManyWatched: a user watches so many ids over all its subscriptions, and what
// ends gives back what it held.
func TestManyWatched(t *testing.T) {
	t.Parallel()
	a := attack(t, map[string]string{"MAX_WATCHED_IDS": "2500"})
	frank := viewer.Of("primary", demo.Carol)
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	ctx, cancel := context.WithCancel(t.Context())
	said := make(chan string, 16)
	var all sync.WaitGroup
	for range cap(said) {
		all.Go(func() {
			said <- a.ask(ctx, demo.Carol, `subscription($ids: [uuid!]!) { presenceChanged(userIds: $ids) { status } }`, map[string]any{"ids": ids},
				"Accept", "text/event-stream")
		})
	}
	for range cap(said) - 2 { // two go on
		if got := <-said; !strings.Contains(got, "rate-limited") || !strings.Contains(got, "watched ids") {
			t.Errorf("%.300s", got)
		}
	}
	if n := a.budgets.watched.Of("primary/" + demo.Carol.String()); n != 2000 {
		t.Errorf("%d are held", n)
	}
	if a.budgets.documents.Of("primary/"+demo.Carol.String()) == 0 {
		t.Error("of the two's document nothing is held")
	}
	if err := a.budgets.watch(ctx, viewer.Of("primary", demo.Bob), 1000, false); err != nil {
		t.Errorf("bob: %v", err)
	}
	cancel()
	all.Wait()
	soon(t, "given back", func() bool { return a.budgets.watched.Len()+a.budgets.documents.Len() == 0 })
	if err := a.budgets.watch(t.Context(), frank, 5000, true); err != nil {
		t.Errorf("one large channel alone: %v", err)
	}
	a.calm()
}

// TestHangingBodies: a body that never comes ends its connection, with a token or
// without, on paths that are none, and on healthz; refusals say that they close.
func TestHangingBodies(t *testing.T) {
	t.Parallel()
	a := attack(t, map[string]string{"REQUEST_TIMEOUT": "1s", "HASURA_UPSTREAM_URL": "http://127.0.0.1:1", "MAX_CONNECTIONS_PER_IP": "400"})
	var all sync.WaitGroup
	for i := range 300 {
		path, closing := []string{"/graphql", "/hasura/actions", "/nowhere", "/healthz", "/v1/graphql"}[i%5], []string{"", "Connection: close\r\n"}[i%2]
		all.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(a.base, "http://"))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			method := map[bool]string{true: "GET", false: "POST"}[path == "/healthz"]
			if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", method, path, closing); err != nil {
				t.Error(err)
				return
			}
			if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Error(err)
			}
			in := bufio.NewReader(conn)
			if res, err := http.ReadResponse(in, nil); err == nil {
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Error(err)
				}
				_ = res.Body.Close()
				if res.StatusCode >= 400 && (!res.Close || !strings.Contains(res.Header.Get("Cache-Control"), "no-store")) {
					t.Errorf("%s: %d, close %v, %q", path, res.StatusCode, res.Close, res.Header.Get("Cache-Control"))
				}
			}
			if _, err := in.ReadByte(); err == nil {
				t.Errorf("%s: something more comes", path)
			} else if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // as it came
				t.Errorf("%s: the connection stays open", path)
			}
		})
	}
	all.Wait()
	a.calm()
}

// TestConnectionsFromAnAddress are counted, and one too many is closed at once.
func TestConnectionsFromAnAddress(t *testing.T) {
	t.Parallel()
	p := built(t, map[string]string{"MAX_CONNECTIONS_PER_IP": "5"})
	at := strings.TrimPrefix(running(t, p), "http://")
	dial := func() net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	var open []net.Conn
	for range 5 {
		open = append(open, dial())
	}
	gone := func(c net.Conn) bool {
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1))
		ne, ok := err.(net.Error) //nolint:errorlint // as it came
		return err != nil && !(ok && ne.Timeout())
	}
	if !gone(dial()) {
		t.Error("a sixth is open")
	}
	_ = open[0].Close()
	soon(t, "room again", func() bool {
		c := dial()
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			return false
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
}

// TestAProxyThatIsNotTrusted is named once.
func TestAProxyThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	var log *written
	p := built(t, nil, func(o *Options) {
		c := o.Config
		*o, log = options(t, c.DatabaseURL, nil)
	})
	h := publicHandler(p)
	for range 3 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil)
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if n := strings.Count(log.String(), "TRUSTED_PROXIES"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
}

// TestBesideHasurasSecret only what is answered together is without a cap.
func TestBesideHasurasSecret(t *testing.T) {
	t.Parallel()
	h := publicHandler(built(t, nil))
	bearing := []string{"x-nchat-webhook-secret", testHooks, "x-hasura-role", "user", "x-hasura-user-id", demo.Bob.String()}
	if _, body := ask(t, h, "{"+aliases(500, `presence(userId: "`+demo.Alice.String()+`") { status }`)+"}", bearing...); strings.Contains(body, "errors") {
		t.Errorf("a join: %.300s", body)
	}
	if _, body := ask(t, h, "{"+aliases(500, `channelPresence(channelId: "`+uuid.NewString()+`") { totalCount }`)+"}", bearing...); !strings.Contains(body, "not answered together") {
		t.Errorf("500 lists of members: %.300s", body)
	}
	if _, body := ask(t, h, `{ channelPresence(channelId: "`+uuid.NewString()+`", status: [`+strings.Repeat("online ", 5)+`]) { totalCount } }`, bearing...); !strings.Contains(body, "no more values") {
		t.Errorf("five of four: %.300s", body)
	}
}

// TestThePriceListIsTheSchemas: what is priced exists, and every list of ids or
// rooms that a root field takes is counted.
func TestThePriceListIsTheSchemas(t *testing.T) {
	t.Parallel()
	s := generated.NewExecutableSchema(generated.Config{Resolvers: graph.NewResolver(graph.Deps{})}).Schema()
	known := map[string]bool{}
	for _, def := range []string{s.Query.Name, s.Mutation.Name, s.Subscription.Name} {
		for _, f := range s.Types[def].Fields {
			known[f.Name] = true
			args := map[string]any{}
			for _, arg := range f.Arguments {
				if arg.Type.Elem != nil && s.Types[arg.Type.Elem.NamedType].Kind != "ENUM" {
					args[arg.Name] = make([]any, 7)
				}
			}
			w := weigh(f.Name, args)
			if n := w.IDs + w.Rooms + w.Messages; len(args) > 0 && n != 7*len(args) {
				t.Errorf("%s: %d of %d entries are counted", f.Name, n, 7*len(args))
			}
			if w.Points < 1 && !w.Batched {
				t.Errorf("%s is free", f.Name)
			}
		}
	}
	for name := range weights {
		if !known[name] {
			t.Errorf("%s is priced and does not exist", name)
		}
	}
}

// TestWhoIsLookedAtAgainIsPaidFor: a change of a user's lists has everybody who watches it
// look again, and costs ten times what it costs to read them.
func TestWhoIsLookedAtAgainIsPaidFor(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"addContact", "removeContact", "blockUser", "unblockUser"} {
		if got, least := weigh(field, map[string]any{"userId": uuid.NewString()}).Points, 10*weigh("contacts", nil).Points; got < least {
			t.Errorf("%s costs %d points, want %d", field, got, least)
		}
	}
}

// TestLargeMessagesCountForSeveral: everybody in a channel is sent them whole.
func TestLargeMessagesCountForSeveral(t *testing.T) {
	t.Parallel()
	of := func(text string, data any) map[string]any {
		return map[string]any{"channelId": uuid.NewString(), "clientMessageId": "k", "content": text, "metadata": data}
	}
	big := strings.Repeat("x", 10000)
	for _, c := range []struct {
		field string
		args  map[string]any
		want  limit.Weight
	}{
		{"sendMessage", map[string]any{"input": of("hello", nil)}, limit.Weight{Points: 1, Messages: 1, Sent: 1}},
		{"sendMessage", map[string]any{"input": of(big, nil)}, limit.Weight{Points: 1, Messages: 1, Sent: 3}},
		{"sendMessage", map[string]any{"input": of("hello", map[string]any{"a": []any{big, map[string]any{big: 1}}})}, limit.Weight{Points: 1, Messages: 1, Sent: 5}},
		{"sendMessages", map[string]any{"input": []any{of("hello", nil), of(big, nil)}}, limit.Weight{Points: 2, Messages: 2, Sent: 4}},
		{"sendMessages", map[string]any{"input": []map[string]any{of(big, nil)}}, limit.Weight{Points: 2, Messages: 1, Sent: 3}}, // one that stands alone, as gqlparser tells it
		{"sendMessages", map[string]any{"input": of("hello", []map[string]any{{"a": big}})}, limit.Weight{Points: 2, Messages: 1, Sent: 3}},
		{"sendMessage", map[string]any{"input": of("hello", json.Number(strings.Repeat("1", 10000)))}, limit.Weight{Points: 1, Messages: 1, Sent: 3}},
		{"editMessage", map[string]any{"content": "hello"}, limit.Weight{Points: 5, Sent: 1}},
		{"editMessage", map[string]any{"content": big}, limit.Weight{Points: 5, Sent: 3}},
		{"deleteMessage", map[string]any{}, limit.Weight{Points: 1, Sent: 1}},
	} {
		if got := weigh(c.field, c.args); got != c.want {
			t.Errorf("%s of %d bytes: %+v", c.field, limit.Bytes(c.args), got)
		}
	}
}
