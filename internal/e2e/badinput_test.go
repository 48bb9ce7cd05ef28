package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// raw sends bytes as they are and answers status and body.
func (n *node) raw(method, body string, header http.Header) (int, string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.base+"/graphql", strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func operation(query string) string {
	b, _ := json.Marshal(map[string]any{"query": query}) //nolint:errchkjson // a string
	return string(b)
}

// neighbour is somebody else's live subscription, which must go on receiving
// whatever is done to the server.
type neighbour struct {
	t     *testing.T
	c     <-chan result
	carol *sock
	n     int
}

func newNeighbour(t *testing.T, n *node) *neighbour {
	c := n.dial(token(t, demo.Bob)).start(watch(demo.Carol))
	carol := n.dial(token(t, demo.Carol))
	until(t, c, `"online"`)
	return &neighbour{t: t, c: c, carol: carol}
}

func (x *neighbour) undisturbed() {
	x.t.Helper()
	x.n++
	text := fmt.Sprintf("still here %d", x.n)
	x.carol.run(`mutation { setCustomStatus(input: {text: "` + text + `"}) { status } }`)
	if r := next(x.t, x.c); !strings.Contains(r.String(), text) {
		x.t.Fatal("the neighbour was told", r)
	}
}

// onlyTyped: one error with that code, and nothing that is ours to know.
func onlyTyped(t *testing.T, name, body, code string) {
	t.Helper()
	var r result
	if err := json.Unmarshal([]byte(body), &r); err != nil || len(r.Errors) == 0 {
		t.Errorf("%s: not a typed error: %.200s", name, body)
		return
	}
	for _, e := range r.Errors {
		if e.Extensions["code"] != code {
			t.Errorf("%s: %v, want %s: %s", name, e.Extensions["code"], code, e.Message)
		}
		if _, ok := e.Extensions["retryable"].(bool); !ok {
			t.Errorf("%s: does not say whether to try again", name)
		}
	}
	for _, leak := range []string{"goroutine", "pgx", "SQLSTATE", "realtime.", "select ", "/internal/", "panic", secret} {
		if strings.Contains(body, leak) {
			t.Errorf("%s: leaks %q: %.300s", name, leak, body)
		}
	}
}

func signed(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBadInputGetsATypedErrorAndNothingElse(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"OPERATIONS_PER_MINUTE": "100000"})
	bob := newNeighbour(t, n)
	good := bearer(token(t, demo.Alice))
	good.Set("Content-Type", "application/json")
	long, id := strings.Repeat("x", 300), demo.Bob.String()
	many := make([]string, 1001)
	for i := range many {
		many[i] = `"` + uuid.NewString() + `"`
	}
	var aliases, deep strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&aliases, "a%d: presence(userId: %q) { status } ", i, id)
	}
	for range 200 {
		deep.WriteString("{ fields { type ")
	}
	for name, q := range map[string]string{
		"no id":                  `{ presence(userId: "nobody") { status } }`,
		"id with braces":         `{ presence(userId: "{` + id + `}") { status } }`,
		"id a number":            `{ presence(userId: 7) { status } }`,
		"1,001 ids":              `{ presences(userIds: [` + strings.Join(many, ",") + `]) { status } }`,
		"first 0":                `{ contacts(first: 0) { totalCount } }`,
		"first huge":             `{ contacts(first: 99999999999999999999) { totalCount } }`,
		"a forged cursor":        `{ contacts(after: "zzz") { totalCount } }`,
		"unknown enum":           `mutation { setPresence(status: invisible) { status } }`,
		"a past date":            `mutation { setPresence(status: busy, expiresAt: "2001-01-01T00:00:00Z") { status } }`,
		"a far date":             `mutation { setPresence(status: busy, expiresAt: "9998-01-01T00:00:00Z") { status } }`,
		"no date":                `mutation { setPresence(status: busy, expiresAt: "soon") { status } }`,
		"a date out of range":    `mutation { setPresence(status: busy, expiresAt: "10000-01-01T00:00:00Z") { status } }`,
		"a long text":            `mutation { setCustomStatus(input: {text: "` + long + `"}) { status } }`,
		"a control character":    `mutation { setCustomStatus(input: {text: "a\u0000b"}) { status } }`,
		"two emoji":              `mutation { setCustomStatus(input: {emoji: "🎉🎉"}) { status } }`,
		"no emoji":               `mutation { setCustomStatus(input: {emoji: "<b>"}) { status } }`,
		"no settings":            `mutation { updatePresenceSettings(input: {}) { visibility } }`,
		"null settings":          `mutation { updatePresenceSettings(input: {visibility: null}) { visibility } }`,
		"activity long ago":      `mutation { heartbeat(input: {lastActivityAgoMs: 99999999}) { id } }`,
		"activity to come":       `mutation { heartbeat(input: {lastActivityAgoMs: -1}) { id } }`,
		"a long device":          `mutation { heartbeat(input: {name: "` + long + `"}) { id } }`,
		"preview of nobody":      `{ previewPresence(as: user) { status } }`,
		"unknown field":          `{ presense { status } }`,
		"unknown argument":       `{ presence(id: "x") { status } }`,
		"not GraphQL":            `{{{`,
		"empty":                  ` `,
		"1,000 aliases":          `{ ` + aliases.String() + `}`,
		"a deep query":           `{ __schema { types ` + deep.String() + `{ name }` + strings.Repeat(" } }", 200) + ` } }`,
		"a fragment that loops":  `{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }`,
		"a subscription by POST": `subscription { presenceSettingsChanged { visibility } }`,
	} {
		code := "validation-failed"
		if name == "a subscription by POST" {
			code = "not-supported"
		}
		_, body := n.raw(http.MethodPost, operation(q), good)
		onlyTyped(t, name, body, code)
		if strings.Contains(body, "Did you mean") {
			t.Errorf("%s: suggests names: %s", name, body)
		}
	}
	bob.undisturbed()

	for name, c := range map[string]struct {
		body, contentType string
		status            int
	}{
		"no JSON": {`{`, "application/json", 400}, "a list": {`[]`, "application/json", 400}, "a string": {`"x"`, "application/json", 400},
		"a form": {`query=%7BmyPresence%7Bstatus%7D%7D`, "application/x-www-form-urlencoded", 415}, "no type": {`{}`, "", 415},
		"10 MB": {`{"query":"{ myPresence { status } }","x":"` + strings.Repeat("x", 10<<20) + `"}`, "application/json", 413},
	} {
		h := good.Clone()
		h.Set("Content-Type", c.contentType)
		status, body := n.raw(http.MethodPost, c.body, h)
		onlyTyped(t, name, body, "validation-failed")
		if status != c.status {
			t.Errorf("%s: status %d, want %d", name, status, c.status)
		}
		if strings.Contains(body, "xxxx") {
			t.Errorf("%s: echoes the body", name)
		}
	}
	if status, body := n.raw(http.MethodPut, "{}", good); status != 405 {
		t.Errorf("PUT: %d %s", status, body)
	}
	bob.undisturbed()
	badTokens(t, n)
	bob.undisturbed()
	badFrames(t, n)
	bob.undisturbed()
}

