package auth

import (
	"net/http"
	"strings"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const maxInitHeaders = 64

// InitHeaders are the headers a socket authenticates by: those of the
// connection_init payload over those of the upgrade. The payload has them as
// Hasura's clients write them, {headers: {…}}, or bare: Authorization,
// x-hasura-role and the like, or the token alone as authToken or token. The map
// counts before what is bare, Authorization before authToken, that before
// token. A bare null is as if it were not there. The secret shared with Hasura
// counts nowhere: Hasura opens no socket.
//
// Faults: invalid-headers for what is no string, no header or given twice in
// two spellings; for more than 64 headers; and for one longer than a token.
func InitHeaders(upgrade http.Header, payload map[string]any) (http.Header, error) {
	m, ok := payload["headers"].(map[string]any)
	if !ok && payload["headers"] != nil {
		return nil, badInit()
	}
	given := http.Header{}
	for name, v := range m {
		if err := put(given, name, v); err != nil {
			return nil, err
		}
	}
	bare := http.Header{}
	for name, v := range payload {
		lower := strings.ToLower(name)
		if v == nil || lower != "authorization" && !strings.HasPrefix(lower, varPrefix) {
			continue
		}
		if err := put(bare, name, v); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"authToken", "token"} {
		v := payload[name]
		if v == nil {
			continue
		}
		s, ok := v.(string)
		if !ok {
			return nil, badInit()
		}
		if bare.Get("Authorization") != "" {
			continue
		}
		if err := put(bare, "Authorization", "Bearer "+strings.TrimPrefix(s, "Bearer ")); err != nil {
			return nil, err
		}
	}
	h := upgrade.Clone()
	if h == nil {
		h = http.Header{}
	}
	for _, from := range []http.Header{bare, given} {
		for name, values := range from {
			h[name] = values
		}
	}
	h.Del(headerSecret)
	return h, nil
}

func badInit() error {
	return fault.New(fault.InvalidHeaders, "connection_init: headers must be an object of strings")
}

// put adds one header of a payload, which may not be there yet.
func put(h http.Header, name string, v any) error {
	s, ok := v.(string)
	if !ok || !validName(name) || len(name) > 256 || len(s) > maxToken+16 || strings.ContainsAny(s, "\r\n\x00") {
		return badInit()
	}
	if len(h.Values(name)) > 0 || len(h) == maxInitHeaders {
		return badInit()
	}
	h.Set(name, s)
	return nil
}
