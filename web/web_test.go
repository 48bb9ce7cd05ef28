package web

import (
	"bytes"
	"compress/gzip"
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

// TestAssetsAreSentPacked, to whoever takes it so, each with its type and for ever.
func TestAssetsAreSentPacked(t *testing.T) {
	t.Parallel()
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	_, _ = z.Write([]byte("let x"))
	_ = z.Close()
	tree := fstest.MapFS{"assets/x-1.js.gz": {Data: gz.Bytes()}, "assets/bad.js.gz": {Data: []byte("no")}, "secret.gz": {Data: gz.Bytes()}}
	mux := http.NewServeMux()
	mux.Handle("GET /assets/{name}", keepBy(editors, "immutable", packed(tree)))
	for _, c := range []struct {
		path, accept, body string
		status             int
	}{{"/assets/x-1.js", "br, gzip", gz.String(), 200}, {"/assets/x-1.js", "", "let x", 200}, {"/assets/y.js", "gzip", "", 404}, {"/assets/..%2Fsecret", "gzip", "", 404}, {"/assets/bad.js", "", "", 500}} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.path, nil)
		r.Header.Set("Accept-Encoding", c.accept)
		mux.ServeHTTP(rec, r)
		h := rec.Header()
		if rec.Code != c.status || c.status == 200 && (rec.Body.String() != c.body || (h.Get("Content-Encoding") == "gzip") != (c.accept != "") || !strings.Contains(h.Get("Content-Type"), "javascript") || h.Get("Cache-Control") != "immutable" || h.Get("Vary") != "Accept-Encoding") {
			t.Errorf("%+v: %d %q %v", c, rec.Code, rec.Body, h)
		}
		if rec.Code != 200 && h.Get("Cache-Control") == "immutable" {
			t.Errorf("%s: %d is kept for ever", c.path, rec.Code)
		}
	}
}

// TestThereIsAPlayground, GraphiQL or the small one, and it loads nothing from elsewhere.
func TestThereIsAPlayground(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	Playground().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/playground", nil))
	csp := rec.Header().Get("Content-Security-Policy")
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), "playground") || strings.Contains(rec.Body.String(), "https://") || strings.Contains(csp, "*") || strings.Contains(csp, "https:") || !strings.Contains(csp, "frame-ancestors 'self'") {
		t.Errorf("%d %s\n%s", rec.Code, csp, rec.Body)
	}
	if small := bytes.Contains(rec.Body.Bytes(), []byte("<textarea")); small == Built() || strings.Contains(csp, "script-src 'unsafe-inline'") == Built() {
		t.Errorf("built %v: small %v, %s", Built(), small, csp)
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
