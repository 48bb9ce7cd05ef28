package auth

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// claimCase is a token's claims and what becomes of them: an error, or alice
// in the role named.
type claimCase struct{ claims, asked, role, err string }

func judge(cfg string, cases ...claimCase) func(*testing.T) {
	return func(t *testing.T) {
		a := rig(t, cfg, Options{})
		for _, c := range cases {
			h := bearer(hs(c.claims))
			if c.asked != "" {
				h.Set("X-Hasura-Role", c.asked)
			}
			if c.err != "" {
				refused(t, a, h, c.err)
				continue
			}
			if id := accepted(t, a, h); id.Role != c.role || id.Vars[headerRole] != c.role {
				t.Errorf("%s: role %q, want %q", c.claims, id.Role, c.role)
			}
		}
	}
}

// within puts claims under the default namespace.
func within(claims string) string { return `"https://hasura.io/jwt/claims":{` + claims + `}` }

const (
	roles    = `"x-hasura-allowed-roles":["user","guest"],"x-hasura-default-role":"user"`
	rolesBad = "jwt-invalid-claims: invalid x-hasura-allowed-roles; should be a list of roles: parsing "
)

func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

func claimRules() []rule {
	plain := "{" + hs256 + "}"
	return []rule{
		{"jwt", "the default role, or the allowed one asked for by x-hasura-role", judge(plain,
			claimCase{claims: within(roles), role: "user"},
			claimCase{claims: within(roles), asked: "guest", role: "guest"},
			claimCase{claims: within(roles), asked: "admin", err: badRole},
			claimCase{claims: within(roles), asked: "User", err: badRole},
			claimCase{claims: within(roles), asked: "user ", err: badRole},
			claimCase{claims: within(`"x-hasura-allowed-roles":["guest"],"x-hasura-default-role":"user"`), err: badRole},
			claimCase{claims: within(`"x-hasura-allowed-roles":["guest"],"x-hasura-default-role":"user"`), asked: "guest", role: "guest"},
			claimCase{claims: within(`"x-hasura-allowed-roles":[],"x-hasura-default-role":"user"`), err: badRole},
			claimCase{claims: within(`"x-hasura-allowed-roles":[""],"x-hasura-default-role":""`), err: badRole},
		)},
		{"jwt", "allowed roles and default role are required, of their types", judge(plain,
			claimCase{claims: within(`"x-hasura-default-role":"user"`), err: "jwt-missing-role-claims: JWT claim does not contain x-hasura-allowed-roles"},
			claimCase{claims: within(`"x-hasura-allowed-roles":["user"]`), err: "jwt-missing-role-claims: JWT claim does not contain x-hasura-default-role"},
			claimCase{claims: within(`"x-hasura-allowed-roles":"user","x-hasura-default-role":"user"`), err: rolesBad + "[] failed, expected Array, but encountered String"},
			claimCase{claims: within(`"x-hasura-allowed-roles":{"a":1},"x-hasura-default-role":"user"`), err: rolesBad + "[] failed, expected Array, but encountered Object"},
			claimCase{claims: within(`"x-hasura-allowed-roles":[5],"x-hasura-default-role":"user"`), err: rolesBad + "Text failed, expected String, but encountered Number"},
			claimCase{claims: within(`"x-hasura-allowed-roles":["user"],"x-hasura-default-role":["user"]`),
				err: "jwt-invalid-claims: invalid x-hasura-default-role; should be a single role name: parsing Text failed, expected String, but encountered Array"},
			claimCase{claims: within(`"x-hasura-allowed-roles":["user"],"x-hasura-default-role":null`),
				err: "jwt-invalid-claims: invalid x-hasura-default-role; should be a single role name: parsing Text failed, expected String, but encountered Null"},
		)},
		{"jwt", "every other x-hasura-* claim is a string", judge(plain,
			claimCase{claims: within(roles + `,"x-hasura-user-id":5`), err: "jwt-invalid-claims: x-hasura-* claims: parsing Text failed, expected String, but encountered Number"},
			claimCase{claims: within(roles + `,"x-hasura-user-id":["` + alice + `"]`), err: "jwt-invalid-claims: x-hasura-* claims: parsing Text failed, expected String, but encountered Array"},
			claimCase{claims: within(roles + `,"x-hasura-a":true`), err: "jwt-invalid-claims: x-hasura-* claims: parsing Text failed, expected String, but encountered Boolean"},
			claimCase{claims: within(roles + `,"other":5`), role: "user"},
		)},
		{"jwt", "session variables are the claims, by lower-case name, without the two of roles and without headers", func(t *testing.T) {
			a := rig(t, plain, Options{})
			token := hs(within(`"X-Hasura-Allowed-Roles":["user"],"X-HASURA-DEFAULT-ROLE":"user","X-Hasura-User-Id":"` + alice + `","x-hasura-team":"a","other":"b"`))
			id := accepted(t, a, bearer(token, "x-hasura-user-id", bob, "x-hasura-team", "b", "x-hasura-extra", "c", "x-hasura-source-account-id", "elsewhere"))
			if want := map[string]string{"x-hasura-role": "user", "x-hasura-user-id": alice, "x-hasura-team": "a"}; !maps.Equal(id.Vars, want) {
				t.Errorf("%v", id.Vars)
			}
			if id.UserID.String() != alice || id.Tenant != DefaultTenant {
				t.Errorf("%+v", id)
			}
		}},
		{"claims_namespace", "is Hasura's by default, and required in the token", judge(plain,
			claimCase{claims: `"https://hasura.io/jwt/claim":{` + roles + `}`, err: "jwt-invalid-claims: claims key: 'https://hasura.io/jwt/claims' not found"},
			claimCase{claims: roles, err: "jwt-invalid-claims: claims key: 'https://hasura.io/jwt/claims' not found"},
			claimCase{claims: `"https://hasura.io/jwt/claims":"x"`, err: "jwt-invalid-claims: expecting a json object when claims_format is json"},
			claimCase{claims: `"https://hasura.io/jwt/claims":null`, err: "jwt-invalid-claims: expecting a json object when claims_format is json"},
		)},
		{"claims_namespace", "may be another", judge(jwtWith(`"claims_namespace":"mine"`),
			claimCase{claims: `"mine":{` + roles + `}`, role: "user"},
			claimCase{claims: within(roles), err: "jwt-invalid-claims: claims key: 'mine' not found"},
		)},
		{"claims_namespace_path", "leads to the claims", func(t *testing.T) {
			for path, claims := range map[string]string{
				"$": roles, "$.a": `"a":{` + roles + `}`, "$.a.b-c_d": `"a":{"b-c_d":{` + roles + `}}`, "$['a']['b c']": `"a":{"b c":{` + roles + `}}`,
				`$["https://hasura.io/jwt/claims"]`: within(roles), "$.a[1].b": `"a":[0,{"b":{` + roles + `}}]`,
			} {
				judge(jwtWith(`"claims_namespace_path":`+quoted(path)), claimCase{claims: claims, role: "user"}, claimCase{claims: claims, asked: "guest", role: "guest"})(t)
			}
		}},
		{"claims_namespace_path", "that leads nowhere is an error", judge(jwtWith(`"claims_namespace_path":"$.a.b"`),
			claimCase{claims: `"a":{}`, err: "jwt-invalid-claims: claims not found at claims_namespace_path: '$.a.b'"},
			claimCase{claims: `"a":"x"`, err: "jwt-invalid-claims: claims not found at claims_namespace_path: '$.a.b'"},
			claimCase{claims: `"a":[{"b":{` + roles + `}}]`, err: "jwt-invalid-claims: claims not found at claims_namespace_path: '$.a.b'"},
			claimCase{claims: `"a":{"b":5}`, err: "jwt-invalid-claims: expecting a json object when claims_format is json"},
		)},
		{"claims_format", "json takes no string", judge(jwtWith(`"claims_format":"json"`),
			claimCase{claims: within(roles), role: "user"},
			claimCase{claims: `"https://hasura.io/jwt/claims":` + quoted("{"+roles+"}"), err: "jwt-invalid-claims: expecting a json object when claims_format is json"},
		)},
		{"claims_format", "stringified_json takes a string of an object", judge(jwtWith(`"claims_format":"stringified_json"`),
			claimCase{claims: `"https://hasura.io/jwt/claims":` + quoted("{"+roles+"}"), role: "user"},
			claimCase{claims: within(roles), err: "jwt-invalid-claims: expecting a string when claims_format is stringified_json"},
			claimCase{claims: `"https://hasura.io/jwt/claims":"[]"`, err: "jwt-invalid-claims: expecting stringified json at: 'claims_namespace https://hasura.io/jwt/claims'"},
			claimCase{claims: `"https://hasura.io/jwt/claims":` + quoted(`{`+roles+`,"x-hasura-user-id":"a","x-hasura-user-id":"b"}`),
				err: "jwt-invalid-claims: expecting stringified json at: 'claims_namespace https://hasura.io/jwt/claims'"},
		)},
		{"claims_format", "stringified_json at a path", judge(jwtWith(`"claims_format":"stringified_json","claims_namespace_path":"$.a"`),
			claimCase{claims: `"a":` + quoted("{"+roles+"}"), role: "user"},
			claimCase{claims: `"a":"no json"`, err: "jwt-invalid-claims: expecting stringified json at: 'claims_namespace_path $.a'"},
		)},
		{"user id", "counts for USER_ROLES and admin alone, in its canonical form", userIDs},
		{"tenant", "is x-hasura-source-account-id, by default primary, up to 128 bytes of text", tenants},
	}
}

