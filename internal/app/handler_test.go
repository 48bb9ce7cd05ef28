package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/fault"
)

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func ask(t *testing.T, h http.Handler, query string, headers ...string) (int, string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/graphql", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestWhatIsPublic: metrics and profiles are not, and the playground only in dev.
func TestWhatIsPublic(t *testing.T) {
	t.Parallel()
	p := built(t, nil)
	h, inside := publicHandler(p), adminHandler(p.metrics, nil)
	for path, status := range map[string]int{"/healthz": 200, "/health": 200, "/metrics": 404, "/debug/pprof/": 404, "/playground": 404, "/": 404, "/hasura/x": 401} {
		if w := get(t, h, path); w.Code != status {
			t.Errorf("%s: %d, want %d", path, w.Code, status)
		}
	}
	if w := get(t, inside, "/metrics"); w.Code != 200 || !strings.Contains(w.Body.String(), "realtime_connections") {
		t.Errorf("metrics: %d", w.Code)
	}
	if w := get(t, inside, "/graphql"); w.Code != 404 {
		t.Errorf("the admin port answers GraphQL: %d", w.Code)
	}
	if w := get(t, inside, "/admin/"); w.Code != 404 || newConsole(p) != nil {
		t.Errorf("an operators' page without a token: %d", w.Code)
	}
	p.config.AdminToken = "the-token-of-the-operators-of-app"
	inside = adminHandler(p.metrics, newConsole(p))
	if page, state, outside := get(t, inside, "/admin/"), get(t, inside, "/admin/state"), get(t, h, "/admin/"); page.Code != 200 || state.Code != 401 || outside.Code != 404 {
		t.Errorf("the operators' page: %d, its state %d, in public %d", page.Code, state.Code, outside.Code)
	}
	p.dev = true
	if w := get(t, publicHandler(p), "http://localhost/playground"); w.Code != 200 || !strings.Contains(w.Header().Get("Content-Type"), "text/html") {
		t.Errorf("the playground in dev: %d", w.Code)
	}
}

// TestReadyz: a node gets requests when Postgres answers, it is migrated, it has
// a lease, doorbells arrive and it is not leaving; of what is missing it tells.
func TestReadyz(t *testing.T) {
	t.Parallel()
	p := built(t, nil)
	state := func() (int, map[string]any) {
		t.Helper()
		p.health.look(t.Context())
		w := get(t, publicHandler(p), "/readyz")
		var s map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		return w.Code, s
	}
	if code, s := state(); code != 503 || s["postgres"] != true || s["migrations"] != true || s["lease"] != false || s["doorbells"] != false {
		t.Errorf("before it is in: %d %v", code, s)
	}
	if err := enter(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if code, s := state(); code != 503 || s["lease"] != true || s["doorbells"] != false {
		t.Errorf("without doorbells: %d %v", code, s)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = p.bus.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	code, s := state()
	for end := time.Now().Add(time.Minute); code != 200 && time.Now().Before(end); code, s = state() {
	}
	if code != 200 {
		t.Fatalf("it never is: %v", s)
	}
	p.draining.Store(true)
	if code, s := state(); code != 503 || s["serving"] != false || s["postgres"] != true {
		t.Errorf("leaving: %d %v", code, s)
	}
}

// TestWhoIsAnswered over HTTP: each way in, and the status of each way to fail.
func TestWhoIsAnswered(t *testing.T) {
	t.Parallel()
	h := publicHandler(built(t, nil))
	const who = `{ myPresence { userId } }`
	alice := "Bearer " + token(t, auth.Claims{TTL: time.Hour})
	for what, c := range map[string]struct {
		headers []string
		status  int
		says    string
	}{
		"a token":                     {[]string{"Authorization", alice}, 200, `"userId":"00000000-0000-4000-8000-000000000001"`},
		"no credentials":              {nil, 401, "invalid-headers"},
		"no token":                    {[]string{"Authorization", "Bearer x"}, 401, "invalid-jwt"},
		"a role it does not have":     {[]string{"Authorization", alice, "X-Hasura-Role", "editor"}, 403, "access-denied"},
		"the admin, who is no user":   {[]string{"X-Hasura-Admin-Secret", testAdmin}, 200, "access-denied"},
		"what Hasura says of a user":  {[]string{"X-Nchat-Webhook-Secret", testHooks, "X-Hasura-Role", "user", "X-Hasura-User-Id", "00000000-0000-4000-8000-000000000002"}, 200, `"userId":"00000000-0000-4000-8000-000000000002"`},
		"the same from anybody":       {[]string{"X-Hasura-Role", "user", "X-Hasura-User-Id", "00000000-0000-4000-8000-000000000002"}, 401, "code"},
		"beside a secret that is not": {[]string{"X-Nchat-Webhook-Secret", testHooks + "x", "X-Hasura-Role", "user", "X-Hasura-User-Id", "00000000-0000-4000-8000-000000000002"}, 403, "access-denied"},
	} {
		if status, body := ask(t, h, who, c.headers...); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s, want %d %s", what, status, body, c.status, c.says)
		}
	}
}

// TestHasuraSeesItsOwnSchema: one without subscriptions, and it is asked with
// as many aliases as a join has rows, which nobody else may.
func TestHasuraSeesItsOwnSchema(t *testing.T) {
	t.Parallel()
	h := publicHandler(built(t, map[string]string{"MAX_ALIASES": "5", "OPERATIONS_PER_MINUTE": "1000"}))
	hasura := []string{"X-Nchat-Webhook-Secret", testHooks, "X-Hasura-Role", "user", "X-Hasura-User-Id", "00000000-0000-4000-8000-000000000002"}
	bob := []string{"Authorization", "Bearer " + token(t, auth.Claims{TTL: time.Hour})}
	const roots = `{ __schema { subscriptionType { name } } }`
	if _, body := ask(t, h, roots, hasura...); !strings.Contains(body, `"subscriptionType":null`) {
		t.Errorf("Hasura: %s", body)
	}
	if _, body := ask(t, h, roots, bob...); !strings.Contains(body, `"subscriptionType":{"name":"Subscription"}`) {
		t.Errorf("a client: %s", body)
	}
	join := "{ "
	for _, name := range strings.Split("abcdefghij", "") {
		join += name + `: presence(userId: "00000000-0000-4000-8000-000000000001") { status } `
	}
	join += "}"
	if status, body := ask(t, h, join, hasura...); status != 200 || strings.Count(body, `"status":"offline"`) != 10 {
		t.Errorf("Hasura's join: %d %s", status, body)
	}
	if _, body := ask(t, h, join, bob...); !strings.Contains(body, "errors") || strings.Contains(body, "offline") {
		t.Errorf("a client's: %s", body)
	}
}

// TestRealtimeConfigIsTheConfiguration: what a client is told is what it is held to.
func TestRealtimeConfigIsTheConfiguration(t *testing.T) {
	t.Parallel()
	p := built(t, map[string]string{"IDLE_AFTER": "7m", "OFFLINE_GRACE": "3s", "MAX_IDS": "42", "MAX_ROOMS": "3", "MAX_BATCH": "9", "MAX_CONTENT_CHARS": "77",
		"QUEUE_FRAMES": "11", "OPERATIONS_PER_MINUTE": "99", "PING_INTERVAL": "8s"})
	c := realtimeConfig(p.clock, p.config)(t.Context())
	if c.IdleAfterMs != 420000 || c.OfflineGraceMs != 3000 || c.MaxIds != 42 || c.MaxRooms != 3 || c.MaxBatch != 9 || c.MaxContentLength != 77 ||
		c.MaxQueuedFrames != 11 || c.OperationsPerMinute != 99 || c.PingIntervalMs != 8000 {
		t.Errorf("%+v", c)
	}
	if again := realtimeConfig(p.clock, p.config)(t.Context()); time.Since(again.ServerTime).Abs() > time.Minute || again.ServerTime.Before(c.ServerTime) {
		t.Errorf("it is %v there", again.ServerTime)
	}
	// And the limit is the one that holds.
	h := publicHandler(p)
	ids := `"00000000-0000-4000-8000-000000000001"` + strings.Repeat(`,"00000000-0000-4000-8000-000000000001"`, 42)
	if _, body := ask(t, h, `{ presences(userIds: [`+ids+`]) { status } }`, "Authorization", "Bearer "+token(t, auth.Claims{TTL: time.Hour})); !strings.Contains(body, "42") {
		t.Errorf("43 ids: %s", body)
	}
}

// TestStatuses of what is wrong with credentials.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for code, status := range map[fault.Code]int{fault.Denied: 403, fault.Unexpected: 500, fault.InvalidJWT: 401, fault.InvalidHeaders: 401, fault.MissingRoleClaims: 401} {
		if got := statusOf(fault.New(code, "x")); got != status {
			t.Errorf("%s: %d, want %d", code, got, status)
		}
	}
}

// TestNoPeerMakesSeries: a metric has as many as there are codes, whatever is sent.
func TestNoPeerMakesSeries(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for code := range 70000 {
		seen[codeLabel(code)] = true
	}
	if len(seen) > 120 || !seen["1000"] || !seen["4403"] || codeLabel(-5) != "other" {
		t.Errorf("%d labels", len(seen))
	}
}
