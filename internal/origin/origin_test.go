package origin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/origin"
)

func request(origin string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://api.localhost/graphql", nil)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	return r
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	some := []string{"https://app.example.com", "https://*.example.org"}
	for name, c := range map[string]struct {
		list            []string
		origin          string
		listed, allowed bool
	}{
		"no page":                  {some, "", false, true},
		"exact":                    {some, "https://app.example.com", true, true},
		"case":                     {some, "https://APP.example.com", true, true},
		"other scheme":             {some, "http://app.example.com", false, false},
		"other port":               {some, "https://app.example.com:8443", false, false},
		"subdomain":                {some, "https://a.b.example.org", true, true},
		"the domain itself":        {some, "https://example.org", false, false},
		"a domain that ends alike": {some, "https://evil-example.org", false, false},
		"a domain that begins so":  {some, "https://app.example.com.evil.net", false, false},
		"own host":                 {nil, "http://api.localhost", true, true},
		"another host":             {nil, "https://evil.net", false, false},
		"null":                     {some, "null", false, false},
		"any":                      {[]string{"*"}, "https://evil.net", false, true},
		"nonsense":                 {some, "https://%zz", false, false},
	} {
		p := origin.New(c.list)
		if got := p.Listed(request(c.origin)); got != c.listed {
			t.Errorf("%s: listed %v", name, got)
		}
		if got := p.Allowed(request(c.origin)); got != c.allowed {
			t.Errorf("%s: allowed %v", name, got)
		}
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for name, c := range map[string]struct {
		list               []string
		origin             string
		allow, credentials string
	}{
		"listed":   {[]string{"https://app.example.com"}, "https://app.example.com", "https://app.example.com", "true"},
		"stranger": {[]string{"https://app.example.com"}, "https://evil.net", "", ""},
		"any":      {[]string{"*"}, "https://evil.net", "https://evil.net", ""},
	} {
		r := request(c.origin)
		r.Method = http.MethodOptions
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		w := httptest.NewRecorder()
		origin.New(c.list).CORS(ok).ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != c.allow {
			t.Errorf("%s: allow-origin %q", name, got)
		}
		if got := w.Header().Get("Access-Control-Allow-Credentials"); got != c.credentials {
			t.Errorf("%s: allow-credentials %q", name, got)
		}
	}
}
