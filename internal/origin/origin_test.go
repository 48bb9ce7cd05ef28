package origin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/origin"
)

func request(method, origin string) *http.Request {
	r := httptest.NewRequest(method, "http://api.localhost/graphql", nil)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	return r
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	some := []string{"https://app.example.com", "https://*.example.org", "*.example.net", "HTTP://Local.Test:80/", "https://*.ports.test:8443"}
	native := []string{"capacitor://localhost", "app://-", "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "moz-extension://*", "file://"}
	for name, c := range map[string]struct {
		list            []string
		origin          string
		listed, allowed bool
	}{
		"no page":                        {some, "", false, true},
		"exact":                          {some, "https://app.example.com", true, true},
		"case":                           {some, "https://APP.example.com", true, true},
		"default port":                   {some, "https://app.example.com:443", true, true},
		"default port listed":            {some, "http://local.test", true, true},
		"other scheme":                   {some, "http://app.example.com", false, false},
		"other port":                     {some, "https://app.example.com:8443", false, false},
		"the other scheme's port":        {some, "https://app.example.com:80", false, false},
		"subdomain":                      {some, "https://a.b.example.org", true, true},
		"subdomain over http":            {some, "http://a.example.org", false, false},
		"the domain itself":              {some, "https://example.org", false, false},
		"a domain that ends alike":       {some, "https://evil-example.org", false, false},
		"a domain that begins so":        {some, "https://app.example.com.evil.net", false, false},
		"a subdomain of what is exact":   {some, "https://x.app.example.com", false, false},
		"wildcard without a scheme":      {some, "https://a.example.net", true, true},
		"wildcard without one is https":  {some, "http://a.example.net", false, false},
		"wildcard with a port":           {some, "https://a.ports.test:8443", true, true},
		"wildcard with a port, another":  {some, "https://a.ports.test", false, false},
		"own host":                       {nil, "http://api.localhost", true, true},
		"own host beside others":         {some, "https://api.localhost", true, true},
		"own host, its default port":     {nil, "http://api.localhost:80", true, true},
		"own host, another port":         {nil, "http://api.localhost:3000", false, false},
		"another host":                   {nil, "https://evil.net", false, false},
		"null":                           {some, "null", false, false},
		"any":                            {[]string{"*"}, "https://evil.net", false, true},
		"any, and one that is listed":    {[]string{"*", "https://app.example.com"}, "https://app.example.com", true, true},
		"nonsense":                       {some, "https://%zz", false, false},
		"more than an origin":            {some, "https://app.example.com/", false, false},
		"with a user before a listed":    {some, "https://evil@app.example.com", false, false},
		"with a user before a subdomain": {some, "https://evil.net@a.example.org", false, false},
		"a path that ends alike":         {some, "https://evil.net/.example.org", false, false},
		"a native app":                   {native, "capacitor://localhost", true, true},
		"a native app's case":            {native, "Capacitor://LOCALHOST", true, true},
		"another native app":             {native, "ionic://localhost", false, false},
		"a native app, not listed":       {some, "tauri://localhost", false, false},
		"a native app by https":          {native, "https://localhost", false, false},
		"an app named by a dash":         {native, "app://-", true, true},
		"an extension":                   {native, "chrome-extension://abcdefghijklmnopabcdefghijklmnop", true, true},
		"another extension":              {native, "chrome-extension://abcdefghijklmnopabcdefghijklmnoo", false, false},
		"an app's that is our own host":  {nil, "capacitor://api.localhost", false, false},
		"an extension anywhere":          {native, "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc", true, true},
		"an extension of no host":        {native, "moz-extension://", false, false},
		"a file":                         {native, "file://", true, true},
		"a file, not listed":             {some, "file://", false, false},
		"a file of a host":               {native, "file://evil.net", false, false},
		"a query that ends alike":        {some, "https://evil.net?.example.org", false, false},
	} {
		p := origin.New(c.list, clientip.New(nil).Encrypted)
		if got := p.Listed(request(http.MethodPost, c.origin)); got != c.listed {
			t.Errorf("%s: listed %v", name, got)
		}
		if got := p.Allowed(request(http.MethodPost, c.origin)); got != c.allowed {
			t.Errorf("%s: allowed %v", name, got)
		}
	}
}

func TestTwoOriginsAreNone(t *testing.T) {
	t.Parallel()
	p := origin.New([]string{"https://app.example.com"}, clientip.New(nil).Encrypted)
	r := request(http.MethodPost, "https://app.example.com")
	r.Header.Add("Origin", "https://evil.net")
	if p.Listed(r) || p.Allowed(r) {
		t.Error("the first of two origins was believed")
	}
	r.Header["Origin"] = []string{""}
	if p.Listed(r) || p.Allowed(r) {
		t.Error("an empty origin is not the absence of one")
	}
}

// What a cookie may do, which a browser sends whatever page asks.
func TestMayUseCookie(t *testing.T) {
	t.Parallel()
	const page = "https://app.example.com"
	for name, c := range map[string]struct {
		list                    []string
		method, origin, content string
		upgrade                 bool
		want                    bool
	}{
		"a listed page's JSON":         {[]string{page}, http.MethodPost, page, "application/json; charset=utf-8", false, true},
		"a listed page's socket":       {[]string{page}, http.MethodGet, page, "", true, true},
		"a stranger's JSON":            {[]string{page}, http.MethodPost, "https://evil.net", "application/json", false, false},
		"a stranger's socket":          {[]string{page}, http.MethodGet, "https://evil.net", "", true, false},
		"anybody's where all are let":  {[]string{"*"}, http.MethodPost, "https://evil.net", "application/json", false, false},
		"a server's":                   {[]string{page}, http.MethodPost, "", "application/json", false, true},
		"a server's, none listed":      {nil, http.MethodPost, "", "application/json", false, true},
		"a server's socket":            {[]string{page}, http.MethodGet, "", "", true, true},
		"a server's form":              {[]string{page}, http.MethodPost, "", "text/plain", false, false},
		"an empty origin's":            {[]string{page}, http.MethodPost, "null", "application/json", false, false},
		"GET without a page":           {[]string{page}, http.MethodGet, "", "", false, false},
		"a browser's without Origin":   {[]string{page}, http.MethodPost, "-", "application/json", false, false},
		"a form":                       {[]string{page}, http.MethodPost, page, "application/x-www-form-urlencoded", false, false},
		"text, which needs no leave":   {[]string{page}, http.MethodPost, page, "text/plain", false, false},
		"no content type":              {[]string{page}, http.MethodPost, page, "", false, false},
		"GET, which anything can send": {[]string{page}, http.MethodGet, page, "application/json", false, false},
	} {
		r := request(c.method, c.origin)
		if c.origin == "-" {
			r.Header.Del("Origin")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		if c.content != "" {
			r.Header.Set("Content-Type", c.content)
		}
		if c.upgrade {
			r.Header.Set("Upgrade", "WebSocket")
		}
		if got := origin.New(c.list, clientip.New(nil).Encrypted).MayUseCookie(r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	const page, evil = "https://app.example.com", "https://evil.net"
	const asked = "authorization,content-type,traceparent,x-any-jwt-header"
	for name, c := range map[string]struct {
		list               []string
		origin, method     string
		allow, credentials string
	}{
		"listed":              {[]string{page}, page, http.MethodPost, page, "true"},
		"listed, by GET":      {[]string{page}, page, http.MethodGet, page, "true"},
		"own host":            {nil, "http://api.localhost", http.MethodPost, "http://api.localhost", "true"},
		"stranger":            {[]string{page}, evil, http.MethodPost, "", ""},
		"any":                 {[]string{"*"}, evil, http.MethodPost, evil, ""},
		"any, and listed":     {[]string{"*", page}, page, http.MethodPost, page, "true"},
		"a method not served": {[]string{page}, page, http.MethodDelete, "", ""},
	} {
		served := 0
		h := origin.New(c.list, clientip.New(nil).Encrypted).CORS(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			served++
			w.WriteHeader(http.StatusTeapot)
		}))
		pre := request(http.MethodOptions, c.origin)
		pre.Header.Set("Access-Control-Request-Method", c.method)
		pre.Header.Set("Access-Control-Request-Headers", asked)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, pre)
		if served != 0 {
			t.Errorf("%s: the preflight was passed on", name)
		}
		check := func(what string, h http.Header, allow, credentials string) {
			if got := h.Get("Access-Control-Allow-Origin"); got != allow {
				t.Errorf("%s: %s: allow-origin %q", name, what, got)
			}
			if got := h.Get("Access-Control-Allow-Credentials"); got != credentials {
				t.Errorf("%s: %s: allow-credentials %q", name, what, got)
			}
			if !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
				t.Errorf("%s: %s: varies with %q", name, what, h.Values("Vary"))
			}
		}
		check("preflight", w.Header(), c.allow, c.credentials)
		if c.allow != "" {
			if got := w.Header().Get("Access-Control-Allow-Headers"); got != asked {
				t.Errorf("%s: allow-headers %q", name, got)
			}
			if got := w.Header().Get("Access-Control-Max-Age"); got != "7200" {
				t.Errorf("%s: kept for %q", name, got)
			}
		}
		if c.method == http.MethodDelete {
			continue
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, request(c.method, c.origin))
		if served != 1 || w.Code != http.StatusTeapot {
			t.Errorf("%s: served %d times", name, served)
		}
		check("answer", w.Header(), c.allow, c.credentials)
	}
}
