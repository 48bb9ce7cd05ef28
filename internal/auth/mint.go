package auth

import (
	"encoding/json"
	"errors"
	"fmt"
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
	return string(key) == string(dev.key.([]byte))
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

// Mint signs a token that c accepts. It needs a configuration with an HMAC key.
func Mint(c JWTConfig, cl Claims) (string, error) {
	key, ok := c.key.([]byte)
	if !ok {
		return "", errors.New("tokens can only be made with an HMAC key: this configuration verifies with a public key")
	}
	if c.nsPath != nil || c.claims != nil {
		return "", errors.New("tokens are not made for claims_namespace_path or claims_map")
	}
	if cl.Now.IsZero() {
		cl.Now = time.Now()
	}
	if cl.TokenID == "" {
		cl.TokenID = uuid.NewString()
	}
	session := map[string]any{"x-hasura-allowed-roles": []string{cl.Role}, "x-hasura-default-role": cl.Role, "x-hasura-user-id": cl.User.String()}
	if cl.Tenant != "" {
		session["x-hasura-source-account-id"] = cl.Tenant
	}
	var ns any = session
	if c.stringly {
		b, err := json.Marshal(session)
		if err != nil {
			return "", fmt.Errorf("encoding claims: %w", err)
		}
		ns = string(b)
	}
	claims := jwt.MapClaims{"sub": cl.User.String(), "iat": cl.Now.Unix(), "jti": cl.TokenID, c.namespace: ns}
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
