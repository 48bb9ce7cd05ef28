package auth

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	allowedRoles = "x-hasura-allowed-roles"
	defaultRole  = "x-hasura-default-role"
	maxToken     = 16 << 10 // bytes; longer than any header a proxy passes
)

func jwtFault(reason string) error {
	return fault.New(fault.InvalidJWT, "Could not verify JWT: %s", reason)
}

// token is a verified one.
type token struct {
	claims    map[string]any
	issuedAt  time.Time
	expiresAt time.Time
	id        string
}

// verify checks signature, times, audience and issuer. The algorithm is the
// configuration's, or the JWK's; what the token says of it decides nothing.
func (a *Authenticator) verify(ctx context.Context, text string) (token, error) {
	if len(text) > maxToken {
		return token{}, jwtFault("JWTTooLarge")
	}
	algs := []string{a.jwt.alg}
	if a.keys != nil {
		algs = publicAlgs
	}
	p := jwt.NewParser(jwt.WithValidMethods(algs), jwt.WithoutClaimsValidation(), jwt.WithJSONNumber())
	claims := jwt.MapClaims{}
	_, err := p.ParseWithClaims(text, claims, func(t *jwt.Token) (any, error) { return a.keyFor(ctx, t) })
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return token{}, f
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return token{}, jwtFault("JWSError JWSInvalidFormat")
	case err != nil:
		return token{}, jwtFault("JWSError JWSInvalidSignature")
	}
	return a.check(claims)
}

func (a *Authenticator) keyFor(ctx context.Context, t *jwt.Token) (any, error) {
	if a.keys == nil {
		return a.jwt.key, nil
	}
	kid, _ := t.Header["kid"].(string)
	key, ok := a.keys.find(ctx, kid, t.Method.Alg())
	if !ok {
		return nil, errors.New("no such key")
	}
	return key, nil
}

func (a *Authenticator) check(claims jwt.MapClaims) (token, error) {
	now := a.now()
	out := token{claims: claims}
	exp, err := instant(claims, "exp")
	if err != nil {
		return out, err
	}
	nbf, err := instant(claims, "nbf")
	if err != nil {
		return out, err
	}
	if out.issuedAt, err = instant(claims, "iat"); err != nil {
		return out, err
	}
	if !exp.IsZero() && !now.Before(exp.Add(a.jwt.skew)) {
		return out, jwtFault("JWTExpired")
	}
	if !nbf.IsZero() && now.Before(nbf.Add(-a.jwt.skew)) {
		return out, jwtFault("JWTNotYetValid")
	}
	out.expiresAt = exp
	if !exp.IsZero() {
		out.expiresAt = exp.Add(a.jwt.skew)
	}
	if len(a.jwt.audience) > 0 {
		aud, err := claims.GetAudience()
		if err != nil || !slices.ContainsFunc(aud, func(x string) bool { return slices.Contains(a.jwt.audience, x) }) {
			return out, jwtFault("JWTNotInAudience")
		}
	}
	if a.jwt.issuer != "" {
		if iss, ok := claims["iss"].(string); !ok || iss != a.jwt.issuer {
			return out, jwtFault("JWTNotInIssuer")
		}
	}
	out.id, _ = claims["jti"].(string)
	return out, nil
}

// instant is a NumericDate; zero: absent. A claim that is none is refused,
// lest an unreadable expiry count as none.
func instant(claims jwt.MapClaims, name string) (time.Time, error) {
	v, ok := claims[name]
	if !ok || v == nil {
		return time.Time{}, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, jwtFault("JWTInvalid" + strings.ToUpper(name[:1]) + name[1:])
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > 253402300799 { // the year 9999
		return time.Time{}, jwtFault("JWTInvalid" + strings.ToUpper(name[:1]) + name[1:])
	}
	return time.UnixMicro(int64(f * 1e6)).UTC(), nil
}

func badClaims(text string, args ...any) error { return fault.New(fault.InvalidClaims, text, args...) }

// sessionOf is the session variables of a token for the role asked for ("":
// the default). Only claims count, whatever headers say.
func (a *Authenticator) sessionOf(t token, asked string) (map[string]string, error) {
	raw, err := a.hasuraClaims(t.claims)
	if err != nil {
		return nil, err
	}
	roles, err := roleList(raw)
	if err != nil {
		return nil, err
	}
	def, err := text(raw, defaultRole)
	if err != nil {
		return nil, err
	}
	role := def
	if asked != "" {
		role = asked
	}
	if !slices.Contains(roles, role) {
		return nil, fault.New(fault.Denied, "Your requested role is not in allowed roles")
	}
	vars := make(map[string]string, len(raw))
	for name, v := range raw {
		if name == allowedRoles || name == defaultRole {
			continue
		}
		s, ok := v.(string)
		if !ok {
			return nil, badClaims("invalid %s; should be a string", name)
		}
		vars[name] = s
	}
	vars[headerRole] = role
	return vars, nil
}

func roleList(raw map[string]any) ([]string, error) {
	v, ok := raw[allowedRoles]
	if !ok {
		return nil, fault.New(fault.MissingRoleClaims, "JWT claim does not contain %s", allowedRoles)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, badClaims("invalid %s; should be a list of roles", allowedRoles)
	}
	roles := make([]string, len(list))
	for i, r := range list {
		if roles[i], ok = r.(string); !ok {
			return nil, badClaims("invalid %s; should be a list of roles", allowedRoles)
		}
	}
	return roles, nil
}

func text(raw map[string]any, name string) (string, error) {
	v, ok := raw[name]
	if !ok {
		return "", fault.New(fault.MissingRoleClaims, "JWT claim does not contain %s", name)
	}
	s, ok := v.(string)
	if !ok {
		return "", badClaims("invalid %s; should be a string", name)
	}
	return s, nil
}

// hasuraClaims finds the x-hasura-* claims, with lower-case names.
func (a *Authenticator) hasuraClaims(claims map[string]any) (map[string]any, error) {
	if a.jwt.claims != nil {
		return a.mapped(claims)
	}
	var found any
	where := a.jwt.namespace
	if a.jwt.nsPath != nil {
		where = a.jwt.nsPath.String()
		found = a.jwt.nsPath.First(claims)
	} else {
		found = claims[a.jwt.namespace]
	}
	if found == nil {
		return nil, badClaims("claims key: '%s' not found", where)
	}
	if a.jwt.stringly {
		s, ok := found.(string)
		if !ok {
			return nil, badClaims("expecting a string when claims_format is stringified_json")
		}
		found = nil
		if json.Unmarshal([]byte(s), &found) != nil {
			return nil, badClaims("expecting stringified json as claims")
		}
	}
	obj, ok := found.(map[string]any)
	if !ok {
		return nil, badClaims("expecting a json object when claims_format is json")
	}
	out := make(map[string]any, len(obj))
	for name, v := range obj {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, varPrefix) {
			continue
		}
		if _, twice := out[lower]; twice {
			return nil, badClaims("%s is given twice", lower)
		}
		out[lower] = v
	}
	return out, nil
}

func (a *Authenticator) mapped(claims map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(a.jwt.claims))
	for name, src := range a.jwt.claims {
		switch {
		case src.path == nil:
			out[name] = src.literal
		default:
			v := src.path.First(claims)
			if v == nil && src.hasDef {
				v = src.def
			}
			if v == nil {
				return nil, badClaims("JWT claim from claims_map, %s, not found", name)
			}
			out[name] = v
		}
	}
	return out, nil
}
