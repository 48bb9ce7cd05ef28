// Package origin decides which web pages may talk to the server. A request
// without an Origin is no page's; what it may do hangs on its credentials.
package origin

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rs/cors"
)

// Policy is ALLOWED_ORIGINS.
type Policy struct {
	exact    []string
	suffixes []suffix
	any      bool
	https    func(*http.Request) bool
}

const files = "file://" // the origin that has no host

// suffix lets in what lies below a domain; it begins with a dot.
type suffix struct{ scheme, domain string }

// New reads a list of origins: exact ones, also of native apps
// (capacitor://localhost), https://*.example.com for subdomains at any depth but
// not the domain itself (*.example.com is the same), moz-extension://* for a scheme of
// which the browser makes up the host, file:// for Electron's pages, or *. null is never
// let in: any page can come to have that origin. An empty list allows the server's own host alone,
// and that is not its pages without TLS where https says that a request came by TLS.
func New(list []string, https func(*http.Request) bool) Policy {
	p := Policy{https: https}
	for _, o := range list {
		if o == "*" {
			p.any = true
			continue
		}
		if strings.HasPrefix(o, "*.") {
			o = "https://" + o
		}
		if o == files {
			p.exact = append(p.exact, files)
			continue
		}
		scheme, host, _ := strings.Cut(strings.ToLower(strings.TrimRight(o, "/")), "://")
		host = withoutDefaultPort(scheme, host)
		if domain, wild := strings.CutPrefix(host, "*"); wild {
			p.suffixes = append(p.suffixes, suffix{scheme, domain})
		} else {
			p.exact = append(p.exact, scheme+"://"+host)
		}
	}
	return p
}

func withoutDefaultPort(scheme, host string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// Listed reports whether a request's Origin is one the operator named, or the
// server's own host. * names nobody: it does not make a page trusted with
// credentials that a browser sends by itself.
func (p Policy) Listed(r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) != 1 {
		return false
	}
	o := strings.ToLower(values[0])
	if o == files {
		return slices.Contains(p.exact, files)
	}
	u, err := url.Parse(o)
	if err != nil || u.Host == "" || o != u.Scheme+"://"+u.Host { // an origin is nothing but these two
		return false
	}
	host := withoutDefaultPort(u.Scheme, u.Host)
	own := (u.Scheme == "https" || u.Scheme == "http" && !p.https(r)) && host == withoutDefaultPort(u.Scheme, strings.ToLower(r.Host))
	if own || slices.Contains(p.exact, u.Scheme+"://"+host) {
		return true
	}
	return slices.ContainsFunc(p.suffixes, func(s suffix) bool {
		return u.Scheme == s.scheme && len(host) > len(s.domain) && strings.HasSuffix(host, s.domain)
	})
}

// Allowed reports whether the request may be served: it comes from no page, or
// from one that is let in. Where the credential is one that a browser sends by
// itself, MayUseCookie is to be asked instead.
func (p Policy) Allowed(r *http.Request) bool {
	return len(r.Header.Values("Origin")) == 0 || p.any || p.Listed(r)
}

// MayUseCookie reports whether a request may run on a cookie: it comes from a
// listed page, or from a program that was handed the cookie, and is a
// WebSocket's, whose Origin no page can forge or leave out, or carries JSON,
// which no form can send and a browser asks for leave before it sends.
func (p Policy) MayUseCookie(r *http.Request) bool {
	program := len(r.Header.Values("Origin")) == 0 && len(r.Header.Values("Sec-Fetch-Site")) == 0
	if !program && !p.Listed(r) {
		return false
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return true
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return r.Method == http.MethodPost && err == nil && media == "application/json"
}

// CORS answers preflights and lets pages that are let in read answers.
// Credentials are allowed to listed pages only. A page that is not let in is
// not refused here: its browser keeps the answer from it, and sends nothing
// that would need a preflight. Methods are GET, POST, and more.
func (p Policy) CORS(next http.Handler, more ...string) http.Handler {
	const preflightSeconds = 7200 // Chrome keeps none for longer
	options := func(let func(*http.Request) bool, credentials bool) cors.Options {
		return cors.Options{
			AllowOriginVaryRequestFunc: func(r *http.Request, _ string) (bool, []string) { return let(r), nil },
			AllowCredentials:           credentials,
			AllowedMethods:             append([]string{http.MethodGet, http.MethodPost}, more...),
			AllowedHeaders:             []string{"*"}, // those asked for are named back: JWT headers have any name, and so have traces
			ExposedHeaders:             []string{"Retry-After", "X-Request-Id"},
			MaxAge:                     preflightSeconds,
		}
	}
	listed := cors.New(options(p.Listed, true)).Handler(next)
	others := cors.New(options(func(*http.Request) bool { return p.any }, false)).Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.Listed(r) {
			listed.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}
