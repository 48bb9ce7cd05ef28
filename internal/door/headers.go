package door

import (
	"net/http"
	"net/textproto"
	"strings"
)

const (
	headerRole     = "X-Hasura-Role"
	headerAdmin    = "X-Hasura-Admin-Secret"
	headerAdminOld = "X-Hasura-Access-Key"
	headerShared   = "X-Nchat-Webhook-Secret"
)

// forward is what of a client's headers goes upstream. Left out are those of the
// connection, what a proxy says of the client (the door says that itself), the
// secret that only Hasura may have, and every session variable but the role:
// beside an admin secret Hasura judges them, and beside a token it would read
// past them, but of a caller without credentials it would believe them.
func forward(h http.Header, admin bool, keep string) http.Header {
	out := http.Header{}
	for name, values := range h {
		name = http.CanonicalHeaderKey(name)
		if mine[name] || strings.HasPrefix(name, "Sec-Websocket-") || strings.HasPrefix(name, "X-Forwarded-") ||
			!admin && !strings.EqualFold(name, keep) && variable(name) {
			continue
		}
		out[name] = values
	}
	return out
}

// variable says whether a header is a session variable, but for the role.
func variable(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "x-hasura-") && lower != strings.ToLower(headerRole)
}

// mine are headers that end at the door.
var mine = map[string]bool{
	"Connection": true, "Upgrade": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Host": true, "Content-Length": true,
	"Forwarded": true, "X-Real-Ip": true, headerShared: true,
}

// request is what of a request's headers goes upstream. Those that its Connection
// names are for the next hop alone. (Of an upgrade they stay: who asks was read
// from all of them, and must be read from the same there.)
func request(r *http.Request, keep string) http.Header {
	h := hop(r)
	return forward(h, asAdmin(h), keep)
}

// hop is a request's headers without those that its Connection names. They are gone
// before anybody looks who asks: an admin secret that does not go on lets nothing
// else go on.
func hop(r *http.Request) http.Header {
	out := r.Header.Clone()
	for _, list := range r.Header.Values("Connection") {
		for name := range strings.SplitSeq(list, ",") {
			out.Del(textproto.TrimString(name))
		}
	}
	return out
}

// asAdmin says whether some of these headers bring an admin secret.
func asAdmin(all ...http.Header) bool {
	for _, h := range all {
		if len(h.Values(headerAdmin))+len(h.Values(headerAdminOld)) > 0 {
			return true
		}
	}
	return false
}

// payloadOf is the headers of a connection_init as Hasura has them: strings. What
// was written bare is among them, for this server takes it, and both must see
// the same caller.
func payloadOf(given http.Header, admin bool, keep string) map[string]string {
	out := map[string]string{}
	for name, values := range forward(given, admin, keep) {
		out[name] = values[0]
	}
	return out
}
