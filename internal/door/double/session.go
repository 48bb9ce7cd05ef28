package double

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Session is who asks, by Hasura's rules, from the headers of a request and, of
// a socket, those of its connection_init, which come first: its variables, or why
// it is not let in.
func (h *Hasura) Session(upgrade http.Header, init map[string]string) (map[string]string, string) {
	return h.session(upgrade, init)
}

func (h *server) session(upgrade http.Header, init map[string]string) (map[string]string, string) {
	all := map[string]string{}
	for name, values := range upgrade {
		all[strings.ToLower(name)] = values[0]
	}
	for name, value := range init {
		all[strings.ToLower(name)] = value
	}
	own := map[string]string{}
	bears := strings.ToLower(h.o.Bears)
	for name, value := range all {
		if name != bears && strings.HasPrefix(name, "x-hasura-") && name != "x-hasura-admin-secret" && name != "x-hasura-access-key" {
			own[name] = value
		}
	}
	for _, name := range []string{"x-hasura-admin-secret", "x-hasura-access-key"} {
		secret, given := all[name]
		if !given {
			continue
		}
		if secret != h.o.Admin {
			return nil, `invalid "x-hasura-admin-secret"/"x-hasura-access-key"`
		}
		if own["x-hasura-role"] == "" {
			own["x-hasura-role"] = "admin"
		}
		return own, ""
	}
	if bears == "" {
		bears = "authorization"
	}
	token, given := all[bears]
	if !given {
		if h.o.Anonymous == "" {
			return nil, "Missing 'Authorization' or 'Cookie' header in JWT authentication mode"
		}
		vars := maps.Clone(own) // whatever it says of itself
		vars["x-hasura-role"] = h.o.Anonymous
		return vars, ""
	}
	if h.o.Bears != "" { // bare
		return h.byToken(token, own["x-hasura-role"])
	}
	words := strings.Split(token, " ")
	if len(words) != 2 || words[0] != "Bearer" {
		return nil, "Malformed Authorization header"
	}
	return h.byToken(words[1], own["x-hasura-role"])
}

func (h *server) byToken(token, asked string) (map[string]string, string) {
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return []byte(h.o.Key), nil }, jwt.WithValidMethods([]string{"HS256"})); err != nil {
		return nil, "Could not verify JWT: " + err.Error()
	}
	space, _ := claims["https://hasura.io/jwt/claims"].(map[string]any)
	vars, roles, role := map[string]string{}, []string{}, ""
	for name, v := range space {
		switch low := strings.ToLower(name); low {
		case "x-hasura-allowed-roles":
			list, _ := v.([]any)
			for _, r := range list {
				if s, ok := r.(string); ok {
					roles = append(roles, s)
				}
			}
		case "x-hasura-default-role":
			role, _ = v.(string)
		default:
			s, ok := v.(string)
			if !ok {
				return nil, "x-hasura-* claims: parsing Text failed"
			}
			vars[low] = s
		}
	}
	if asked != "" {
		role = asked
	}
	if role == "" || !slices.Contains(roles, role) {
		return nil, "Your requested role is not in allowed roles"
	}
	vars["x-hasura-role"] = role
	return vars, ""
}
