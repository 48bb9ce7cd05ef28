package auth

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

const (
	badAdmin  = `access-denied: invalid "x-hasura-admin-secret"/"x-hasura-access-key"`
	badShared = `access-denied: invalid "x-nchat-webhook-secret"`
	denied    = "access-denied: access denied"
)

// headerRules are where the token travels.
func headerRules() []rule {
	plain, good := "{"+hs256+"}", hs(session)
	cookie := jwtWith(`"header":{"type":"Cookie","name":"jwt"}`)
	own := jwtWith(`"header":{"type":"customheader","name":"X-Token"}`)
	return []rule{
		{"header", "Authorization is Bearer, so written, and one token", func(t *testing.T) {
			a := rig(t, plain, Options{UnauthorizedRole: "anon"})
			if id := accepted(t, a, bearer(good)); id.FromCookie {
				t.Error("from a cookie")
			}
			accepted(t, a, header("Authorization", "Bearer   "+good+" "))
			for _, v := range []string{"", good, "bearer " + good, "Basic " + good, "Bearer", "Bearer " + good + " x", "Bearer" + good} {
				refused(t, a, header("Authorization", v), badBearer)
			}
			refused(t, a, header("Authorization", "Bearer "+good, "Authorization", "Bearer "+good), badBearer)
		}},
		{"header", "Cookie is the named one, and is remembered as such", func(t *testing.T) {
			a := rig(t, cookie, Options{})
			if id := accepted(t, a, header("Cookie", "a=b; jwt="+good)); !id.FromCookie {
				t.Error("not from a cookie")
			}
			accepted(t, a, header("Cookie", "jwt="+good, "Cookie", "jwt="+good))
			refused(t, a, header("Cookie", "a=b"), noToken)
			refused(t, a, header("Cookie", "JWT="+good), noToken)
			refused(t, a, bearer(good), noToken)
			refused(t, a, header("Cookie", "jwt="), unpacked)
			refused(t, a, header("Cookie", "jwt="+good+"; jwt="+hs(session, `"a":1`)), "invalid-headers: Malformed Cookie header")
			refused(t, a, header("Cookie", "jwt="+good+"; jwt =x y"), "invalid-headers: Malformed Cookie header")
			refused(t, a, header("Cookie", strings.Repeat("a=b;", 5000)+"jwt="+good), "invalid-headers: Malformed Cookie header") // of which net/http reads none
		}},
		{"cookie", "that holds no good token is an error, never nobody", func(t *testing.T) {
			a := rig(t, cookie, Options{UnauthorizedRole: "anon"})
			refused(t, a, header("Cookie", "jwt=x"), unpacked)
			refused(t, a, header("Cookie", "jwt="), unpacked)
			if id := accepted(t, a, header("Cookie", "a=b")); id.Via != ViaAnonymous {
				t.Errorf("%+v", id)
			}
		}},
		{"header", "CustomHeader has the bare token", func(t *testing.T) {
			a := rig(t, own, Options{})
			if id := accepted(t, a, header("x-token", good)); id.FromCookie {
				t.Error("from a cookie")
			}
			refused(t, a, header("x-token", "Bearer "+good), unpacked)
			refused(t, a, header("x-token", ""), unpacked)
			refused(t, a, bearer(good), noToken)
			refused(t, a, header("x-token", good, "x-token", good), "invalid-headers: Malformed X-Token header")
		}},
	}
}

