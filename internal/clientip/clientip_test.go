package clientip_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/clientip"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for name, c := range map[string]struct {
		remote  string
		forward []string
		want    string
	}{
		"direct":                       {"203.0.113.9:1234", nil, "203.0.113.9"},
		"forged without a proxy":       {"203.0.113.9:1234", []string{"1.2.3.4"}, "203.0.113.9"},
		"one proxy":                    {"10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		"forged through a proxy":       {"10.0.0.1:1", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		"two proxies":                  {"10.0.0.1:1", []string{"203.0.113.9, 10.2.0.1"}, "203.0.113.9"},
		"two headers":                  {"10.0.0.1:1", []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		"nonsense":                     {"10.0.0.1:1", []string{"1.2.3.4, nonsense"}, "10.0.0.1"},
		"only proxies":                 {"10.0.0.1:1", []string{"10.0.0.2"}, "10.0.0.2"},
		"mapped":                       {"[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"ipv6 proxy":                   {"[::1]:1", []string{"2001:db8::5"}, "2001:db8::5"},
		"a unix socket has no address": {"@", nil, "@"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forward}}
		if got := clientip.New(trusted).From(r); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	if clientip.Bucket("2001:db8::1") != clientip.Bucket("2001:db8::ffff:2") || clientip.Bucket("2001:db8::1") == clientip.Bucket("2001:db8:0:1::1") {
		t.Error("IPv6 is counted by /64")
	}
	if clientip.Bucket("203.0.113.9") == clientip.Bucket("203.0.113.8") {
		t.Error("IPv4 is counted by address")
	}
}
