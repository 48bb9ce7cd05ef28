package app

import (
	"net"
	"net/http"
	"strings"
)

// onlyHere serves what names this machine as its host, and nothing else: a page
// whose name an attacker points at 127.0.0.1 would be of the server's own origin,
// and everybody knows the key that `dev` takes tokens by.
func onlyHere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !namesHere(r.Host) {
			http.Error(w, "this server is for this machine alone: ask for localhost, 127.0.0.1 or [::1]", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// namesHere reports whether a Host header is a loopback address or a name that is
// never anything else (RFC 6761, section 6.3).
func namesHere(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