func badTokens(t *testing.T, n *node) {
	t.Helper()
	key := []byte("a-key-of-the-end-to-end-tests-and-of-nobody-else")
	hasura := map[string]any{"x-hasura-allowed-roles": []string{"user"}, "x-hasura-default-role": "user", "x-hasura-user-id": demo.Alice.String()}
	claims := func(exp time.Time, h any) jwt.MapClaims {
		return jwt.MapClaims{"exp": exp.Unix(), "https://hasura.io/jwt/claims": h}
	}
	soon := time.Now().Add(time.Hour)
	for name, c := range map[string]struct{ token, code string }{
		"nonsense":        {"nonsense", "invalid-jwt"},
		"three dots":      {"a.b.c", "invalid-jwt"},
		"expired":         {token(t, demo.Alice, func(c *auth.Claims) { c.Now = time.Now().Add(-2 * time.Hour) }), "invalid-jwt"},
		"forged":          {signed(t, jwt.SigningMethodHS256, []byte("another key that is long enough too"), claims(soon, hasura)), "invalid-jwt"},
		"no algorithm":    {signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(soon, hasura)), "invalid-jwt"},
		"other algorithm": {signed(t, jwt.SigningMethodHS512, key, claims(soon, hasura)), "invalid-jwt"},
		"no claims":       {signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"exp": soon.Unix()}), "jwt-invalid-claims"},
		"no roles":        {signed(t, jwt.SigningMethodHS256, key, claims(soon, map[string]any{"x-hasura-user-id": "x"})), "jwt-missing-role-claims"},
		"huge":            {strings.Repeat("x", 40<<10), "invalid-jwt"},
	} {
		h := bearer(c.token)
		h.Set("Content-Type", "application/json")
		_, body := n.raw(http.MethodPost, operation(`{ myPresence { status } }`), h)
		onlyTyped(t, name, body, c.code)
		if e := n.dial(c.token).end(); e.Code != 4403 {
			t.Errorf("%s: a socket ends %v", name, e)
		}
	}
	plain := http.Header{"Content-Type": {"application/json"}}
	_, body := n.raw(http.MethodPost, operation(`{ myPresence { status } }`), plain)
	onlyTyped(t, "no token", body, "invalid-headers")
	forged := http.Header{"Content-Type": {"application/json"}, "X-Hasura-User-Id": {demo.Alice.String()}, "X-Hasura-Role": {"admin"}}
	_, body = n.raw(http.MethodPost, operation(`{ myPresence { status } }`), forged)
	onlyTyped(t, "x-hasura headers from the internet", body, "invalid-headers")
	forged.Set("X-Hasura-Admin-Secret", "guess")
	_, body = n.raw(http.MethodPost, operation(`{ myPresence { status } }`), forged)
	onlyTyped(t, "a wrong admin secret", body, "access-denied")
	role := bearer(token(t, demo.Alice))
	role.Set("Content-Type", "application/json")
	role.Set("X-Hasura-Role", "admin")
	_, body = n.raw(http.MethodPost, operation(`{ myPresence { status } }`), role)
	onlyTyped(t, "a role not allowed", body, "access-denied")
}