func credentialRules() []rule {
	plain, good := "{"+hs256+"}", hs(session)
	return []rule{
		{"admin-secret", "is tried first, and its x-hasura-* are believed", func(t *testing.T) {
			a := rig(t, plain, Options{AdminSecret: "root", WebhookSecret: "shared", UnauthorizedRole: "anon"})
			for _, name := range []string{"x-hasura-admin-secret", "x-hasura-access-key"} {
				id := accepted(t, a, bearer("rubbish", name, "root", "x-hasura-user-id", alice, "x-nchat-webhook-secret", "rubbish"))
				if !id.Admin || id.Role != "admin" || id.Via != ViaAdminSecret || id.UserID.String() != alice {
					t.Errorf("%+v", id)
				}
				if want := map[string]string{"x-hasura-role": "admin", "x-hasura-user-id": alice}; !maps.Equal(id.Vars, want) {
					t.Errorf("a secret among the variables: %v", id.Vars)
				}
			}
			id := accepted(t, a, header("x-hasura-admin-secret", "root", "x-hasura-role", "user", "x-hasura-user-id", alice))
			if id.Admin || id.Role != "user" || id.UserID.String() != alice {
				t.Errorf("%+v", id)
			}
		}},
		{"admin-secret", "that is wrong is an error, whatever else is there", func(t *testing.T) {
			a := rig(t, plain, Options{AdminSecret: "root", UnauthorizedRole: "anon"})
			for _, wrong := range []string{"", "Root", "root ", "roo", "rootroot", strings.Repeat("root", 9999)} {
				refused(t, a, bearer(good, "x-hasura-admin-secret", wrong), badAdmin)
				refused(t, a, bearer(good, "x-hasura-access-key", wrong), badAdmin)
			}
			refused(t, a, header("x-hasura-admin-secret", "wrong", "x-hasura-access-key", "root"), badAdmin)
		}},
		{"admin-secret", "cannot be right where none is configured", func(t *testing.T) {
			a := rig(t, plain, Options{UnauthorizedRole: "anon"})
			refused(t, a, bearer(good, "x-hasura-admin-secret", ""), badAdmin)
			refused(t, a, header("x-hasura-admin-secret", "x"), badAdmin)
		}},
		{"admin-secret", "alone, without a JWT configured, is required, or the unauthorized role", func(t *testing.T) {
			const required = "access-denied: x-hasura-admin-secret/x-hasura-access-key required, but not found"
			refused(t, rig(t, "", Options{AdminSecret: "root"}), header(), required)
			refused(t, rig(t, "", Options{AdminSecret: "root"}), bearer(good), required)
			refused(t, rig(t, "", Options{}), header("x-hasura-role", "admin"), required)
			if id := accepted(t, rig(t, "", Options{AdminSecret: "root", UnauthorizedRole: "anon"}), bearer(good)); id.Role != "anon" || id.Via != ViaAnonymous {
				t.Errorf("%+v", id)
			}
			if _, err := rig(t, "", Options{}).Token(t.Context(), good, ""); err == nil || err.Error() != "invalid-headers: no JWT is configured" {
				t.Error(err)
			}
		}},
		{"jwt", "missing is an error where there is no unauthorized role", func(t *testing.T) {
			refused(t, rig(t, plain, Options{}), header("x-hasura-role", "user", "x-hasura-user-id", alice), noToken)
		}},
		{"jwt", "that is wrong never falls back to the unauthorized role", func(t *testing.T) {
			a := rig(t, plain, Options{UnauthorizedRole: "anon"})
			refused(t, a, bearer(hs(session, `"exp":1`)), expired)
			refused(t, a, bearer("x.y.z"), unpacked)
			refused(t, a, bearer(good, "x-hasura-role", "anon"), badRole)
		}},
		{"jwt", "the role admin makes an admin, as in Hasura", func(t *testing.T) {
			if id := accepted(t, rig(t, plain, Options{}), bearer(good, "x-hasura-role", "admin")); !id.Admin {
				t.Errorf("%+v", id)
			}
		}},
		{"anonymous", "believes nothing the client says of itself", func(t *testing.T) {
			for _, role := range []string{"anon", "user", "admin"} {
				a := rig(t, plain, Options{UnauthorizedRole: role, AdminSecret: "root", WebhookSecret: "s"})
				id := accepted(t, a, header("x-hasura-user-id", alice, "x-hasura-role", "admin", "x-hasura-source-account-id", "acme", "x-hasura-team", "a"))
				if id.Via != ViaAnonymous || id.Role != role || id.UserID != uuid.Nil || id.Admin || id.Tenant != DefaultTenant || len(id.Vars) != 1 {
					t.Errorf("%+v", id)
				}
			}
		}},
		{"anonymous", "a context without identity is nobody, with one it is that", func(t *testing.T) {
			if id := From(t.Context()); id.UserID != uuid.Nil || id.Role != "" || id.Admin || id.Via != "" {
				t.Errorf("%+v", id)
			}
			if id := From(With(t.Context(), Identity{Role: "user"})); id.Role != "user" {
				t.Errorf("%+v", id)
			}
		}},
	}
}

