// Package clientip says from which address a request comes. What a client
// writes into X-Forwarded-For counts only as far as proxies named by the
// operator have passed it on.
package clientip

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Finder knows the trusted proxies.
type Finder struct{ trusted []netip.Prefix }

// New is a finder that believes these proxies, and without any nobody.
func New(trusted []netip.Prefix) Finder { return Finder{trusted} }

// From is the address of the client: the connection's own, or, behind trusted
// proxies, the last one in X-Forwarded-For that is not a trusted proxy itself.
func (f Finder) From(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && f.trusts(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // not an address: what stands left of it is nobody's word
		}
		addr = next.Unmap().WithZone("")
	}
	return addr.String()
}

func (f Finder) trusts(a netip.Addr) bool {
	for _, p := range f.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Bucket is what an address is counted by: itself, or for IPv6 its /64, of
// which one customer has as many addresses as it likes.
func Bucket(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() || a.Is4In6() {
		return ip
	}
	p, err := a.Prefix(64)
	if err != nil {
		return ip
	}
	return p.String()
}
