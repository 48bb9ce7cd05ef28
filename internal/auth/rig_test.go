package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	secret = "a-secret-of-sixty-four-bytes-or-more-for-the-tests-of-this-package"
	alice  = "00000000-0000-4000-8000-000000000001"
	bob    = "00000000-0000-4000-8000-000000000002"

	hs256 = `"type":"HS256","key":"` + secret + `"`
	// session is the claim that makes a token one of alice.
	session = `"https://hasura.io/jwt/claims":{"x-hasura-allowed-roles":["user","me","guest","admin"],"x-hasura-default-role":"user","x-hasura-user-id":"` + alice + `"}`
)

// noon is when the tests happen.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// keyring holds one key pair of each kind, made once for the process.
type keyring struct {
	rsa, otherRSA, weakRSA *rsa.PrivateKey
	ec                     map[string]*ecdsa.PrivateKey // by alg
	ed                     ed25519.PrivateKey
}

var testKeys = sync.OnceValue(func() keyring {
	k := keyring{ec: map[string]*ecdsa.PrivateKey{}}
	newRSA := func(bits int) *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, bits)) }
	k.rsa, k.otherRSA, k.weakRSA = newRSA(2048), newRSA(2048), newRSA(1024)
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		k.ec[alg] = must(ecdsa.GenerateKey(curve, rand.Reader))
	}
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// private is the key that signs for an alg.
func private(alg string) any {
	switch k := testKeys(); {
	case strings.HasPrefix(alg, "HS"):
		return []byte(secret)
	case strings.HasPrefix(alg, "RS"):
		return k.rsa
	case alg == "EdDSA":
		return k.ed
	default:
		return k.ec[alg]
	}
}

func publicPEM(key any) string {
	if s, ok := key.(crypto.Signer); ok {
		key = s.Public()
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))}))
}

func certificatePEM(key crypto.Signer) string {
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: noon.AddDate(-10, 0, 0)}
	der := must(x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// config is the JSON of a configuration with this type and key, and more.
func config(typ, key string, more ...string) string {
	return fmt.Sprintf(`{"type":%q,"key":%s%s}`, typ, must(json.Marshal(key)), strings.Join(append([]string{""}, more...), ","))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign makes a token of exactly these texts: the standard library would mend
// what the tests want broken.
func sign(alg, header, payload string, key any) string {
	text := b64(header) + "." + b64(payload)
	sig := must(jwt.GetSigningMethod(alg).Sign(text, key))
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// hs signs claims (members of the object) by HS256 with the secret of the tests.
func hs(claims ...string) string {
	return sign("HS256", `{"alg":"HS256","typ":"JWT"}`, "{"+strings.Join(claims, ",")+"}", []byte(secret))
}

// rig is an authenticator at noon.
func rig(t *testing.T, cfg string, o Options) *Authenticator {
	t.Helper()
	if cfg != "" {
		c, err := ParseJWTConfig(cfg)
		if err != nil {
			t.Fatalf("%s: %v", cfg, err)
		}
		o.JWT = &c
	}
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	return New(o)
}

func bearer(token string, more ...string) http.Header {
	return header(append([]string{"Authorization", "Bearer " + token}, more...)...)
}

// header makes headers of names and values in turn.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// accepted fails t unless a lets h in.
func accepted(t *testing.T, a *Authenticator, h http.Header) Identity {
	t.Helper()
	id, err := a.Authenticate(t.Context(), h)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return id
}

// refused fails t unless a refuses h with exactly this code and text, and says
// of nobody that it was.
func refused(t *testing.T, a *Authenticator, h http.Header, want string) {
	t.Helper()
	id, err := a.Authenticate(t.Context(), h)
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if id.Role != "" || id.Via != "" || id.Vars != nil {
		t.Errorf("an identity beside the error: %+v", id)
	}
}

const (
	expired   = "invalid-jwt: Could not verify JWT: JWTExpired"
	forged    = "invalid-jwt: Could not verify JWT: JWSError JWSInvalidSignature"
	unpacked  = "invalid-jwt: Could not verify JWT: JWSError CompactDecodeError"
	unread    = "invalid-jwt: Could not verify JWT: JWTClaimsSetDecodeError"
	notIssuer = "invalid-jwt: Could not verify JWT: JWTNotInIssuer"
	notAud    = "invalid-jwt: Could not verify JWT: JWTNotInAudience"
	notYet    = "invalid-jwt: Could not verify JWT: JWTNotYetValid"
	fromAhead = "invalid-jwt: Could not verify JWT: JWTIssuedAtFuture"
	badRole   = "access-denied: Your requested role is not in allowed roles"
	noToken   = "invalid-headers: Missing 'Authorization' or 'Cookie' header in JWT authentication mode"
	badBearer = "invalid-headers: Malformed Authorization header"
)
