package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/ohler55/ojg/jp"
)

const defaultNamespace = "https://hasura.io/jwt/claims"

// algorithms are what a token may be signed with; HMAC only with a key of ours.
var (
	hmacBytes  = map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}
	publicAlgs = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"}
)

// JWTConfig is HASURA_GRAPHQL_JWT_SECRET, checked.
type JWTConfig struct {
	alg       string // of key; "" with a JWKS
	key       any    // []byte or a public key; nil with a JWKS
	jwkURL    string
	namespace string
	nsPath    jp.Expr // instead of namespace
	stringly  bool
	claims    map[string]claimSource // instead of both
	audience  []string
	issuer    string
	skew      time.Duration
	header    headerKind
}

type headerKind struct{ kind, name string }

// claimSource is where claims_map takes one claim from.
type claimSource struct {
	literal any
	path    jp.Expr
	def     any
	hasDef  bool
}

// UsesKey reports whether tokens can be minted with the configuration.
func (c JWTConfig) UsesKey() bool { _, ok := c.key.([]byte); return ok }

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

// rawConfig is the JSON as Hasura documents it.
type rawConfig struct {
	Type     string                     `json:"type"`
	Key      *string                    `json:"key"`
	JWKURL   *string                    `json:"jwk_url"`
	NS       *string                    `json:"claims_namespace"`
	NSPath   *string                    `json:"claims_namespace_path"`
	Format   *string                    `json:"claims_format"`
	Audience json.RawMessage            `json:"audience"`
	Issuer   *string                    `json:"issuer"`
	Map      map[string]json.RawMessage `json:"claims_map"`
	Skew     *float64                   `json:"allowed_skew"`
	Header   *struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"header"`
}

// ParseJWTConfig reads HASURA_GRAPHQL_JWT_SECRET. An error names the key that
// is wrong and never its value.
func ParseJWTConfig(text string) (JWTConfig, error) {
	var raw rawConfig
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&raw); err != nil {
		return JWTConfig{}, configError(err)
	}
	if d.More() {
		return JWTConfig{}, errors.New("JWT secret: more than one JSON value")
	}
	c := JWTConfig{namespace: defaultNamespace}
	return c, errors.Join(c.setKey(raw), c.setClaims(raw), c.setChecks(raw), c.setHeader(raw))
}

func configError(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("JWT secret: %s must not be a %s", t.Field, t.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("JWT secret: unknown key %s", name)
	}
	return errors.New("JWT secret: not a JSON object")
}

func (c *JWTConfig) setKey(raw rawConfig) error {
	if (raw.Key == nil) == (raw.JWKURL == nil) {
		return errors.New("JWT secret: exactly one of key and jwk_url must be given")
	}
	if raw.JWKURL != nil {
		u, err := url.Parse(*raw.JWKURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errors.New("JWT secret: jwk_url must be an http or https URL")
		}
		c.jwkURL = *raw.JWKURL
		return nil
	}
	c.alg = raw.Type
	if raw.Type == "Ed25519" {
		c.alg = "EdDSA"
	}
	if least, ok := hmacBytes[raw.Type]; ok {
		if len(*raw.Key) < least {
			return fmt.Errorf("JWT secret: key must have at least %d bytes for %s", least, raw.Type)
		}
		c.key = []byte(*raw.Key)
		return nil
	}
	if raw.Type == "EdDSA" || !slices.Contains(publicAlgs, c.alg) {
		return errors.New("JWT secret: type must be one of HS256 HS384 HS512 RS256 RS384 RS512 ES256 ES384 ES512 Ed25519")
	}
	key, err := publicKey(*raw.Key)
	if err != nil {
		return err
	}
	fits := false
	switch k := key.(type) {
	case *rsa.PublicKey:
		fits = strings.HasPrefix(c.alg, "RS") && k.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		fits = c.alg == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
	case ed25519.PublicKey:
		fits = c.alg == "EdDSA"
	}
	if !fits {
		return fmt.Errorf("JWT secret: key is no key for %s (RSA keys need 2048 bits)", raw.Type)
	}
	c.key = key
	return nil
}

func publicKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("JWT secret: key must be a PEM public key or X.509 certificate")
	}
	if block.Type == "CERTIFICATE" {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("JWT secret: key is no valid X.509 certificate")
		}
		return cert.PublicKey, nil
	}
	if k, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
		return k, nil
	}
	return nil, errors.New("JWT secret: key is no valid public key")
}

func (c *JWTConfig) setClaims(raw rawConfig) error {
	if raw.NS != nil && raw.NSPath != nil {
		return errors.New("JWT secret: claims_namespace and claims_namespace_path exclude each other")
	}
	if raw.NS != nil {
		c.namespace = *raw.NS
	}
	if raw.NSPath != nil {
		p, err := jsonPath(*raw.NSPath)
		if err != nil {
			return errors.New("JWT secret: claims_namespace_path is no JSONPath")
		}
		c.nsPath = p
	}
	if raw.Format != nil {
		if *raw.Format != "json" && *raw.Format != "stringified_json" {
			return errors.New("JWT secret: claims_format must be json or stringified_json")
		}
		c.stringly = *raw.Format == "stringified_json"
	}
	return c.setMap(raw.Map)
}

func jsonPath(text string) (jp.Expr, error) {
	if !strings.HasPrefix(text, "$") {
		return nil, errors.New("no root")
	}
	return jp.ParseString(text)
}

func (c *JWTConfig) setMap(raw map[string]json.RawMessage) error {
	if raw == nil {
		return nil
	}
	c.claims = map[string]claimSource{}
	names := make([]string, 0, len(raw))
	for n := range raw {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		lower := strings.ToLower(n)
		if !strings.HasPrefix(lower, varPrefix) {
			return fmt.Errorf("JWT secret: claims_map: %q does not begin with x-hasura-", n)
		}
		src, err := claimOf(raw[n])
		if err != nil {
			return fmt.Errorf("JWT secret: claims_map: %q %w", n, err)
		}
		c.claims[lower] = src
	}
	for _, need := range []string{allowedRoles, defaultRole} {
		if _, ok := c.claims[need]; !ok {
			return fmt.Errorf("JWT secret: claims_map must contain %s", need)
		}
	}
	return nil
}

func claimOf(raw json.RawMessage) (claimSource, error) {
	var src struct {
		Path    *string          `json:"path"`
		Default *json.RawMessage `json:"default"`
	}
	if len(raw) > 0 && raw[0] == '{' {
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.DisallowUnknownFields()
		if err := d.Decode(&src); err != nil || src.Path == nil {
			return claimSource{}, errors.New("must be a literal or {path, default}")
		}
		p, err := jsonPath(*src.Path)
		if err != nil {
			return claimSource{}, errors.New("has a path that is no JSONPath")
		}
		out := claimSource{path: p}
		if src.Default != nil {
			out.hasDef = true
			return out, json.Unmarshal(*src.Default, &out.def)
		}
		return out, nil
	}
	var out claimSource
	if err := json.Unmarshal(raw, &out.literal); err != nil {
		return out, errors.New("must be a literal or {path, default}")
	}
	return out, nil
}

func (c *JWTConfig) setChecks(raw rawConfig) error {
	if raw.Audience != nil && string(raw.Audience) != "null" {
		var one string
		if json.Unmarshal(raw.Audience, &one) == nil {
			c.audience = []string{one}
		} else if json.Unmarshal(raw.Audience, &c.audience) != nil || len(c.audience) == 0 {
			return errors.New("JWT secret: audience must be a string or a list of strings")
		}
	}
	if raw.Issuer != nil {
		c.issuer = *raw.Issuer
	}
	if raw.Skew != nil {
		if *raw.Skew < 0 || *raw.Skew > 86400 {
			return errors.New("JWT secret: allowed_skew must be 0 to 86400 seconds")
		}
		c.skew = time.Duration(*raw.Skew * float64(time.Second))
	}
	return nil
}

func (c *JWTConfig) setHeader(raw rawConfig) error {
	c.header = headerKind{kind: "Authorization"}
	if raw.Header == nil {
		return nil
	}
	c.header = headerKind{raw.Header.Type, raw.Header.Name}
	switch c.header.kind {
	case "Authorization":
		return nil
	case "Cookie", "CustomHeader":
		if c.header.name != "" {
			return nil
		}
		return fmt.Errorf("JWT secret: header of type %s needs a name", c.header.kind)
	}
	return errors.New("JWT secret: header type must be Authorization, Cookie or CustomHeader")
}
