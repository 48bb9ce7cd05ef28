package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// DevSecret is the JWT secret of dev and token when none is configured. It is
// published: a server with it trusts everybody, and serve refuses to start.
const DevSecret = `{"type":"HS256","key":"nchat-realtime-development-key-known-to-everybody"}`

// IsDevKey reports whether a configuration is the published one.
func (c JWTConfig) IsDevKey() bool {
	dev, err := ParseJWTConfig(DevSecret)
	if err != nil {
		return false
	}
	key, _ := c.key.([]byte)
	published, _ := dev.key.([]byte)
	return bytes.Equal(key, published)
}

// Claims are what a minted token says.
type Claims struct {
	User    uuid.UUID
	Role    string
	Tenant  string // "": not said
	TTL     time.Duration
	TokenID string // "": a new one
	Now     time.Time
}

// Bears is the header that takes a token to whoever is configured alike.
func (c JWTConfig) Bears(token string) (name, value string) {
	switch c.header.kind {
	case "Cookie":
		return "Cookie", c.header.name + "=" + token
	case "CustomHeader":
		return http.CanonicalHeaderKey(c.header.name), token
	}
	return "Authorization", "Bearer " + token
}

// Mint signs a token that c accepts. It needs a configuration with an HMAC key.
func Mint(c JWTConfig, cl Claims) (string, error) {
	key, ok := c.key.([]byte)
	if !ok {
		return "", errors.New("tokens can only be made with an HMAC key: this configuration verifies with a public key")
	}
	if cl.Now.IsZero() {
		cl.Now = time.Now()
	}
	if cl.TokenID == "" {
		cl.TokenID = uuid.NewString()
	}
	session := map[string]any{allowedRoles: []any{cl.Role}, defaultRole: cl.Role, headerUser: cl.User.String()}
	if cl.Tenant != "" {
		session[headerTenant] = cl.Tenant
	}
	claims := jwt.MapClaims{"sub": cl.User.String(), "iat": cl.Now.Unix(), "jti": cl.TokenID}
	if err := c.place(claims, session); err != nil {
		return "", err
	}
	if cl.TTL > 0 {
		claims["exp"] = cl.Now.Add(cl.TTL).Unix()
	}
	if c.issuer != "" {
		claims["iss"] = c.issuer
	}
	if len(c.audience) > 0 {
		claims["aud"] = c.audience[0]
	}
	s, err := jwt.NewWithClaims(jwt.GetSigningMethod(c.alg), claims).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return s, nil
}

// place puts the session variables where c will look for them.
func (c JWTConfig) place(claims jwt.MapClaims, session map[string]any) error {
	if c.claims != nil {
		return c.placeMapped(claims, session)
	}
	var ns any = session
	if c.stringly {
		b, err := json.Marshal(session)
		if err != nil {
			return fmt.Errorf("encoding claims: %w", err)
		}
		ns = string(b)
	}
	switch {
	case c.nsPath == nil:
		claims[c.namespace] = ns
	case len(c.nsPath.steps) == 0 && !c.stringly: // the root
		maps.Copy(claims, session)
	default:
		if !c.nsPath.put(claims, ns) {
			return errors.New("claims_namespace_path: the place cannot be filled")
		}
	}
	return nil
}

// placeMapped puts them where claims_map says. What else it takes from a token and
// has no default for has to be there too: it is empty.
func (c JWTConfig) placeMapped(claims map[string]any, session map[string]any) error {
	for name, v := range session {
		src, ok := c.claims[name]
		if !ok || src.path == nil {
			if !ok || !reflect.DeepEqual(src.literal, v) {
				return fmt.Errorf("claims_map takes %s from elsewhere: no token can say it", name)
			}
			continue
		}
		if !src.path.put(claims, v) {
			return fmt.Errorf("claims_map: the place of %s cannot be filled", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.claims)) {
		src := c.claims[name]
		if src.path == nil || src.hasDef {
			continue
		}
		if _, there := src.path.find(claims); !there && !src.path.put(claims, "") {
			return fmt.Errorf("claims_map: the place of %s cannot be filled", name)
		}
	}
	return nil
}
