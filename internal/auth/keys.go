package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// leastRSA is what RFC 7518, section 3.3, demands.
const leastRSA = 2048

// hmacBytes is the least length of a secret: its hash's (RFC 7518, section 3.2).
// Zero: not an HMAC type.
func hmacBytes(typ string) int {
	return map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[typ]
}

// publicAlgs are what a token may be signed with for a public key, in JWS's names.
func publicAlgs() []string {
	return []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// fittingAlgs are those of publicAlgs a key can verify: none for one too weak,
// or of a kind Hasura does not know.
func fittingAlgs(key crypto.PublicKey) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= leastRSA {
			return []string{"RS256", "RS384", "RS512"}
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

func (c *JWTConfig) setKey(raw rawConfig) error {
	if (raw.Key == nil) == (raw.JWKURL == nil) {
		return errors.New("JWT secret: exactly one of key and jwk_url must be given")
	}
	alg := raw.Type
	if raw.Type == "Ed25519" {
		alg = "EdDSA"
	}
	known := hmacBytes(raw.Type) > 0 || raw.Type != "EdDSA" && slices.Contains(publicAlgs(), alg)
	if !known && (raw.Key != nil || raw.Type != "") {
		return errors.New("JWT secret: type must be one of HS256 HS384 HS512 RS256 RS384 RS512 ES256 ES384 ES512 Ed25519")
	}
	if raw.JWKURL != nil { // as in Hasura, the keys decide then, whatever type says
		u, err := url.Parse(*raw.JWKURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errors.New("JWT secret: jwk_url must be an http or https URL")
		}
		c.jwkURL = *raw.JWKURL
		return nil
	}
	c.alg = alg
	if least := hmacBytes(raw.Type); least > 0 {
		return c.setSecret(*raw.Key, raw.Type, least)
	}
	key, err := publicKey(*raw.Key)
	if err != nil {
		return err
	}
	if !slices.Contains(fittingAlgs(key), alg) {
		return fmt.Errorf("JWT secret: key is no key for %s (RSA keys need %d bits)", raw.Type, leastRSA)
	}
	c.key = key
	return nil
}

// setSecret refuses a PEM key: the whole world has it, and could sign with it.
func (c *JWTConfig) setSecret(key, typ string, least int) error {
	if strings.Contains(key, "-----BEGIN ") {
		return fmt.Errorf("JWT secret: key is a PEM key, which is no secret for %s", typ)
	}
	if len(key) < least {
		return fmt.Errorf("JWT secret: key must have at least %d bytes for %s", least, typ)
	}
	c.key = []byte(key)
	return nil
}

// publicKey reads a PEM public key or certificate. A certificate's dates do not
// count, as in Hasura. What the parsers say stays here: it may quote the key.
func publicKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("JWT secret: key must be a PEM public key or X.509 certificate")
	}
	switch {
	case block.Type == "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("JWT secret: key is no valid X.509 certificate")
		}
		return cert.PublicKey, nil
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, errors.New("JWT secret: key is a private key: only its public half belongs here")
	}
	if k, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
		return k, nil
	}
	return nil, errors.New("JWT secret: key is no valid public key")
}
