package clientip_test

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/clientip"
)

// TestEncryptedIsKnownOfTheConnectionAndOfTrustedProxies, and of nobody else.
func TestEncryptedIsKnownOfTheConnectionAndOfTrustedProxies(t *testing.T) {
	t.Parallel()
	f := clientip.New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	for what, c := range map[string]struct {
		peer, proto string
		tls, want   bool
	}{
		"plain":              {peer: "10.0.0.1:1"},
		"tls":                {peer: "1.2.3.4:1", tls: true, want: true},
		"a proxy says so":    {peer: "10.0.0.1:1", proto: "HTTPS, http", want: true},
		"a proxy says not":   {peer: "10.0.0.1:1", proto: "http"},
		"a stranger says so": {peer: "1.2.3.4:1", proto: "https"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-Proto": {c.proto}}}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := f.Encrypted(r); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}
