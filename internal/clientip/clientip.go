// Package clientip says from which address a request comes. What a client
// writes into X-Forwarded-For counts only as far as proxies named by the
// operator have passed it on. The Forwarded header of RFC 7239 is not read: a
// proxy that sets one of the two passes on the other as the client wrote it.
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
func New(trusted []netip.Prefix) Finder {
	f := Finder{make([]netip.Prefix, 0, len(trusted))}
	for _, p := range trusted {
		if p.Addr().Is4In6() && p.Bits() >= 96 { // addresses are compared unmapped
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		f.trusted = append(f.trusted, p.Masked())
	}
	return f
}

// From is the address of the client: the connection's own, or, behind trusted
// proxies, the last one in X-Forwarded-For that is not a trusted proxy itself.
// What is no IP address, such as a Unix socket's, is answered as it is.
func (f Finder) From(r *http.Request) string {
	addr, ok := parse(r.RemoteAddr)
	if !ok {
		return r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && f.trusts(addr); i-- {
		hop := strings.TrimSpace(hops[i])
		if hop == "" {
			continue
		}
		next, ok := parse(hop)
		if !ok {
			break // not an address: what stands left of it is nobody's word
		}
		addr = next
	}
	return addr.String()
}

// Trusts reports whether a connection's peer is one of the trusted proxies.
func (f Finder) Trusts(remote string) bool {
	addr, ok := parse(remote)
	return ok && f.trusts(addr)
}

// parse reads an address with or without a port, in the one form it is
// compared in: IPv4 never as IPv6, and without a zone.
func parse(s string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
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
	a, ok := parse(ip)
	if !ok {
		return ip
	}
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return ip
	}
	return p.String()
}

// Encrypted reports whether a request is known to have come by TLS: to this server,
// or to a trusted proxy that says so in X-Forwarded-Proto. Of several the first is
// what the client spoke.
func (f Finder) Encrypted(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	addr, ok := parse(r.RemoteAddr)
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return ok && f.trusts(addr) && strings.EqualFold(strings.TrimSpace(first), "https")
}