func hasuraRules() []rule {
	plain, good := "{"+hs256+"}", hs(session)
	hasura := func(more ...string) http.Header {
		return header(append([]string{"x-nchat-webhook-secret", "shared"}, more...)...)
	}
	with := Options{WebhookSecret: "shared", UnauthorizedRole: "anon"}
	return []rule{
		{"hasura", "beside the shared secret x-hasura-* are believed", func(t *testing.T) {
			id := accepted(t, rig(t, plain, with), hasura("x-hasura-role", "user", "x-hasura-user-id", alice, "x-hasura-source-account-id", "acme"))
			if id.Via != ViaHasura || id.UserID.String() != alice || id.Tenant != "acme" || id.Admin || id.FromCookie {
				t.Errorf("%+v", id)
			}
			if id := accepted(t, rig(t, plain, with), hasura("x-hasura-role", "admin")); !id.Admin {
				t.Errorf("%+v", id)
			}
			refused(t, rig(t, plain, with), hasura("x-hasura-user-id", alice), "invalid-headers: x-hasura-role is missing")
		}},
		{"hasura", "what somebody without credentials claims through it makes no user", func(t *testing.T) {
			for _, unauthorized := range []string{"anon", "user"} { // even where that is a user role
				a := rig(t, plain, Options{WebhookSecret: "shared", UnauthorizedRole: unauthorized})
				if id := accepted(t, a, hasura("x-hasura-role", unauthorized, "x-hasura-user-id", alice)); id.UserID != uuid.Nil {
					t.Errorf("%s: %+v", unauthorized, id)
				}
			}
		}},
		{"hasura", "a wrong shared secret is refused, also where none is configured", func(t *testing.T) {
			for _, o := range []Options{with, {UnauthorizedRole: "anon"}} {
				for _, wrong := range []string{"", "Shared", "shared ", "share"} {
					refused(t, rig(t, plain, o), bearer(good, "x-nchat-webhook-secret", wrong, "x-hasura-role", "user", "x-hasura-user-id", alice), badShared)
				}
			}
			refused(t, rig(t, plain, with), header("x-nchat-webhook-secret", "shared", "x-nchat-webhook-secret", "shared", "x-hasura-role", "user"), badShared)
		}},
		{"hasura", "without the shared secret x-hasura-* are nothing", func(t *testing.T) {
			if id := accepted(t, rig(t, plain, with), header("x-hasura-role", "user", "x-hasura-user-id", alice)); id.Via != ViaAnonymous || id.UserID != uuid.Nil {
				t.Errorf("%+v", id)
			}
		}},
		{"hasura", "a token beside the secret is good and of the same user and tenant", func(t *testing.T) {
			a := rig(t, plain, with)
			says := func(id, token string, more ...string) http.Header {
				return hasura(append([]string{"x-hasura-role", "user", "x-hasura-user-id", id, "Authorization", "Bearer " + token}, more...)...)
			}
			if id := accepted(t, a, says(alice, good)); id.Via != ViaHasura || id.UserID.String() != alice {
				t.Errorf("%+v", id)
			}
			refused(t, a, says(bob, good), denied)
			refused(t, a, says("", good), denied)
			refused(t, a, says(alice, good, "x-hasura-source-account-id", "acme"), denied)
			refused(t, a, says(alice, hs(session, `"exp":1`)), expired)
			refused(t, a, says(alice, "x"), unpacked)
			refused(t, a, hasura("x-hasura-role", "user", "Authorization", "Basic x"), badBearer)
			accepted(t, rig(t, "", with), says(alice, "of somebody else's"))
		}},
		{"hasura", "a variable given twice is refused", func(t *testing.T) {
			refused(t, rig(t, plain, with), hasura("x-hasura-role", "user", "x-hasura-user-id", alice, "x-hasura-user-id", bob), "invalid-headers: x-hasura-user-id is given twice")
			two := hasura("x-hasura-role", "user", "x-hasura-user-id", alice)
			two["x-hasura-user-id"] = []string{bob}
			refused(t, rig(t, plain, with), two, "invalid-headers: x-hasura-user-id is given twice")
		}},
		{"hasura", "TrustsHasura is for webhooks: one right secret, and false without one", func(t *testing.T) {
			a := rig(t, plain, with)
			if !a.TrustsHasura(hasura()) || a.TrustsHasura(header()) || a.TrustsHasura(header("x-nchat-webhook-secret", "Shared")) ||
				a.TrustsHasura(header("x-nchat-webhook-secret", "shared", "x-nchat-webhook-secret", "x")) {
				t.Error("trusts wrongly")
			}
			if none := rig(t, plain, Options{}); none.TrustsHasura(header("x-nchat-webhook-secret", "")) || none.TrustsHasura(header()) {
				t.Error("trusts without a secret")
			}
		}},
	}
}