func badFrames(t *testing.T, n *node) {
	t.Helper()
	for name, c := range map[string]struct {
		text string
		code int
	}{
		"not JSON": {"x", 4400}, "unknown type": {`{"type":"hello"}`, 4400}, "a second init": {`{"type":"connection_init"}`, 4429},
		"2 MB": {`{"type":"ping","payload":{"x":"` + strings.Repeat("x", 2<<20) + `"}}`, websocket.CloseMessageTooBig},
	} {
		s := n.dial(token(t, demo.Alice))
		_ = s.ws.WriteMessage(websocket.TextMessage, []byte(c.text))
		if e := s.end(); e.Code != c.code && (c.code != websocket.CloseMessageTooBig || e.Code != websocket.CloseAbnormalClosure) {
			t.Errorf("%s: %v", name, e)
		}
	}
	s := n.dial(token(t, demo.Alice))
	if r := s.run(`subscription { presenceChanged(userIds: []) { status } }`); len(r.Errors) != 1 || r.Errors[0].Extensions["code"] != "validation-failed" {
		t.Error("no ids:", r)
	}
	if r := s.run(`subscription { presenceWindow(channelId: "` + uuid.NewString() + `") { snapshot } }`); len(r.Errors) != 1 || r.Errors[0].Extensions["code"] != "access-denied" {
		t.Error("an unknown channel:", r)
	}
	if r := s.run(`mutation { setCustomStatus(input: {text: "` + strings.Repeat("x", 300) + `"}) { status } }`); len(r.Errors) != 1 || r.Errors[0].Extensions["field"] != "input.text" {
		t.Error("a long text:", r)
	}
	if r := s.run(`{ myPresence { status } }`); len(r.Errors) > 0 {
		t.Error("the socket does not go on:", r)
	}
}

func TestALimitIsPerUserAndSaysWhenToComeBack(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"OPERATIONS_PER_MINUTE": "20"})
	alice := bearer(token(t, demo.Alice))
	var r result
	eventually(t, "limited", func() bool {
		r = n.post(`{ realtimeConfig { serverTime } }`, alice)
		return len(r.Errors) > 0
	})
	e := r.Errors[0].Extensions
	if after, ok := e["retryAfterMs"].(float64); e["code"] != "rate-limited" || e["retryable"] != true || !ok || after <= 0 || after > 60000 {
		t.Fatal(r)
	}
	if r := n.post(`{ realtimeConfig { serverTime } }`, bearer(token(t, demo.Bob))); len(r.Errors) > 0 {
		t.Fatal("bob pays for alice:", r)
	}
}

