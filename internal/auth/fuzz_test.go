package auth

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// judged proves what holds for whatever a client sends: a fault with no part of
// an identity, or an identity that the configuration allows.
func judged(t *testing.T, id Identity, err error) {
	t.Helper()
	if err != nil {
		if _, ok := errors.AsType[*fault.Error](err); !ok {
			t.Fatalf("an error that is no fault: %v", err)
		}
		if !reflect.DeepEqual(id, Identity{}) {
			t.Fatalf("an identity beside the error: %+v", id)
		}
		return
	}
	if id.Role == "" || id.Tenant == "" || !validTenant(id.Tenant) || id.Via == "" || id.Vars[headerRole] != id.Role {
		t.Fatalf("half an identity: %+v", id)
	}
	if id.UserID != uuid.Nil && (!slices.Contains([]string{"user", "me", "admin"}, id.Role) || !strings.EqualFold(id.UserID.String(), id.Vars[headerUser])) {
		t.Fatalf("a user nobody proved: %+v", id)
	}
	if !id.ExpiresAt.IsZero() && !id.ExpiresAt.After(noon) || id.IssuedAt.After(noon) {
		t.Fatalf("a token out of its time: %+v", id)
	}
	for name := range id.Vars {
		if name != strings.ToLower(name) || !strings.HasPrefix(name, varPrefix) || name == headerAdmin {
			t.Fatalf("variable %q", name)
		}
	}
}

func fuzzRig(f *testing.F, cfg string) *Authenticator {
	c, err := ParseJWTConfig(cfg)
	if err != nil {
		f.Fatal(err)
	}
	return New(Options{JWT: &c, Now: func() time.Time { return noon }})
}

// FuzzToken: no text but ours is a token.
func FuzzToken(f *testing.F) {
	a, good := fuzzRig(f, "{"+hs256+"}"), hs(session)
	for _, s := range []string{good, good + "x", "", "..", "a.b.c", strings.Replace(good, ".", "..", 1), b64(`{"alg":"none"}`) + "." + b64("{"+session+"}") + "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := a.Token(t.Context(), text, "")
		judged(t, id, err)
		if err == nil && text != good {
			t.Fatalf("forged: %q", text)
		}
	})
}

// FuzzClaims signs whatever payload: what the issuer says may be anything.
func FuzzClaims(f *testing.F) {
	var rigs []*Authenticator
	for _, cfg := range []string{"{" + hs256 + "}", jwtWith(`"claims_namespace_path":"$"`), jwtWith(`"claims_format":"stringified_json","claims_namespace_path":"$.a[0]"`),
		jwtWith(`"audience":["a"],"issuer":"i","allowed_skew":0,"claims_map":{"x-hasura-allowed-roles":{"path":"$.r"},"x-hasura-default-role":{"path":"$.r[0]","default":"user"},"x-hasura-user-id":{"path":"$.sub"}}`)} {
		rigs = append(rigs, fuzzRig(f, cfg))
	}
	for _, s := range []string{"{" + session + "}", "{" + roles + `,"exp":1e9}`, `{"a":[` + quoted("{"+roles+"}") + `]}`, `{"r":["user"],"sub":"` + alice + `","aud":["a"],"iss":"i","jti":"x"}`, "null", "[]", `{"a":1,"a":2}`,
		`{"exp":1e400}`, `{"iat":-0}`, nested(50)} {
		f.Add(s, "")
	}
	f.Add("{"+session+"}", "admin")
	f.Fuzz(func(t *testing.T, payload, role string) {
		if len(payload) > 10_000 {
			return
		}
		token := sign("HS256", `{"alg":"HS256"}`, payload, []byte(secret))
		for _, a := range rigs {
			id, err := a.Token(t.Context(), token, role)
			judged(t, id, err)
			if err == nil && role != "" && id.Role != role {
				t.Fatalf("asked for %q, got %q", role, id.Role)
			}
		}
	})
}

// FuzzConfig: a configuration is taken or refused, and then nothing of it is left.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{DevSecret, "{" + hs256 + "}", jwtWith(`"claims_namespace_path":"$.a"`), mapWith(`"x-hasura-a":{"path":"$['a']","default":"b"}`), `{"jwk_url":"https://keys.example"}`,
		config("RS256", publicPEM(testKeys().rsa)), jwtWith(`"header":{"type":"Cookie","name":"a"}`)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseJWTConfig(text)
		if err != nil {
			if !reflect.DeepEqual(c, JWTConfig{}) {
				t.Fatalf("%+v beside %v", c, err)
			}
			return
		}
		if (c.key == nil) == (c.jwkURL == "") || c.header.kind == "" || c.header.kind != "Authorization" && c.header.name == "" {
			t.Fatalf("half a configuration of %q", text)
		}
		if key, ok := c.key.([]byte); ok && len(key) < 32 {
			t.Fatalf("a key of %d bytes", len(key))
		}
	})
}

// FuzzPath: what is put at a path is found there.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"$", "$.a", "$.a-b.c_d", "$['a b']", `$["a\"b"]`, "$.a[0]", "$[", "$['", `$['\`, "$.", "$a", "a.b", "$[99999999999]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseJSONPath(text)
		if err != nil {
			return
		}
		o := map[string]any{}
		if p.put(o, "x") {
			if v, ok := p.find(o); !ok || v != "x" {
				t.Fatalf("%q: %v in %v", text, v, o)
			}
		}
		p.find([]any{map[string]any{"a": nil}, 5})
	})
}
