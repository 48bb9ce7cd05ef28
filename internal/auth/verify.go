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

// The reasons a token is refused for, in the words of Hasura's JWT library
// where it has any.
const (
	malformed    = "JWSError CompactDecodeError"
	badSignature = "JWSError JWSInvalidSignature"
	undecodable  = "JWTClaimsSetDecodeError"
)

func jwtFault(reason string) error {
	return fault.New(fault.InvalidJWT, "Could not verify JWT: %s", reason)
}

// Revoked is the answer to a token that was revoked, and to a user who was.
func Revoked() error { return jwtFault("JWTRevoked") }

// Expired is the answer to a token past its time.
func Expired() error { return jwtFault("JWTExpired") }

// token is a verified one.
type token struct {
	claims    map[string]any
	issuedAt  time.Time
	expiresAt time.Time
	id        string
}

// strictClaims are claims in which nothing stands twice: two readers of one
// token must not see two users (RFC 7519, section 4).
type strictClaims struct{ jwt.MapClaims }

var errClaims = errors.New("claims cannot be read")

// UnmarshalJSON implements json.Unmarshaler.
func (c *strictClaims) UnmarshalJSON(data []byte) error {
	object, err := decodeObject(data)
	if err != nil {
		return errClaims
	}
	c.MapClaims = object
	return nil
}

// verify checks signature, times, audience and issuer. The algorithm is the
// configuration's, or the JWK's; what the token says of it decides nothing.
func (a *Authenticator) verify(ctx context.Context, text string) (token, error) {
	if len(text) > maxToken {
		return token{}, jwtFault("JWTTooLarge")
	}
	algs := []string{a.jwt.alg}
	if a.keys != nil {
		algs = publicAlgs()
	}
	p := jwt.NewParser(jwt.WithValidMethods(algs), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	if !plainHeader(p, text) {
		return token{}, jwtFault(malformed)
	}
	claims := &strictClaims{}
	_, err := p.ParseWithClaims(text, claims, func(t *jwt.Token) (any, error) { return a.keyFor(ctx, t) })
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return token{}, f
	}
	switch {
	case errors.Is(err, errClaims):
		return token{}, jwtFault(undecodable)
	case errors.Is(err, jwt.ErrTokenMalformed):
		return token{}, jwtFault(malformed)
	case err != nil:
		return token{}, jwtFault(badSignature)
	case claims.MapClaims == nil: // the payload null, which the decoder does not pass on
		return token{}, jwtFault(undecodable)
	}
	return a.check(claims.MapClaims)
}

// plainHeader tells whether the JOSE header is an object without doubles and
// demands no extension of us: one that is critical and not understood makes the
// token invalid (RFC 7515, section 4.1.11).
func plainHeader(p *jwt.Parser, text string) bool {
	segment, _, _ := strings.Cut(text, ".")
	data, err := p.DecodeSegment(segment)
	if err != nil {
		return false
	}
	header, err := decodeObject(data)
	_, critical := header["crit"]
	return err == nil && !critical
}

func (a *Authenticator) keyFor(ctx context.Context, t *jwt.Token) (any, error) {
	if a.keys == nil {
		return a.jwt.key, nil
	}
	kid, _ := t.Header["kid"].(string)
	return a.keys.find(ctx, kid, t.Method.Alg())
}

// check judges the registered claims in the order of Hasura's library: the
// first that fails names the error.
func (a *Authenticator) check(claims jwt.MapClaims) (out token, err error) {
	out.claims = claims
	exp, err := instant(claims, "exp")
	if err != nil {
		return out, err
	}
	if out.issuedAt, err = instant(claims, "iat"); err != nil {
		return out, err
	}
	nbf, err := instant(claims, "nbf")
	if err != nil {
		return out, err
	}
	if !exp.IsZero() {
		out.expiresAt = exp.Add(a.jwt.skew)
	}
	if id, ok := claims["jti"]; ok && id != nil {
		if out.id, ok = id.(string); !ok { // could not be revoked
			return out, jwtFault(undecodable)
		}
	}
	now := a.now()
	switch late := now.Add(a.jwt.skew); {
	case !exp.IsZero() && !now.Before(out.expiresAt):
		return out, Expired()
	case out.issuedAt.After(late):
		return out, jwtFault("JWTIssuedAtFuture")
	case nbf.After(late):
		return out, jwtFault("JWTNotYetValid")
	}
	if iss, ok := claims["iss"].(string); a.jwt.issuer != "" && (!ok || iss != a.jwt.issuer) {
		return out, jwtFault("JWTNotInIssuer")
	}
	if len(a.jwt.audience) > 0 {
		aud, err := claims.GetAudience()
		if err != nil || !slices.ContainsFunc(aud, func(x string) bool { return slices.Contains(a.jwt.audience, x) }) {
			return out, jwtFault("JWTNotInAudience")
		}
	}
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
		return time.Time{}, jwtFault(undecodable)
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > 253402300799 { // the year 9999
		return time.Time{}, jwtFault(undecodable)
	}
	return time.UnixMicro(int64(f * 1e6)).UTC(), nil
}
