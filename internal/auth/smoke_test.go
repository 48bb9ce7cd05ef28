package auth

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestMintedTokenIsAccepted(t *testing.T) {
	t.Parallel()
	c, err := ParseJWTConfig(DevSecret)
	if err != nil {
		t.Fatal(err)
	}
	u := uuid.New()
	tok, err := Mint(c, Claims{User: u, Role: "user", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	id, err := New(Options{JWT: &c}).Authenticate(t.Context(), http.Header{"Authorization": {"Bearer " + tok}})
	if err != nil || id.UserID != u || id.Tenant != DefaultTenant || id.ExpiresAt.IsZero() || id.Via != ViaJWT {
		t.Fatalf("%+v %v", id, err)
	}
	if _, err := New(Options{JWT: &c}).Authenticate(t.Context(), http.Header{"Authorization": {"Bearer " + tok + "x"}}); err == nil || err.Error() != "invalid-jwt: Could not verify JWT: JWSError JWSInvalidSignature" {
		t.Fatal(err)
	}
}
