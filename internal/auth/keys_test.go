package auth

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func judgesKeys(t *testing.T) {
	k := testKeys()
	set := jwks(jwk(k.rsa, "kid", "rs"), jwk(k.otherRSA, "kid", "rs256", "alg", "RS256", "use", "sig"), jwk(k.ec["ES256"], "kid", "es256"), jwk(k.ec["ES384"], "kid", "es384", "alg", "ES384"),
		jwk(k.ec["ES512"], "kid", "es512"), jwk(k.ed, "kid", "ed", "alg", "EdDSA"), `{"kty":"oct","kid":"oct","k":"`+b64(secret)+`","alg":"HS256"}`)
	keys, err := parseKeys([]byte(set))
	if err != nil || len(keys) != 6 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	a := rig(t, `{"jwk_url":"https://keys.example"}`, Options{})
	a.keys.keys, a.keys.loaded, a.keys.asked = keys, true, time.Now() // no fetch is due: nobody runs it
	may := map[string][]string{"rs": {"RS256", "RS384", "RS512"}, "rs256": {"RS256"}, "es256": {"ES256"}, "es384": {"ES384"}, "es512": {"ES512"}, "ed": {"EdDSA"}, "oct": nil, "nobody": nil}
	for kid, algs := range may {
		for _, alg := range types() {
			key := private(alg)
			if kid == "rs256" && strings.HasPrefix(alg, "RS") {
				key = k.otherRSA
			}
			h := bearer(sign(alg, `{"alg":"`+alg+`","kid":"`+kid+`"}`, "{"+session+"}", key))
			if slices.Contains(algs, alg) {
				accepted(t, a, h)
			} else {
				refused(t, a, h, forged)
			}
		}
	}
	for _, kid := range []string{"rs", "es256", "ed"} { // confusion: what is published, as a secret
		for _, key := range []string{publicPEM(k.rsa), set} {
			refused(t, a, bearer(sign("HS256", `{"alg":"HS256","kid":"`+kid+`"}`, "{"+session+"}", []byte(key))), forged)
		}
	}
}

func keysWithoutID(t *testing.T) {
	k := testKeys()
	e := &endpoint{}
	e.set(jwks(jwk(k.otherRSA, "kid", "a"), jwk(k.rsa, "kid", "b")))
	a := serve(t, e, nil)
	accepted(t, a, bearer(rs("", k.rsa)))
	accepted(t, a, bearer(rs("", k.otherRSA)))
	accepted(t, a, bearer(rs("b", k.rsa)))
	refused(t, a, bearer(rs("a", k.rsa)), forged)
	bare := &endpoint{}
	bare.set(jwks(jwk(k.rsa)))
	b := serve(t, bare, nil)
	accepted(t, b, bearer(rs("anything", k.rsa)))
	refused(t, b, bearer(rs("anything", k.otherRSA)), forged)
	if n := len(bare.since()); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func leavesOut(t *testing.T) {
	k := testKeys()
	good := jwk(k.rsa, "kid", "good")
	for _, bad := range []string{
		jwk(k.weakRSA), jwk(k.rsa, "use", "enc"), jwk(k.rsa, "alg", "PS256"), jwk(k.rsa, "alg", "HS256"), jwk(k.rsa, "alg", "none"), jwk(k.ec["ES256"], "alg", "ES384"), jwk(k.rsa, "kty", "XX"),
		`{"kty":"oct","k":"` + b64(secret) + `"}`, `{"kty":"OKP","crv":"X25519","x":"` + b64(strings.Repeat("x", 32)) + `"}`, `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`, `{"kty":"RSA","n":5}`, `5`, `null`, `{}`,
	} {
		keys, err := parseKeys([]byte(jwks(bad, good)))
		if err != nil || len(keys) != 1 || keys[0].id != "good" {
			t.Errorf("%.80s: %d keys, %v", bad, len(keys), err)
		}
		if _, err := parseKeys([]byte(jwks(bad))); err == nil {
			t.Errorf("%.80s: a set of nothing is taken", bad)
		}
	}
}
