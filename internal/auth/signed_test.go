package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
)

// verified proves a token with nothing of what the server proves it with.
func verified(alg, text string) bool {
	part := strings.Split(text, ".")
	if len(part) != 3 {
		return false
	}
	var raw [3][]byte
	for i := range part {
		b, err := base64.RawURLEncoding.DecodeString(part[i])
		if err != nil || base64.RawURLEncoding.EncodeToString(b) != part[i] {
			return false
		}
		raw[i] = b
	}
	var h struct{ Alg string }
	if json.Unmarshal(raw[0], &h) != nil || h.Alg != alg {
		return false
	}
	signed, k := part[0]+"."+part[1], testKeys()
	sum, sig := sha256.Sum256([]byte(signed)), raw[2]
	switch alg {
	case "HS256":
		m := hmac.New(sha256.New, []byte(secret))
		m.Write([]byte(signed))
		return hmac.Equal(m.Sum(nil), sig)
	case "RS256":
		return rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, sum[:], sig) == nil
	case "ES256":
		return len(sig) == 64 && ecdsa.Verify(&k.ec[alg].PublicKey, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	return ed25519.Verify(k.ed.Public().(ed25519.PublicKey), []byte(signed), sig)
}

// FuzzSigned signs whatever header and payload with whatever key, the public one as
// a secret too, and spoils what comes out: what is let in is signed by the key of
// the configuration, in its algorithm, as another implementation finds.
func FuzzSigned(f *testing.F) {
	algs := []string{"HS256", "RS256", "ES256", "EdDSA"}
	var rigs []*Authenticator
	for _, alg := range algs {
		cfg := "{" + hs256 + "}"
		if key, ok := private(alg).(crypto.Signer); ok {
			typ := alg
			if alg == "EdDSA" {
				typ = "Ed25519"
			}
			cfg = config(typ, publicPEM(key))
		}
		rigs = append(rigs, fuzzRig(f, cfg))
	}
	for i, alg := range algs {
		for by := range byte(len(algs) + 1) {
			f.Add(byte(i), by, `{"alg":"`+alg+`"}`, "{"+session+"}", 0, byte(0), "")
		}
		f.Add(byte(i), byte(i), `{"alg":"none"}`, "{"+session+"}", 70, byte(1), ".")
		f.Add(byte(i), byte(i), `{"alg":"`+strings.ToLower(alg)+`","crit":["b64"],"b64":false}`, "{"+session+"}", 0, byte(0), "\n")
	}
	f.Fuzz(func(t *testing.T, to, by byte, header, payload string, at int, spoil byte, tail string) {
		if len(header)+len(payload)+len(tail) > 10_000 {
			return
		}
		i := int(to) % len(algs)
		var text string
		if n := int(by) % (len(algs) + 1); n < len(algs) {
			text = sign(algs[n], header, payload, private(algs[n]))
		} else if key, ok := private(algs[i]).(crypto.Signer); ok {
			text = sign("HS256", header, payload, []byte(publicPEM(key)))
		} else {
			text = sign("HS256", header, payload, []byte(alice))
		}
		b := []byte(text + tail)
		b[max(0, at)%len(b)] ^= spoil
		id, err := rigs[i].Token(t.Context(), string(b), "")
		judged(t, id, err)
		if err == nil && !verified(algs[i], string(b)) {
			t.Fatalf("%s: let in with %q", algs[i], b)
		}
	})
}

// FuzzSession: whatever headers and session variables come, nobody is somebody
// without a secret, and with it nobody but whom they say. (That an action's
// variables came beside the secret was seen before.)
func FuzzSession(f *testing.F) {
	f.Add(true, "user", alice, "x-hasura-tenant-id", "acme")
	f.Add(true, "admin", "", "X-Hasura-Admin-Secret", "x")
	f.Add(false, "user", alice, "x-nchat-webhook-secret", "")
	f.Add(true, "user", strings.ToUpper(alice), "X-HASURA-Role", "admin")
	f.Add(true, "guest", "{"+alice+"}", "X-Hasura-User-Id", bob)
	const shared = "the secret shared in this test"
	a := New(Options{WebhookSecret: shared, AdminSecret: "the admin's", Now: func() time.Time { return noon }})
	f.Fuzz(func(t *testing.T, trusted bool, role, user, name, value string) {
		vars := map[string]string{"x-hasura-role": role, "x-hasura-user-id": user, name: value}
		h := http.Header{}
		if trusted {
			h.Set("X-Nchat-Webhook-Secret", shared)
		}
		id, err := a.Session(t.Context(), h, vars)
		judged(t, id, err)
		for k, v := range vars {
			h.Add(k, v)
		}
		over, oerr := a.Authenticate(t.Context(), h)
		judged(t, over, oerr)
		asAdmin := strings.EqualFold(name, headerAdmin) || strings.EqualFold(name, headerAdminOld)
		bears := trusted || strings.EqualFold(name, headerSecret) && value == shared || asAdmin && value == "the admin's"
		if oerr == nil && !bears {
			t.Fatalf("let in without a secret: %+v", over)
		}
		for _, x := range []Identity{id, over} {
			if x.Role != "" && x.Role != role && !asAdmin && !strings.EqualFold(name, headerRole) {
				t.Fatalf("%q is let in as %q", role, x.Role)
			}
		}
	})
}

// FuzzInit: of whatever connection_init bears few headers are made, and none is
// Hasura's secret.
func FuzzInit(f *testing.F) {
	f.Add(`{"headers":{"Authorization":"Bearer x","x-hasura-role":"user"},"token":"y"}`)
	f.Add(`{"X-NCHAT-webhook-secret":"x","authToken":"Bearer ","Authorization":null}`)
	f.Add(`{"headers":{"a\nb":"c","":"","a":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var payload map[string]any
		if json.Unmarshal([]byte(text), &payload) != nil {
			return
		}
		h, err := InitHeaders(http.Header{"X-Nchat-Webhook-Secret": {"the upgrade's"}}, payload)
		if err != nil {
			judged(t, Identity{}, err)
			return
		}
		total := 0
		for name, values := range h {
			if name != http.CanonicalHeaderKey(name) || len(values) != 1 || strings.ContainsAny(name+values[0], "\r\n\x00") || name == "X-Nchat-Webhook-Secret" {
				t.Fatalf("%q: %q", name, values)
			}
			total += len(name) + len(values[0])
		}
		if len(h) > 2*maxInitHeaders || total > 4*len(text)+100 {
			t.Fatalf("%d headers of %d bytes of %d", len(h), total, len(text))
		}
	})
}