func userIDs(t *testing.T) {
	a := rig(t, "{"+hs256+"}", Options{})
	custom := rig(t, "{"+hs256+"}", Options{UserRoles: []string{"member"}})
	for _, c := range []struct {
		a        *Authenticator
		role, id string
		want     string
	}{
		{a, "user", alice, alice}, {a, "me", alice, alice}, {a, "admin", alice, alice}, {a, "guest", alice, ""}, {a, "member", alice, ""}, {a, "USER", alice, ""},
		{custom, "member", alice, alice}, {custom, "user", alice, ""}, {custom, "admin", alice, alice},
		{a, "user", strings.ToUpper("00000000-0000-4000-8000-00000000000a"), "00000000-0000-4000-8000-00000000000a"},
		{a, "user", "", ""}, {a, "user", "alice", ""}, {a, "user", "{" + alice + "}", ""}, {a, "user", "urn:uuid:" + alice, ""}, {a, "user", strings.ReplaceAll(alice, "-", ""), ""},
		{a, "user", " " + alice, ""}, {a, "user", alice + "\x00", ""}, {a, "user", strings.Repeat("1", 36), ""}, {a, "user", uuid.Nil.String(), ""}, {a, "user", strings.Repeat("1", 9000), ""},
	} {
		claims := within(`"x-hasura-allowed-roles":[` + quoted(c.role) + `],"x-hasura-default-role":` + quoted(c.role) + `,"x-hasura-user-id":` + quoted(c.id))
		id := accepted(t, c.a, bearer(hs(claims)))
		want := uuid.Nil
		if c.want != "" {
			want = uuid.MustParse(c.want)
		}
		if id.UserID != want || id.Admin != (c.role == "admin") {
			t.Errorf("%s %.60q: %v admin %v", c.role, c.id, id.UserID, id.Admin)
		}
	}
}

