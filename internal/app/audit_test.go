package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestWhatAnAdminReadsOfAUserIsWrittenDown: who, whose, and which fields; nothing of
// what was given or answered. What users ask for themselves is not.
func TestWhatAnAdminReadsOfAUserIsWrittenDown(t *testing.T) {
	t.Parallel()
	p := built(t, nil)
	var log bytes.Buffer
	p.log = slog.New(slog.NewJSONHandler(&log, nil))
	h := graphqlHandler(p)
	post := func(query string, user string) {
		t.Helper()
		headers := []string{"X-Hasura-Admin-Secret", testAdmin}
		if user != "" {
			headers = append(headers, "X-Hasura-User-Id", user)
		}
		if status, body := ask(t, h, query, headers...); status != http.StatusOK || strings.Contains(body, "errors") {
			t.Fatal(status, body)
		}
	}
	post(`{ realtimeConfig { serverTime } }`, "") // nobody's
	if log.Len() > 0 {
		t.Errorf("written for nobody: %s", &log)
	}
	post(`{ a: myPresence { status } myPresence { lastSeenAt } presence(userId: "`+demo.Dave.String()+`") { status } }`, demo.Alice.String())
	var line struct {
		Level, Msg, Via, Tenant, User, Kind string
		Fields                              []string
	}
	text := log.String()
	if json.Unmarshal([]byte(text), &line) != nil || line.Level != "WARN" || line.Via != "admin-secret" || line.Tenant != "primary" || line.User != demo.Alice.String() ||
		line.Kind != "query" || fmt.Sprint(line.Fields) != "[myPresence presence]" {
		t.Errorf("written: %s", text)
	}
	if strings.Contains(text, testAdmin) || strings.Contains(text, demo.Dave.String()) || strings.Contains(text, "offline") {
		t.Errorf("secrets, arguments or answers are written: %s", text)
	}
	log.Reset()
	a := audit{p.log}
	a.action(t.Context(), auth.Identity{UserID: demo.Alice, Tenant: "primary", Role: "user", Via: auth.ViaHasura}, "whoIsOnline")
	a.action(t.Context(), auth.Identity{UserID: uuid.Nil, Tenant: "primary", Role: "admin", Admin: true, Via: auth.ViaHasura}, "whoIsOnline")
	if log.Len() > 0 {
		t.Errorf("written for a user, or for nobody: %s", &log)
	}
	a.action(t.Context(), auth.Identity{UserID: demo.Alice, Tenant: "primary", Role: "admin", Admin: true, Via: auth.ViaHasura, TokenID: "t1"}, "whoIsOnline")
	if !strings.Contains(log.String(), `"kind":"action","fields":["whoIsOnline"],"token":"t1"`) {
		t.Errorf("of an action: %s", &log)
	}
}

// TestWhoseSessionsAnAdminEndsIsWrittenDown: also by one that is nobody, for the answer
// counts the sessions of the invisible.
func TestWhoseSessionsAnAdminEndsIsWrittenDown(t *testing.T) {
	t.Parallel()
	p := built(t, nil)
	var log bytes.Buffer
	p.log = slog.New(slog.NewJSONHandler(&log, nil))
	h := graphqlHandler(p)
	dave := demo.Dave.String()
	for query, want := range map[string]string{
		`mutation { revokeSessions(userId: "` + dave + `") }`:                    `"via":"admin-secret","tenant":"primary","target":"` + dave + `","oneToken":false}`,
		`mutation { revokeSessions(userId: "` + dave + `", tokenId: "of his") }`: `"target":"` + dave + `","oneToken":true}`,
	} {
		log.Reset()
		if status, body := ask(t, h, query, "X-Hasura-Admin-Secret", testAdmin); status != http.StatusOK || strings.Contains(body, "errors") {
			t.Fatal(status, body)
		}
		if text := log.String(); !strings.Contains(text, `"level":"WARN","msg":"audit: an admin ends a user's sessions",`) || !strings.Contains(text, want) || strings.Contains(text, "of his") {
			t.Errorf("written: %s", text)
		}
	}
	log.Reset()
	if _, body := ask(t, h, `mutation { revokeSessions(userId: "`+dave+`") }`, "X-Hasura-Admin-Secret", testAdmin, "X-Hasura-User-Id", demo.Alice.String()); !strings.Contains(body, `"revokeSessions"`) {
		t.Fatal(body)
	}
	if text := log.String(); !strings.Contains(text, `"user":"`+demo.Alice.String()+`"}`) {
		t.Errorf("in a user's name: %s", text)
	}
}

// TestDevIsForThisMachine: whatever name an attacker has a browser look up, a page
// of that name is not of the server.
func TestDevIsForThisMachine(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"localhost": true, "localhost:3101": true, "LOCALHOST.:80": true, "127.0.0.1:3101": true, "[::1]:3101": true, "::1": true,
		"realtime.localhost:3101": true, "evil.example": false, "evil.example:3101": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "10.0.0.1:3101": false, "": false} {
		if got := namesHere(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	p := &parts{dev: true}
	for _, c := range []struct {
		bound, host string
		dev         bool
		want        int
	}{{"127.0.0.1", "evil.example:4101", true, 421}, {"127.0.0.1", "localhost:4101", true, 204}, {"", "evil.example", true, 204}, {"127.0.0.1", "evil.example", false, 204}} {
		p.dev, p.config.Host = c.dev, c.bound
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		p.here(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%+v: %d", c, w.Code)
		}
	}
}

// TestTheWayToPostgresIsLookedAt where there is one.
func TestTheWayToPostgresIsLookedAt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		here, encrypted, mayFallBack bool
		want                         string
	}{{true, false, true, ""}, {false, true, false, ""}, {false, false, true, "not encrypted"}, {false, true, true, "would do without"}} {
		if got := warnOfWay(c.here, c.encrypted, c.mayFallBack); got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
