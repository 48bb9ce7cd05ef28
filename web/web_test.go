package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// TestOnlyUsersOfTheDemoGetTokens: by name, not by id, and nobody caches one.
func TestOnlyUsersOfTheDemoGetTokens(t *testing.T) {
	t.Parallel()
	h := Demo{Users: []User{{ID: "1", Name: "alice"}}, Token: func(u User) (string, error) { return "token of " + u.ID, nil }}.Handler()
	for path, want := range map[string]string{
		"/demo/token?user=alice": "200 token of 1", "/demo/token?user=ALICE": "200 token of 1", "/demo/token?user=1": "404", "/demo/token": "404",
		"/demo/token?user=mallory": "404", "/demo/users": `200 [{"id":"1","name":"alice"}]`, "/": "200", "/elsewhere": "404",
	} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		status, body, _ := strings.Cut(want, " ")
		if got := rec.Result().Status[:3]; got != status || body != "" && strings.TrimSpace(rec.Body.String()) != body {
			t.Errorf("%s: %s %q, want %s", path, got, rec.Body, want)
		}
		if strings.HasPrefix(path, "/demo/") && status == "200" && (rec.Header().Get("Cache-Control") != "no-store" || rec.Header().Get("Access-Control-Allow-Origin") != "") {
			t.Errorf("%s: %v", path, rec.Header())
		}
	}
}

// TestThereIsAPageOrAWord: a program without the page says how to get it.
func TestThereIsAPageOrAWord(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	Demo{}.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if says := strings.Contains(rec.Body.String(), "Node 20"); says == Built() {
		t.Errorf("built %v, and the page is %s", Built(), rec.Body)
	}
	if !strings.Contains(rec.Header().Get("Content-Security-Policy"), "frame-ancestors 'self'") {
		t.Error(rec.Header())
	}
	if sub(fstest.MapFS{"dist/.keep": {}}, "dist") != nil || sub(fstest.MapFS{"dist/index.html": {}}, "dist") == nil {
		t.Error("an empty directory counts as a page, or a page does not")
	}
}