// initRules are how a socket's headers come about.
func initRules() []rule {
	type m = map[string]any
	upgrade := header("Authorization", "Bearer up", "Cookie", "a=b", "x-nchat-webhook-secret", "shared", "x-hasura-role", "guest")
	return []rule{
		{"socket", "the payload's headers count before the upgrade's", func(t *testing.T) {
			for _, c := range []struct {
				payload m
				name    string
				want    string
			}{
				{nil, "Authorization", "Bearer up"}, {m{}, "Cookie", "a=b"}, {m{"headers": nil}, "Authorization", "Bearer up"},
				{m{"headers": m{"authorization": "Bearer in"}}, "Authorization", "Bearer in"},
				{m{"headers": m{"X-HASURA-ROLE": "user"}}, "X-Hasura-Role", "user"},
				{m{"headers": m{"x": "y"}}, "Cookie", "a=b"},
				{m{"Authorization": "Bearer in"}, "Authorization", "Bearer in"}, {m{"AUTHORIZATION": "Bearer in"}, "Authorization", "Bearer in"},
				{m{"authToken": "in"}, "Authorization", "Bearer in"}, {m{"token": "in"}, "Authorization", "Bearer in"}, {m{"token": "Bearer in"}, "Authorization", "Bearer in"},
				{m{"x-hasura-role": "user"}, "X-Hasura-Role", "user"},
				{m{"headers": m{"Authorization": "Bearer in"}, "Authorization": "Bearer no", "authToken": "no", "token": "no"}, "Authorization", "Bearer in"},
				{m{"Authorization": "Bearer in", "authToken": "no", "token": "no"}, "Authorization", "Bearer in"},
				{m{"authToken": "in", "token": "no"}, "Authorization", "Bearer in"},
				{m{"token": nil, "authToken": nil, "Authorization": nil}, "Authorization", "Bearer up"},
				{m{"device": m{"id": "x"}, "presence": false}, "Authorization", "Bearer up"},
			} {
				for range 8 { // maps have no order: the outcome must
					h, err := InitHeaders(upgrade, c.payload)
					if err != nil || h.Get(c.name) != c.want || len(h.Values(c.name)) != 1 {
						t.Errorf("%v: %v %v", c.payload, h, err)
					}
				}
			}
		}},
		{"socket", "what is no header of text is refused", func(t *testing.T) {
			many := m{}
			for i := range 65 {
				many["x"+strings.Repeat("y", i)] = "z"
			}
			for _, payload := range []m{
				{"headers": "x"}, {"headers": []any{}}, {"headers": m{"a": 5}}, {"headers": m{"a": nil}}, {"headers": m{"a": m{}}}, {"headers": m{"a": []any{"b"}}}, {"headers": m{"a b": "c"}}, {"headers": m{"": "c"}},
				{"headers": m{"a\r\nb": "c"}}, {"headers": m{"a": "b\r\nc: d"}}, {"headers": m{"a": "b\x00"}}, {"headers": m{"authorization": "a", "Authorization": "b"}}, {"headers": many},
				{"headers": m{"a": strings.Repeat("x", 17<<10)}}, {"headers": m{strings.Repeat("x", 300): "a"}},
				{"Authorization": 5}, {"token": true}, {"authToken": m{}}, {"token": "a\nb"}, {"x-hasura-role": 1}, {"authorization": "a", "Authorization": "b"},
			} {
				h, err := InitHeaders(upgrade, payload)
				if err == nil || h != nil || err.Error() != "invalid-headers: connection_init: headers must be an object of strings" {
					t.Errorf("%.80v: %v", payload, err)
				}
			}
		}},
		{"socket", "Hasura's shared secret counts neither in payload nor upgrade", func(t *testing.T) {
			h, err := InitHeaders(upgrade, m{"headers": m{"X-Nchat-Webhook-Secret": "shared", "x-hasura-user-id": alice}})
			if err != nil || len(h.Values("x-nchat-webhook-secret")) > 0 || upgrade.Get("x-nchat-webhook-secret") == "" {
				t.Errorf("%v %v", h, err)
			}
			if h, err := InitHeaders(nil, nil); err != nil || h == nil || len(h) > 0 {
				t.Errorf("%v %v", h, err)
			}
		}},
		{"socket", "the upgrade's headers are not changed", func(t *testing.T) {
			before := upgrade.Clone()
			if _, err := InitHeaders(upgrade, m{"headers": m{"Authorization": "Bearer in"}}); err != nil || !maps.EqualFunc(before, upgrade, func(a, b []string) bool { return strings.Join(a, "|") == strings.Join(b, "|") }) {
				t.Errorf("%v %v", upgrade, err)
			}
		}},
	}
}