// TestWhatIsNoRequestIsCounted: bodies that cannot be read as one are of the
// allowance of whoever sends them, large ones for each 64 KiB before they are read; a
// large request counts as the operation it is.
func TestWhatIsNoRequestIsCounted(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"OPERATIONS_PER_MINUTE": "8", "HASURA_WEBHOOK_SECRET": hookSecret})
	body := func(size int, end string) string {
		return `{"query":"{ realtimeConfig { maxIds } }","variables":{"x":"` + strings.Repeat("x", size) + `"}` + end
	}
	for what, c := range map[string]struct {
		user  uuid.UUID
		body  string
		takes int // of the 8
	}{
		"small": {demo.Bob, body(10, ""), 8}, "large": {demo.Carol, body(500<<10, ""), 4}, "nothing but its size": {demo.Alice, strings.Repeat("[", 500<<10), 4},
	} {
		as := bearer(token(t, c.user))
		as.Set("Content-Type", "application/json")
		for i := range c.takes {
			if status, got := n.raw(http.MethodPost, c.body, as); status != http.StatusBadRequest {
				t.Fatalf("%s, %d: %d %.200s", what, i, status, got)
			}
		}
		eventually(t, what+": one too many", func() bool { // some come back with the time that passes
			status, got := n.raw(http.MethodPost, c.body, as)
			return status == http.StatusTooManyRequests && strings.Contains(got, `"code":"rate-limited"`)
		})
	}
	dave, hasura := bearer(token(t, demo.Dave)), fromHasura(demo.Alice)
	dave.Set("Content-Type", "application/json")
	hasura.Set("Content-Type", "application/json")
	for i := range 6 { // of 500 KiB, each a quarter of what there is while it is read
		if status, got := n.raw(http.MethodPost, body(500<<10, "}"), dave); status != http.StatusOK || !strings.Contains(got, `"data"`) {
			t.Fatalf("a large request, %d: %d %.200s", i, status, got)
		}
	}
	for i := range 12 {
		if status, got := n.raw(http.MethodPost, `{`, hasura); status != http.StatusOK || !strings.Contains(got, "JSON object") {
			t.Fatalf("Hasura pays: %d %d %.200s", i, status, got)
		}
	}
}

func TestWithoutAUserEverybodyIsNeverSeen(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"HASURA_GRAPHQL_UNAUTHORIZED_ROLE": "public", "HASURA_WEBHOOK_SECRET": "the-secret-shared-with-hasura"})
	n.dial(token(t, demo.Alice))
	see := `{ presence(userId: "` + demo.Alice.String() + `") { status lastSeenAt customStatus { text } } realtimeConfig { maxIds } }`
	const never = `{"presence":{"status":"offline","lastSeenAt":null,"customStatus":null},"realtimeConfig":{"maxIds":1000}}`
	forged := http.Header{"X-Hasura-User-Id": {demo.Bob.String()}, "X-Hasura-Role": {"user"}}
	viaHasura := func(role string) http.Header {
		return http.Header{"X-Nchat-Webhook-Secret": {"the-secret-shared-with-hasura"}, "X-Hasura-User-Id": {demo.Bob.String()}, "X-Hasura-Role": {role}}
	}
	for name, h := range map[string]http.Header{"anonymous": {}, "anonymous who claims": forged, "Hasura's anonymous who claims": viaHasura("public")} {
		if r := n.post(see, h); string(r.Data) != never {
			t.Errorf("%s: %s", name, r)
		}
		if r := n.post(`{ myPresence { status } }`, h); len(r.Errors) != 1 || r.Errors[0].Extensions["code"] != "access-denied" {
			t.Errorf("%s: %s", name, r)
		}
	}
	if r := n.post(see, viaHasura("user")); !strings.Contains(r.String(), `"online"`) {
		t.Error("Hasura's user:", r)
	}
	wrong := viaHasura("user")
	wrong.Set("X-Nchat-Webhook-Secret", "a-guess-at-the-shared-secret")
	if r := n.post(see, wrong); len(r.Errors) != 1 || r.Errors[0].Extensions["code"] != "access-denied" {
		t.Error("a wrong shared secret:", r)
	}
}

func TestWhatIsSeenFromOutside(t *testing.T) {
	whole(t)
	n := inside(t, database(t), nil)
	for path, want := range map[string]string{"/healthz": "ok", "/health": "ok", "/readyz": `"doorbells":true`} {
		eventually(t, path, func() bool {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return false
			}
			defer func() { _ = res.Body.Close() }()
			b, _ := io.ReadAll(res.Body)
			return res.StatusCode == http.StatusOK && strings.Contains(string(b), want)
		})
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.base+"/graphql", strings.NewReader(operation(`{ myPresence { status } }`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = bearer(token(t, demo.Alice))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Cache-Control"); got != "private, no-store" || !strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Authorization") {
		t.Errorf("an answer may be kept for others: %q %q", got, res.Header.Values("Vary"))
	}
}
