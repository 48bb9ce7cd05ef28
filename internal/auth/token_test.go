package auth

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// types pairs Hasura's types with JWS's algorithms.
func types() map[string]string {
	return map[string]string{"HS256": "HS256", "HS384": "HS384", "HS512": "HS512", "RS256": "RS256", "RS384": "RS384", "RS512": "RS512",
		"ES256": "ES256", "ES384": "ES384", "ES512": "ES512", "Ed25519": "EdDSA"}
}

// keyText is the configuration's half of the key that signs for alg.
func keyText(alg string) string {
	if strings.HasPrefix(alg, "HS") {
		return secret
	}
	return publicPEM(private(alg))
}

// algorithmRules has a rule for each type: its own algorithm, and no other.
func algorithmRules() []rule {
	var all []rule
	for typ, alg := range types() {
		all = append(all, rule{typ, "verifies " + alg + " and nothing else", func(t *testing.T) {
			a := rig(t, config(typ, keyText(alg)), Options{})
			for _, other := range types() {
				token := sign(other, `{"alg":"`+other+`"}`, "{"+session+"}", private(other))
				if other == alg {
					if id := accepted(t, a, bearer(token)); id.UserID.String() != alice || id.Via != ViaJWT {
						t.Errorf("%+v", id)
					}
					continue
				}
				refused(t, a, bearer(token), forged)
			}
		}})
	}
	k := testKeys()
	return append(all,
		rule{"key", "may be a certificate, whose dates do not count", func(t *testing.T) {
			for typ, signer := range map[string]crypto.Signer{"RS256": k.rsa, "ES384": k.ec["ES384"], "Ed25519": k.ed} {
				a := rig(t, config(typ, certificatePEM(signer)), Options{})
				alg := types()[typ]
				accepted(t, a, bearer(sign(alg, `{"alg":"`+alg+`"}`, "{"+session+"}", signer)))
			}
		}},
		rule{"key", "may be a PKCS #1 public key", func(t *testing.T) {
			a := rig(t, config("RS256", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey))), Options{})
			accepted(t, a, bearer(sign("RS256", `{"alg":"RS256"}`, "{"+session+"}", k.rsa)))
		}},
		rule{"key", "that is public is no HMAC secret: algorithm confusion", func(t *testing.T) {
			text := publicPEM(k.rsa)
			a := rig(t, config("RS256", text), Options{})
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				for _, key := range []string{text, strings.TrimSpace(text), string(x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey))} {
					refused(t, a, bearer(sign(alg, `{"alg":"`+alg+`"}`, "{"+session+"}", []byte(key))), forged)
				}
			}
		}},
		rule{"jwt", "alg none, unknown or missing is forged", func(t *testing.T) {
			for _, cfg := range []string{"{" + hs256 + "}", config("RS256", keyText("RS256"))} {
				a := rig(t, cfg, Options{})
				for _, alg := range []string{`{"alg":"none"}`, `{"alg":"None"}`, `{"alg":""}`, `{"alg":"HS1"}`, `{}`, `{"alg":5}`, `{"alg":null}`} {
					unsigned := b64(alg) + "." + b64("{"+session+"}") + "."
					refused(t, a, bearer(unsigned), forged)
					refused(t, a, bearer(unsigned+base64.RawURLEncoding.EncodeToString([]byte("sig"))), forged)
				}
			}
		}},
		rule{"jwt", "signed with another key is forged", func(t *testing.T) {
			a := rig(t, "{"+hs256+"}", Options{})
			refused(t, a, bearer(sign("HS256", `{"alg":"HS256"}`, "{"+session+"}", []byte(secret+"x"))), forged)
			a = rig(t, config("RS256", keyText("RS256")), Options{})
			refused(t, a, bearer(sign("RS256", `{"alg":"RS256"}`, "{"+session+"}", k.otherRSA)), forged)
		}},
		rule{"jwt", "with any byte changed is refused", func(t *testing.T) {
			a := rig(t, "{"+hs256+"}", Options{})
			token := hs(session)
			for i := range len(token) {
				tried := "A_.b"
				if i == len(token)-1 { // base64 has spare bits in its last digit
					tried = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
				}
				for _, c := range []byte(tried) {
					if token[i] == c {
						continue
					}
					if _, err := a.Token(t.Context(), token[:i]+string(c)+token[i+1:], ""); err == nil {
						t.Fatalf("accepted with %c at %d", c, i)
					}
				}
			}
		}},
		rule{"jwt", "a key within the token's own header is nothing", func(t *testing.T) {
			a := rig(t, config("RS256", keyText("RS256")), Options{})
			evil := fmt.Sprintf(`{"alg":"RS256","jwk":{"kty":"RSA","n":%q,"e":"AQAB"},"jku":"https://evil.example","x5u":"https://evil.example"}`,
				base64.RawURLEncoding.EncodeToString(k.otherRSA.N.Bytes()))
			refused(t, a, bearer(sign("RS256", evil, "{"+session+"}", k.otherRSA)), forged)
		}},
	)
}

