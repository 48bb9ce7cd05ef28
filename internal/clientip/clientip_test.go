package clientip_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/clientip"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("::ffff:192.0.2.0/120")}
	for name, c := range map[string]struct {
		remote  string
		forward []string
		want    string
	}{
		"direct":                           {"203.0.113.9:1234", nil, "203.0.113.9"},
		"forged without a proxy":           {"203.0.113.9:1234", []string{"1.2.3.4"}, "203.0.113.9"},
		"one proxy":                        {"10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		"a proxy that says nothing":        {"10.0.0.1:1", nil, "10.0.0.1"},
		"forged through a proxy":           {"10.0.0.1:1", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		"a trusted address forged":         {"10.0.0.1:1", []string{"10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		"two proxies":                      {"10.0.0.1:1", []string{"203.0.113.9, 10.2.0.1"}, "203.0.113.9"},
		"forged through two":               {"10.0.0.1:1", []string{"1.2.3.4,203.0.113.9,10.2.0.1"}, "203.0.113.9"},
		"two headers":                      {"10.0.0.1:1", []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		"nonsense":                         {"10.0.0.1:1", []string{"1.2.3.4, nonsense"}, "10.0.0.1"},
		"nonsense left of the client":      {"10.0.0.1:1", []string{"nonsense, 203.0.113.9"}, "203.0.113.9"},
		"unknown, as some proxies write":   {"10.0.0.1:1", []string{"1.2.3.4, unknown, 10.0.0.2"}, "10.0.0.2"},
		"blanks":                           {"10.0.0.1:1", []string{" 203.0.113.9 ,, "}, "203.0.113.9"},
		"with a port, as some proxies add": {"10.0.0.1:1", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		"IPv6 with a port":                 {"10.0.0.1:1", []string{"[2001:db8::5]:4711"}, "2001:db8::5"},
		"IPv6 in brackets":                 {"10.0.0.1:1", []string{"[2001:db8::5]"}, "2001:db8::5"},
		"only proxies":                     {"10.0.0.1:1", []string{"10.0.0.2"}, "10.0.0.2"},
		"mapped":                           {"[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"a network given mapped":           {"192.0.2.7:1", []string{"203.0.113.9"}, "203.0.113.9"},
		"ipv6 proxy":                       {"[::1]:1", []string{"2001:db8::5"}, "2001:db8::5"},
		"a zone is no part of it":          {"[fe80::1%eth0]:1", nil, "fe80::1"},
		"a unix socket has no address":     {"@", []string{"1.2.3.4"}, "@"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forward, "Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"}}}
		if got := clientip.New(trusted).From(r); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestNobodyIsBelievedUnasked(t *testing.T) {
	t.Parallel()
	r := &http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"1.2.3.4"}, "Forwarded": {"for=1.2.3.4"}, "X-Real-Ip": {"1.2.3.4"}}}
	if got := clientip.New(nil).From(r); got != "127.0.0.1" {
		t.Error(got)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"one /64":              {"2001:db8::1", "2001:db8::ffff:2", true},
		"two /64":              {"2001:db8::1", "2001:db8:0:1::1", false},
		"IPv4 by address":      {"203.0.113.9", "203.0.113.8", false},
		"IPv4 mapped":          {"203.0.113.9", "::ffff:203.0.113.9", true},
		"two IPv4 mapped":      {"::ffff:203.0.113.9", "::ffff:203.0.113.8", false},
		"IPv6 by its spelling": {"2001:DB8::1", "2001:db8:0:0:0:0:0:1", true},
		"without an address":   {"@", "@", true},
	} {
		if got := clientip.Bucket(c.a) == clientip.Bucket(c.b); got != c.same {
			t.Errorf("%s: %s and %s", name, clientip.Bucket(c.a), clientip.Bucket(c.b))
		}
	}
}
