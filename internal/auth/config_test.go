package auth

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// badConfig proves that configurations are refused for the reason given.
func badConfig(cases map[string]string) func(*testing.T) {
	return func(t *testing.T) {
		for text, want := range cases {
			c, err := ParseJWTConfig(text)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%.120s: error %v, want %q", text, err, want)
			}
			if c.key != nil || c.alg != "" {
				t.Errorf("%.120s: a configuration beside the error", text)
			}
		}
	}
}

// jwtWith adds options to the HMAC configuration of the tests.
func jwtWith(options string) string { return "{" + hs256 + "," + options + "}" }

func configRules() []rule {
	k := testKeys()
	private8 := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(k.rsa))}))
	return []rule{
		{"config", "is one JSON object, no key twice and none nearly known", badConfig(map[string]string{
			``: "JSON object", `[]`: "JSON object", `null`: "JSON object", `"x"`: "JSON object",
			"{" + hs256 + "}{}":                              "JSON object",
			jwtWith(`"audiance":"a"`):                        `unknown key "audiance"`,
			jwtWith(`"Audience":"a"`):                        `unknown key "Audience"`,
			jwtWith(`"issuer":"a","issuer":"b"`):             "stands there twice",
			jwtWith(`"issuers":"a"`):                         `unknown key "issuers": is issuer meant?`,
			jwtWith(`"jwks_url":"https://keys.example"`):     `unknown key "jwks_url"`,
			jwtWith(`"claim_map":{}`):                        `unknown key "claim_map"`,
			jwtWith(`"header":{"type":"Cookie","nome":"x"}`): `name is missing`,
			jwtWith(`"issuer":5`):                            "issuer must not be of type number",
			jwtWith(`"allowed_skew":"5"`):                    "allowed_skew must not be of type string",
			"{" + hs256 + strings.Repeat(`,"x":{"a":`, 40):   "JSON object",
			jwtWith(`"claims_map":` + nested(40)):            "nested too deeply",
		})},
		{"config", "is read past what Hasura reads past", func(t *testing.T) {
			for options, want := range map[string]string{
				`"kid":"k1"`: "kid",
				`"signing_key":"-----BEGIN PRIVATE KEY-----"`:  "signing_key",
				`"kid":"k1","signing_key":"x","comment":[{}]`:  "comment kid signing_key",
				`"header":{"type":"Authorization","more":"x"}`: "",
			} {
				if c, err := ParseJWTConfig(jwtWith(options)); err != nil || strings.Join(c.Ignored(), " ") != want || c.key == nil {
					t.Errorf("%s: %v, ignored %v", options, err, c.Ignored())
				}
			}
		}},
		{"type", "is one of Hasura's, and required with key", badConfig(map[string]string{
			`{"key":"` + secret + `"}`:                       "type must be one of",
			`{"type":"none","key":"` + secret + `"}`:         "type must be one of",
			`{"type":"hs256","key":"` + secret + `"}`:        "type must be one of",
			`{"type":"PS256","key":"` + secret + `"}`:        "type must be one of",
			`{"type":"EdDSA","key":"` + secret + `"}`:        "type must be one of",
			`{"type":"XX","jwk_url":"https://keys.example"}`: "type must be one of",
		})},
		{"type", "may stand beside jwk_url, and says nothing there", func(t *testing.T) {
			c, err := ParseJWTConfig(`{"type":"RS512","jwk_url":"https://keys.example/a"}`)
			if err != nil || c.alg != "" || c.key != nil {
				t.Errorf("%v %v", c, err)
			}
		}},
		{"key", "excludes jwk_url, and one of them is required", badConfig(map[string]string{
			`{"type":"HS256"}`:                          "exactly one of key and jwk_url",
			jwtWith(`"jwk_url":"https://keys.example"`): "exactly one of key and jwk_url",
		})},
		{"key", "of HMAC has at least its hash's bytes and is no PEM", badConfig(map[string]string{
			config("HS256", strings.Repeat("k", 31)): "at least 32 bytes",
			config("HS384", strings.Repeat("k", 47)): "at least 48 bytes",
			config("HS512", strings.Repeat("k", 63)): "at least 64 bytes",
			config("HS256", publicPEM(k.rsa)):        "no secret for HS256",
		})},
		{"key", "is a public key that fits the type", badConfig(map[string]string{
			config("RS256", "no pem"):                              "PEM public key or X.509",
			config("RS256", publicPEM(k.ec["ES256"])):              "no key for RS256",
			config("RS256", publicPEM(k.weakRSA)):                  "2048 bits",
			config("ES256", publicPEM(k.ec["ES384"])):              "no key for ES256",
			config("ES512", publicPEM(k.rsa)):                      "no key for ES512",
			config("Ed25519", publicPEM(k.rsa)):                    "no key for Ed25519",
			config("RS256", private8):                              "private key",
			config("RS256", block("PUBLIC KEY", []byte{1})):        "no valid public key",
			config("RS256", block("CERTIFICATE", []byte{1, 2, 3})): "no valid X.509",
		})},
		{"jwk_url", "is an http or https URL", badConfig(map[string]string{
			`{"jwk_url":"ftp://keys.example"}`: "jwk_url", `{"jwk_url":"/keys"}`: "jwk_url", `{"jwk_url":""}`: "jwk_url",
			`{"jwk_url":"https://"}`: "jwk_url", `{"jwk_url":"https://%zz"}`: "jwk_url",
		})},
		{"audience", "is a string or a list, nothing in it empty", badConfig(map[string]string{
			jwtWith(`"audience":""`): "audience", jwtWith(`"audience":[]`): "audience", jwtWith(`"audience":["a",null]`): "audience",
			jwtWith(`"audience":["a",5]`): "audience", jwtWith(`"audience":{}`): "audience",
		})},
		{"issuer", "is not empty", badConfig(map[string]string{jwtWith(`"issuer":""`): "issuer"})},
		{"allowed_skew", "is seconds, up to a day", badConfig(map[string]string{
			jwtWith(`"allowed_skew":-1`): "allowed_skew", jwtWith(`"allowed_skew":86401`): "allowed_skew", jwtWith(`"allowed_skew":1e300`): "allowed_skew",
		})},
		{"claims_namespace", "excludes claims_namespace_path and is not empty", badConfig(map[string]string{
			jwtWith(`"claims_namespace":"a","claims_namespace_path":"$"`): "exclude", jwtWith(`"claims_namespace":""`): "claims_namespace",
		})},
		{"claims_namespace_path", "is a JSONPath to one place", badConfig(map[string]string{
			jwtWith(`"claims_namespace_path":""`):               "JSONPath",
			jwtWith(`"claims_namespace_path":"a.b"`):            "JSONPath",
			jwtWith(`"claims_namespace_path":"$.a["`):           "JSONPath",
			jwtWith(`"claims_namespace_path":"$..a"`):           "JSONPath",
			jwtWith(`"claims_namespace_path":"$.*"`):            "JSONPath",
			jwtWith(`"claims_namespace_path":"$.a[-1]"`):        "JSONPath",
			jwtWith(`"claims_namespace_path":"$.a[0,1]"`):       "JSONPath",
			jwtWith(`"claims_namespace_path":"$.a[?(@.b==1)]"`): "JSONPath",
		})},
		{"claims_format", "is json or stringified_json", badConfig(map[string]string{jwtWith(`"claims_format":"xml"`): "claims_format"})},
		{"claims_map", "is checked at the start", badConfig(map[string]string{
			jwtWith(`"claims_map":[]`):                                  "claims_map",
			jwtWith(`"claims_map":{}`):                                  "claims_map must contain x-hasura-allowed-roles",
			jwtWith(`"claims_map":{"x-hasura-allowed-roles":["user"]}`): "claims_map must contain x-hasura-default-role",
			mapWith(`"user":"a"`):                                       "does not begin with x-hasura-",
			mapWith(`"x-hasura-a":"1","X-Hasura-A":"2"`):                "twice",
			mapWith(`"x-hasura-a":5`):                                   "must be a string",
			mapWith(`"x-hasura-a":null`):                                "must be a string",
			mapWith(`"x-hasura-a":{"default":"a"}`):                     "{path, default}",
			mapWith(`"x-hasura-a":{"path":"$..a"}`):                     "no JSONPath",
			mapWith(`"x-hasura-a":{"path":"$.a","defalt":"a"}`):         "{path, default}",
			mapWith(`"x-hasura-a":{"path":"$.a","default":5}`):          "must be a string",
			jwtWith(`"claims_map":{"x-hasura-allowed-roles":"user","x-hasura-default-role":"user"}`):  "list of role names",
			jwtWith(`"claims_map":{"x-hasura-allowed-roles":["user"],"x-hasura-default-role":""}`):    "must be a string",
			jwtWith(`"claims_map":{"x-hasura-allowed-roles":["user"],"x-hasura-default-role":["u"]}`): "must be a string",
		})},
		{"header", "is Authorization, or a named Cookie or CustomHeader", badConfig(map[string]string{
			jwtWith(`"header":{}`):                                   "header type",
			jwtWith(`"header":"Cookie"`):                             "header must not be of type string",
			jwtWith(`"header":{"type":"Query"}`):                     "header type",
			jwtWith(`"header":{"type":"Cookie"}`):                    "name is missing",
			jwtWith(`"header":{"type":"CustomHeader","name":"a b"}`): "name is missing, invalid",
			jwtWith(`"header":{"type":"Authorization","name":"a"}`):  "not for this type",
		})},
		{"config", "null is as if the key were not there", func(t *testing.T) {
			c, err := ParseJWTConfig(jwtWith(`"jwk_url":null,"audience":null,"issuer":null,"claims_map":null,"header":null,"allowed_skew":null,"claims_namespace":null,"claims_format":null,"claims_namespace_path":null`))
			if err != nil || c.namespace != defaultNamespace || c.header.kind != "Authorization" || len(c.StricterThanHasura()) > 0 {
				t.Errorf("%+v %v", c, err)
			}
		}},
		{"config", "tells where it is stricter than Hasura", func(t *testing.T) {
			c, err := ParseJWTConfig(jwtWith(`"issuer":"a","audience":"b"`))
			if err != nil || len(c.StricterThanHasura()) != 2 {
				t.Errorf("%v %v", c.StricterThanHasura(), err)
			}
		}},
		{"config", "says that keys over http are weak, but from this machine", func(t *testing.T) {
			for url, want := range map[string]int{"http://auth.example.com/keys": 1, "https://auth.example.com/keys": 0, "http://localhost:8080/k": 0, "http://127.0.0.1/k": 0} {
				c, err := ParseJWTConfig(`{"jwk_url":"` + url + `"}`)
				if err != nil || len(c.Weak()) != want {
					t.Errorf("%s: %v %v", url, c.Weak(), err)
				}
			}
		}},
		{"secrecy", "the key is in no print of the configuration", func(t *testing.T) {
			c, err := ParseJWTConfig("{" + hs256 + "}")
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "jwt", c, "ptr", &c)
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "jwt", c)
			all := fmt.Sprintf("%v %+v %#v %s %v %+v %s", c, c, c, c, &c, struct{ C JWTConfig }{c}, log.String())
			if bytes := fmt.Sprint([]byte(secret[:8])); strings.Contains(all, secret[:8]) || strings.Contains(all, strings.Trim(bytes, "[]")) {
				t.Error(all)
			}
		}},
	}
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// mapWith is a claims_map of fixed roles and more.
func mapWith(more string) string {
	return jwtWith(`"claims_map":{"x-hasura-allowed-roles":["user"],"x-hasura-default-role":"user",` + more + `}`)
}