func tokenRules() []rule {
	at := func(name string, d time.Duration) string { return fmt.Sprintf(`"%s":%d`, name, noon.Add(d).Unix()) }
	// judge proves what becomes of tokens with these claims beside alice's session; "": accepted.
	judge := func(cfg string, cases map[string]string) func(*testing.T) {
		return func(t *testing.T) {
			a := rig(t, cfg, Options{})
			for claims, want := range cases {
				if want == "" {
					accepted(t, a, bearer(hs(claims, session)))
				} else {
					refused(t, a, bearer(hs(claims, session)), want)
				}
			}
		}
	}
	plain, s := "{"+hs256+"}", time.Second
	return []rule{
		{"jwt", "is three parts of strict base64url, no more than 16 KiB", func(t *testing.T) {
			a := rig(t, plain, Options{})
			good := hs(session)
			parts := strings.Split(good, ".")
			for _, bad := range []string{"x", "a.b", good + ".a", "..", parts[0] + "." + parts[1], "." + parts[1] + "." + parts[2], good + "=", parts[0] + "..",
				parts[0] + "=." + parts[1] + "." + parts[2], "e30." + parts[1] + ".!", strings.Replace(good, ".", "\x00.", 1)} {
				if _, err := a.Token(t.Context(), bad, ""); err == nil || err.Error() != unpacked && err.Error() != forged {
					t.Errorf("%.20q: %v", bad, err)
				}
			}
			if _, err := a.Token(t.Context(), "", ""); err == nil || err.Error() != unpacked {
				t.Errorf("empty: %v", err)
			}
			pad := func(n int) string { return hs(session, `"pad":"`+strings.Repeat("x", n)+`"`) }
			accepted(t, a, bearer(pad(11_000)))
			refused(t, a, bearer(pad(16<<10)), "invalid-jwt: Could not verify JWT: JWTTooLarge")
			refused(t, a, bearer(strings.Repeat("a.", 5<<20)), "invalid-jwt: Could not verify JWT: JWTTooLarge")
		}},
		{"jwt", "exp is optional, and the end", judge(plain, map[string]string{
			`"a":1`: "", `"exp":null`: "", at("exp", s): "", at("exp", 0): expired, at("exp", -s): expired, `"exp":0`: expired, `"exp":253402300799`: "",
			`"exp":1772366400.5`: "",
		})},
		{"jwt", "nbf is honoured", judge(plain, map[string]string{at("nbf", 0): "", at("nbf", s): notYet, at("nbf", -s): ""})},
		{"jwt", "iat is not in the future", judge(plain, map[string]string{at("iat", 0): "", at("iat", s): fromAhead, at("iat", -s): ""})},
		{"jwt", "times are numbers of seconds before the year 10000, or nothing is believed", judge(plain, map[string]string{
			`"exp":"1"`: unread, `"exp":1e300`: unread, `"exp":-1`: unread, `"exp":253402300801`: unread, `"exp":[1]`: unread, `"exp":true`: unread,
			`"nbf":"1"`: unread, `"nbf":{}`: unread, `"iat":"1"`: unread, `"iat":1e400`: unread,
		})},
		{"jwt", "jti is a string, or nothing is believed", judge(plain, map[string]string{`"jti":5`: unread, `"jti":["a"]`: unread, `"jti":null`: "", `"jti":"a"`: ""})},
		{"jwt", "tells when it was issued and ends, and which it is", func(t *testing.T) {
			id := accepted(t, rig(t, plain, Options{}), bearer(hs(session, at("iat", -s), at("exp", time.Hour), `"jti":"t1"`)))
			if !id.IssuedAt.Equal(noon.Add(-s)) || !id.ExpiresAt.Equal(noon.Add(time.Hour)) || id.TokenID != "t1" {
				t.Errorf("%+v", id)
			}
		}},
		{"jwt", "without exp leaves ExpiresAt zero: a socket then lasts MaxSocketAge", func(t *testing.T) {
			id := accepted(t, rig(t, plain, Options{}), bearer(hs(session)))
			if !id.ExpiresAt.IsZero() || !id.IssuedAt.IsZero() || MaxSocketAge != time.Hour {
				t.Errorf("%+v", id)
			}
		}},
		{"allowed_skew", "is given to exp, nbf and iat, also in fractions", judge(jwtWith(`"allowed_skew":10.5`), map[string]string{
			at("exp", -10*s): "", at("exp", -11*s): expired, at("nbf", 10*s): "", at("nbf", 11*s): notYet, at("iat", 10*s): "", at("iat", 11*s): fromAhead,
		})},
		{"issuer", "is required where configured, and the same", judge(jwtWith(`"issuer":"me"`), map[string]string{
			`"iss":"me"`: "", `"iss":"you"`: notIssuer, `"a":1`: notIssuer, `"iss":null`: notIssuer, `"iss":["me"]`: notIssuer, `"iss":5`: notIssuer, `"iss":""`: notIssuer,
		})},
		{"issuer", "counts for nothing where not configured", judge(plain, map[string]string{`"iss":"anyone"`: ""})},
		{"audience", "is required where configured: one of the token's is one of ours", judge(jwtWith(`"audience":["a","b"]`), map[string]string{
			`"aud":"a"`: "", `"aud":["x","b"]`: "", `"aud":"x"`: notAud, `"aud":[]`: notAud, `"x":1`: notAud, `"aud":null`: notAud, `"aud":["a",5]`: notAud, `"aud":{"a":1}`: notAud,
		})},
		{"audience", "may be one string", judge(jwtWith(`"audience":"a"`), map[string]string{`"aud":"a"`: "", `"aud":"b"`: notAud})},
		{"jwt", "the first check that fails names the error", judge(jwtWith(`"audience":"a","issuer":"i"`), map[string]string{
			at("exp", -s) + "," + at("nbf", s): expired, at("nbf", s): notYet, `"aud":"x"`: notIssuer,
		})},
		{"jwt", "a key that stands twice, at any depth, is refused", func(t *testing.T) {
			a := rig(t, plain, Options{})
			for _, claims := range []string{`"exp":1,"exp":9999999999,` + session, session + "," + session, session + `,"a":[{"b":1,"b":2}]`, session + `,"exp":1,"ex\u0070":9999999999`} {
				refused(t, a, bearer(hs(claims)), unread)
			}
			refused(t, a, bearer(sign("HS256", `{"alg":"none","alg":"HS256"}`, "{"+session+"}", []byte(secret))), unpacked)
			refused(t, a, bearer(hs(strings.Replace(session, `"x-hasura-user-id":`, `"X-Hasura-User-Id":"`+bob+`","x-hasura-user-id":`, 1))),
				"jwt-invalid-claims: x-hasura-user-id is given twice")
		}},
		{"jwt", "claims are one JSON object of UTF-8, not nested deeply", func(t *testing.T) {
			a := rig(t, plain, Options{})
			for _, payload := range []string{`null`, `[]`, `"x"`, `5`, `{} {}`, `{`, "{\"a\":\"\xff\"}", `{"a":` + nested(40) + `}`, `{` + session + `,"a":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + `}`} {
				token := sign("HS256", `{"alg":"HS256"}`, payload, []byte(secret))
				if _, err := a.Token(t.Context(), token, ""); err == nil || err.Error() != unread && err.Error() != unpacked {
					t.Errorf("%.40q: %v", payload, err)
				}
			}
		}},
		{"jwt", "an extension that is critical is not understood", func(t *testing.T) {
			for _, h := range []string{`{"alg":"HS256","crit":["exp"],"exp":1}`, `{"alg":"HS256","crit":["b64"],"b64":false}`, `{"alg":"HS256","crit":[]}`, `[]`, `null`} {
				refused(t, rig(t, plain, Options{}), bearer(sign("HS256", h, "{"+session+"}", []byte(secret))), unpacked)
			}
		}},
		{"jwt", "that a strict reader accepts stays valid for the library that signs", func(t *testing.T) {
			text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": noon.Add(time.Hour).Unix(),
				defaultNamespace: map[string]any{allowedRoles: []string{"user"}, defaultRole: "user"}}).SignedString([]byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			accepted(t, rig(t, plain, Options{}), bearer(text))
		}},
	}
}
