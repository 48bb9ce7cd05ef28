package auth

import (
	"log/slog"
	"net"
	"net/url"
	"time"
)

const defaultNamespace = "https://hasura.io/jwt/claims"

// JWTConfig is HASURA_GRAPHQL_JWT_SECRET, checked.
type JWTConfig struct {
	alg       string // of key; "" with a JWKS
	key       any    // []byte or a public key; nil with a JWKS
	jwkURL    string
	namespace string
	nsPath    *jsonPath // instead of namespace
	stringly  bool
	claims    map[string]claimSource // instead of both
	audience  []string
	issuer    string
	skew      time.Duration
	header    headerKind
	ignored   []string
}

type headerKind struct{ kind, name string }

// claimSource is where claims_map takes one claim from.
type claimSource struct {
	literal any
	path    *jsonPath
	def     any
	hasDef  bool
}

// String names the kind of configuration: however it is printed, its key is not.
func (c JWTConfig) String() string {
	if c.jwkURL != "" {
		return "JWT by jwk_url"
	}
	return "JWT " + c.alg
}

// GoString is for %#v what String is for %v.
func (c JWTConfig) GoString() string { return c.String() }

// LogValue is for slog what String is for fmt.
func (c JWTConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Ignored names the keys that mean nothing here, nor to Hasura.
func (c JWTConfig) Ignored() []string { return c.ignored }

// Weak names what makes a configuration less safe than it looks; empty: nothing.
func (c JWTConfig) Weak() []string {
	u, err := url.Parse(c.jwkURL)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback() {
		return nil
	}
	return []string{"jwk_url is http: whoever is on the way to it can have any token believed; use https"}
}

// StricterThanHasura names what this server demands and Hasura does not; empty: nothing.
func (c JWTConfig) StricterThanHasura() []string {
	var s []string
	if c.issuer != "" {
		s = append(s, "a token without iss is refused, since issuer is configured")
	}
	if len(c.audience) > 0 {
		s = append(s, "a token without aud is refused, since audience is configured")
	}
	return s
}