func tenants(t *testing.T) {
	a := rig(t, "{"+hs256+"}", Options{WebhookSecret: "s"})
	for given, want := range map[string]string{"": DefaultTenant, "a": "a", "Acme-1": "Acme-1", strings.Repeat("t", 128): strings.Repeat("t", 128),
		strings.Repeat("t", 129): "!", "a\x00": "!", "a\nb": "!", "a\x7f": "!"} {
		token := bearer(hs(within(roles + `,"x-hasura-source-account-id":` + quoted(given))))
		trusted := header("x-nchat-webhook-secret", "s", "x-hasura-role", "user")
		trusted["X-Hasura-Source-Account-Id"] = []string{given}
		if want == "!" {
			refused(t, a, token, "jwt-invalid-claims: invalid x-hasura-source-account-id")
			refused(t, a, trusted, "invalid-headers: invalid x-hasura-source-account-id")
			continue
		}
		if got := accepted(t, a, token).Tenant; got != want {
			t.Errorf("token of %q: %q", given, got)
		}
		if got := accepted(t, a, trusted).Tenant; got != want {
			t.Errorf("header of %q: %q", given, got)
		}
	}
}

func mapRules() []rule {
	full := jwtWith(`"claims_namespace":"ignored","claims_map":{"x-hasura-allowed-roles":{"path":"$.app.roles"},"X-Hasura-Default-Role":{"path":"$.app.roles[0]","default":"guest"},` +
		`"x-hasura-user-id":{"path":"$.sub"},"x-hasura-team":{"path":"$.team","default":"none"},"x-hasura-source-account-id":"acme"}`)
	return []rule{
		{"claims_map", "takes claims by path, default and literal, whatever the namespace says", func(t *testing.T) {
			id := accepted(t, rig(t, full, Options{}), bearer(hs(`"app":{"roles":["user","me"]},"sub":"`+alice+`"`)))
			want := map[string]string{"x-hasura-role": "user", "x-hasura-user-id": alice, "x-hasura-team": "none", "x-hasura-source-account-id": "acme"}
			if !maps.Equal(id.Vars, want) || id.UserID.String() != alice || id.Tenant != "acme" {
				t.Errorf("%+v", id)
			}
			id = accepted(t, rig(t, full, Options{}), bearer(hs(`"app":{"roles":["user"]},"sub":"`+alice+`","team":"blue",`+within(`"x-hasura-team":"red"`))))
			if id.Vars["x-hasura-team"] != "blue" {
				t.Errorf("%+v", id)
			}
		}},
		{"claims_map", "a default stands in for what is absent, not for what is wrong", judge(full,
			claimCase{claims: `"app":{"roles":["user"]},"sub":"a","team":5`, err: "jwt-invalid-claims: x-hasura-* claims: parsing Text failed, expected String, but encountered Number"},
			claimCase{claims: `"app":{"roles":["user"]},"sub":"a","team":null`, err: "jwt-invalid-claims: x-hasura-* claims: parsing Text failed, expected String, but encountered Null"},
			claimCase{claims: `"app":{"roles":"user"},"sub":"a"`, err: rolesBad + "[] failed, expected Array, but encountered String"},
			claimCase{claims: `"app":{"roles":[]},"sub":"a"`, err: badRole},
			claimCase{claims: `"app":{"roles":[]},"sub":"a"`, asked: "guest", err: badRole},
		)},
		{"claims_map", "without a default, what is absent is an error", judge(full,
			claimCase{claims: `"sub":"a"`, err: "jwt-missing-role-claims: JWT claim does not contain x-hasura-allowed-roles"},
			claimCase{claims: `"app":{"roles":["user"]}`, err: "jwt-invalid-claims: JWT claim from claims_map, x-hasura-user-id not found"},
		)},
		{"claims_map", "a default role by path and without default is required", judge(
			jwtWith(`"claims_map":{"x-hasura-allowed-roles":["user"],"x-hasura-default-role":{"path":"$.r"}}`),
			claimCase{claims: `"a":1`, err: "jwt-missing-role-claims: JWT claim does not contain x-hasura-default-role"},
			claimCase{claims: `"r":"user"`, role: "user"},
			claimCase{claims: `"r":"admin"`, err: badRole},
		)},
		{"claims_map", "may be literals alone", judge(mapWith(`"x-hasura-a":"1"`), claimCase{claims: `"a":1`, role: "user"})},
		{"key", "mints tokens that the same configuration accepts", mints},
		{"key", "that is published is known as such", func(t *testing.T) {
			for cfg, want := range map[string]bool{DevSecret: true, "{" + hs256 + "}": false, strings.Replace(DevSecret, "}", `,"issuer":"x"}`, 1): true, `{"jwk_url":"https://keys.example"}`: false} {
				if c, err := ParseJWTConfig(cfg); err != nil || c.IsDevKey() != want {
					t.Errorf("%s: %v", cfg, err)
				}
			}
			if (JWTConfig{}).IsDevKey() {
				t.Error("no key is the published one")
			}
		}},
	}
}

