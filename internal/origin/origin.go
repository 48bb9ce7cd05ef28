// Package origin decides which web pages may talk to the server. A request
// without an Origin is no page's; what it may do hangs on its credentials.
package origin

import (
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
}

type suffix struct{ scheme, domain string }

// New reads a list of origins: exact ones, https://*.example.com for
// subdomains, or *. An empty list allows the server's own host alone.
func New(list []string) Policy {
	var p Policy
	for _, o := range list {
		o = strings.ToLower(strings.TrimRight(o, "/"))
		scheme, host, _ := strings.Cut(o, "://")
		switch {
		case o == "*":
			p.any = true
		case strings.HasPrefix(host, "*."):
			p.suffixes = append(p.suffixes, suffix{scheme, host[1:]})
		default:
			p.exact = append(p.exact, o)
		}
	}
	return p
}

// Listed reports whether a request's Origin is one the operator named, or the
// server's own host. * names nobody: it does not make a page trusted with
// credentials that a browser sends by itself.
func (p Policy) Listed(r *http.Request) bool {
	o := strings.ToLower(r.Header.Get("Origin"))
	u, err := url.Parse(o)
	if o == "" || err != nil || u.Host == "" {
		return false
	}
	if slices.Contains(p.exact, o) || strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, s := range p.suffixes {
		if u.Scheme == s.scheme && strings.HasSuffix(u.Host, s.domain) && len(u.Host) > len(s.domain) {
			return true
		}
	}
	return false
}

// Allowed reports whether the request may be served: it comes from no page, or
// from one that is let in.
func (p Policy) Allowed(r *http.Request) bool {
	return r.Header.Get("Origin") == "" || p.any || p.Listed(r)
}

// CORS answers preflights and lets pages that are let in read answers.
// Credentials are allowed to listed pages only.
func (p Policy) CORS(next http.Handler) http.Handler {
	opts := cors.Options{
		AllowedMethods: []string{http.MethodGet, http.MethodPost},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Accept", "X-Hasura-Role", "X-Hasura-Admin-Secret", "X-Request-Id", "Traceparent"},
		ExposedHeaders: []string{"Retry-After", "X-Request-Id"},
		MaxAge:         600,
	}
	listed, open := opts, opts
	listed.AllowCredentials = true
	listed.AllowOriginVaryRequestFunc = func(r *http.Request, _ string) (bool, []string) { return p.Listed(r), nil }
	open.AllowOriginVaryRequestFunc = func(r *http.Request, _ string) (bool, []string) { return p.any, nil }
	withCreds, without := cors.New(listed).Handler(next), cors.New(open).Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.Listed(r) {
			withCreds.ServeHTTP(w, r)
			return
		}
		without.ServeHTTP(w, r)
	})
}
