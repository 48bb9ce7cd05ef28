package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

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

// knownKeys are rawConfig's: encoding/json would take "Issuer" for "issuer" too.
func knownKeys() []string {
	return []string{"type", "key", "jwk_url", "claims_namespace", "claims_namespace_path", "claims_format", "audience", "issuer", "claims_map", "allowed_skew", "header"}
}

// ParseJWTConfig reads HASURA_GRAPHQL_JWT_SECRET (Hasura's documentation, "JWT
// authentication"). An error names the key that is wrong and never its value.
// Keys it does not know it reads past, as Hasura does: hasura-auth keeps its kid
// and signing_key there. One that is given twice is an error, and so is one that
// is nearly one of Hasura's: a mistyped audience opens no door.
func ParseJWTConfig(text string) (JWTConfig, error) {
	object, err := decodeObject([]byte(text))
	if err != nil {
		return JWTConfig{}, fmt.Errorf("JWT secret: %w", err)
	}
	c := JWTConfig{namespace: defaultNamespace}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if slices.Contains(knownKeys(), name) {
			continue
		}
		if meant := slices.IndexFunc(knownKeys(), func(known string) bool { return nearly(name, known) }); meant >= 0 {
			return JWTConfig{}, fmt.Errorf("JWT secret: unknown key %.40q: is %s meant?", name, knownKeys()[meant])
		}
		c.ignored = append(c.ignored, name)
	}
	var raw rawConfig
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return JWTConfig{}, configError(err)
	}
	if err := errors.Join(c.setKey(raw), c.setClaims(raw), c.setChecks(raw), c.setHeader(raw)); err != nil {
		return JWTConfig{}, err
	}
	return c, nil
}

func configError(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(t.Value, " ") // "number 12" would tell the value
		return fmt.Errorf("JWT secret: %s must not be of type %s", t.Field, kind)
	}
	return errors.New("JWT secret: not a JSON object")
}

// nearly: one of two names is the other mistyped, by its case, or by two letters
// where it is long enough to tell.
func nearly(name, known string) bool {
	const long, typos = 5, 2
	return strings.EqualFold(name, known) || min(len(name), len(known)) >= long && len(name) <= len(known)+typos && distance(name, known) <= typos
}

// distance is how many bytes were added, left out or changed (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

func (c *JWTConfig) setClaims(raw rawConfig) error {
	if raw.NS != nil && raw.NSPath != nil {
		return errors.New("JWT secret: claims_namespace and claims_namespace_path exclude each other")
	}
	if raw.NS != nil {
		if c.namespace = *raw.NS; c.namespace == "" {
			return errors.New("JWT secret: claims_namespace must not be empty")
		}
	}
	if raw.NSPath != nil {
		p, err := parseJSONPath(*raw.NSPath)
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

func (c *JWTConfig) setMap(raw map[string]json.RawMessage) error {
	if raw == nil {
		return nil
	}
	c.claims = map[string]claimSource{}
	for _, n := range slices.Sorted(maps.Keys(raw)) {
		lower := strings.ToLower(n)
		if !strings.HasPrefix(lower, varPrefix) {
			return fmt.Errorf("JWT secret: claims_map: %.40q does not begin with x-hasura-", n)
		}
		if _, twice := c.claims[lower]; twice {
			return fmt.Errorf("JWT secret: claims_map: %.40q stands there twice", lower)
		}
		src, err := claimOf(lower, raw[n])
		if err != nil {
			return fmt.Errorf("JWT secret: claims_map: %.40q %w", n, err)
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

func claimOf(name string, raw json.RawMessage) (claimSource, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		v, err := claimValue(name, raw)
		return claimSource{literal: v}, err
	}
	var src struct {
		Path    *string         `json:"path"`
		Default json.RawMessage `json:"default"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&src); err != nil || src.Path == nil {
		return claimSource{}, errors.New("must be a literal or {path, default}")
	}
	p, err := parseJSONPath(*src.Path)
	if err != nil {
		return claimSource{}, errors.New("has a path that is no JSONPath")
	}
	out := claimSource{path: p}
	if len(src.Default) > 0 && string(src.Default) != "null" {
		out.hasDef = true
		out.def, err = claimValue(name, src.Default)
	}
	return out, err
}

// claimValue reads a literal or a default: what no token could use is found now.
func claimValue(name string, raw json.RawMessage) (any, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, errors.New("must be a literal or {path, default}")
	}
	if name == allowedRoles {
		if _, err := roleList(v); err != nil {
			return nil, errors.New("must be a list of role names")
		}
		return v, nil
	}
	if s, ok := v.(string); !ok || name == defaultRole && s == "" {
		return nil, errors.New("must be a string")
	}
	return v, nil
}

func (c *JWTConfig) setChecks(raw rawConfig) error {
	if raw.Audience != nil && string(raw.Audience) != "null" {
		var one string
		if json.Unmarshal(raw.Audience, &one) == nil {
			c.audience = []string{one}
		} else if json.Unmarshal(raw.Audience, &c.audience) != nil || len(c.audience) == 0 {
			return errors.New("JWT secret: audience must be a string or a list of strings")
		}
		if slices.Contains(c.audience, "") { // null in a list becomes "" as well
			return errors.New("JWT secret: audience must not be empty")
		}
	}
	if raw.Issuer != nil {
		if c.issuer = *raw.Issuer; c.issuer == "" {
			return errors.New("JWT secret: issuer must not be empty")
		}
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
	c.header.name = raw.Header.Name
	for _, kind := range []string{"Authorization", "Cookie", "CustomHeader"} {
		if !strings.EqualFold(raw.Header.Type, kind) {
			continue
		}
		c.header.kind = kind
		if named := kind != "Authorization"; named && !validName(c.header.name) || !named && c.header.name != "" {
			return fmt.Errorf("JWT secret: header of type %s: name is missing, invalid or not for this type", kind)
		}
		return nil
	}
	return errors.New("JWT secret: header type must be Authorization, Cookie or CustomHeader")
}

// validName tells whether s is a token of RFC 9110, section 5.6.2, as the name
// of a header and of a cookie has to be.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20 // lower case, for letters
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && !strings.Contains("!#$%&'*+-.^_`|~", s[i:i+1]) {
			return false
		}
	}
	return s != ""
}