func mints(t *testing.T) {
	user := uuid.MustParse(alice)
	for _, options := range []string{`"issuer":"i","audience":["a","b"]`, `"claims_namespace":"n"`, `"claims_namespace_path":"$"`, `"claims_namespace_path":"$.a.b"`, `"claims_namespace_path":"$['a b']"`,
		`"claims_format":"stringified_json"`, `"claims_format":"stringified_json","claims_namespace_path":"$.a"`,
		`"claims_map":{"x-hasura-allowed-roles":{"path":"$.r"},"x-hasura-default-role":"user","x-hasura-user-id":{"path":"$.u.id"},"x-hasura-source-account-id":{"path":"$.t"}}`,
		`"claims_map":{"x-hasura-allowed-roles":{"path":"$.r"},"x-hasura-default-role":"user","x-hasura-user-id":{"path":"$.u.id"},"x-hasura-source-account-id":{"path":"$.t"},
		 "x-hasura-org-id":{"path":"$.u.org"},"x-hasura-own-id":{"path":"$.u.id"},"x-hasura-team":{"path":"$.teams[0]","default":"x"}}`} {
		c, err := ParseJWTConfig(jwtWith(options))
		if err != nil {
			t.Fatal(err)
		}
		token, err := Mint(c, Claims{User: user, Role: "user", Tenant: "acme", TTL: time.Minute, TokenID: "t1", Now: noon})
		if err != nil {
			t.Errorf("%s: %v", options, err)
			continue
		}
		id := accepted(t, rig(t, jwtWith(options), Options{}), bearer(token))
		if id.UserID != user || id.Role != "user" || id.Tenant != "acme" || id.TokenID != "t1" || !id.IssuedAt.Equal(noon) || !id.ExpiresAt.Equal(noon.Add(time.Minute)) {
			t.Errorf("%s: %+v", options, id)
		}
	}
	for cfg, want := range map[string]string{
		`{"jwk_url":"https://keys.example"}`:                                                  "HMAC key",
		config("RS256", keyText("RS256")):                                                     "HMAC key",
		jwtWith(`"claims_namespace_path":"$.a[0]"`):                                           "cannot be filled",
		jwtWith(`"claims_namespace_path":"$.sub.x"`):                                          "cannot be filled",
		mapWith(`"x-hasura-a":"1"`):                                                           "from elsewhere",
		mapWith(`"x-hasura-user-id":"` + bob + `"`):                                           "from elsewhere",
		mapWith(`"x-hasura-user-id":{"path":"$.sub.x"}`):                                      "cannot be filled",
		mapWith(`"x-hasura-user-id":{"path":"$.sub"},"x-hasura-org-id":{"path":"$.orgs[0]"}`): "the place of x-hasura-org-id cannot be filled",
	} {
		c, err := ParseJWTConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := Mint(c, Claims{User: user, Role: "user", TTL: time.Minute}); err == nil || !strings.Contains(err.Error(), want) || token != "" {
			t.Errorf("%.90s: %v", cfg, err)
		}
	}
	c, _ := ParseJWTConfig("{" + hs256 + "}")
	token, err := Mint(c, Claims{User: user, Role: "user"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := New(Options{JWT: &c}).Token(t.Context(), token, "")
	if err != nil || !id.ExpiresAt.IsZero() || id.TokenID == "" || id.IssuedAt.IsZero() {
		t.Errorf("%+v %v", id, err)
	}
}