// secretRules: nothing secret in an error or a log.
func secretRules() []rule {
	const mark = "SENTINEL"
	return []rule{
		{"secrecy", "no token, claim value or secret is in an error", func(t *testing.T) {
			a := rig(t, jwtWith(`"issuer":"i"`), Options{AdminSecret: mark, WebhookSecret: mark})
			m := func(claims string) http.Header { return bearer(hs(claims, `"iss":"i"`)) }
			for _, h := range []http.Header{
				bearer(mark), bearer(mark + "." + mark + "." + mark), bearer(hs(`"iss":"` + mark + `"`)), m(`"exp":"` + mark + `"`), m(within(`"x-hasura-allowed-roles":"` + mark + `"`)),
				m(within(`"x-hasura-allowed-roles":["` + mark + `"],"x-hasura-default-role":["` + mark + `"]`)), m(within(roles + `,"x-hasura-a":["` + mark + `"]`)),
				m(within(roles + `,"x-hasura-source-account-id":"` + mark + `\u0000"`)), m(within(`"x-hasura-allowed-roles":["a"],"x-hasura-default-role":"` + mark + `"`)),
				header("Authorization", mark), header("x-hasura-admin-secret", "a"+mark), header("x-nchat-webhook-secret", "a"+mark),
				header("x-nchat-webhook-secret", mark, "x-hasura-role", "a", "x-hasura-user-id", mark, "x-hasura-user-id", mark),
			} {
				id, err := a.Authenticate(t.Context(), h)
				if err == nil || strings.Contains(err.Error(), mark) {
					t.Errorf("%v: %+v %v", h, id, err)
				}
			}
			a = rig(t, jwtWith(`"claims_format":"stringified_json"`), Options{})
			refused(t, a, bearer(hs(`"https://hasura.io/jwt/claims":"`+mark+`"`)), "jwt-invalid-claims: expecting stringified json at: 'claims_namespace https://hasura.io/jwt/claims'")
		}},
		{"secrecy", "no value of the configuration is in its error", func(t *testing.T) {
			for _, cfg := range []string{
				`{"type":"HS256","key":"` + mark + `"}`, `{"type":"RS256","key":"` + mark + `"}`, `{"type":"` + mark + `","key":"x"}`, `{"key":["` + mark + `"]}`, `{"jwk_url":"ftp://` + mark + `"}`,
				`{"jwk_url":"https://user:` + mark + `@%zz"}`, mark, `{"type":"HS256","key":"-----BEGIN PUBLIC KEY-----` + mark + `"}`, jwtWith(`"allowed_skew":123454321`), jwtWith(`"issuer":123454321`),
				mapWith(`"x-hasura-a":{"path":"` + mark + `["}`), jwtWith(`"header":{"type":"` + mark + `"}`),
			} {
				if _, err := ParseJWTConfig(cfg); err == nil || strings.Contains(err.Error(), mark) || strings.Contains(err.Error(), "123454321") {
					t.Errorf("%s: %v", cfg, err)
				}
			}
		}},
		{"secrecy", "the URL of the keys, which may hold a secret, is not logged", func(t *testing.T) {
			var log bytes.Buffer
			s := newKeySet("http://user:"+mark+"@127.0.0.1:1/"+mark+"?k="+mark, nil, slog.New(slog.NewTextHandler(&log, nil)))
			_, err := s.fetch(t.Context())
			if err == nil || strings.Contains(err.Error(), mark) || strings.Contains(hostOf(s.url), mark) {
				t.Error(err)
			}
		}},
	}
}
