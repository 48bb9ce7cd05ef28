// Package auth says who a caller is, as Hasura would say it: by its JWT
// configuration, its admin secret, its unauthorized role, and by the secret
// shared with Hasura itself. It decides which session variables are believed.
// No token, claim or secret leaves it in an error or a log.
//
// It is stricter than Hasura in this: a configured issuer or audience must be
// in the token; the algorithm is exactly the configured one; what is given twice
// (a claim, a credential, a session variable) is refused; and x-hasura-* headers
// are believed only beside the shared secret or the admin secret.
package auth

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Via is how a caller proved who it is.
type Via string

// The ways, in the order they are tried.
const (
	ViaAdminSecret Via = "admin-secret"
	ViaHasura      Via = "hasura" // Hasura, by the shared secret, for its own caller
	ViaJWT         Via = "jwt"
	ViaAnonymous   Via = "anonymous" // the unauthorized role, or nobody
)

// The header names that mean something here.
const (
	headerRole     = "x-hasura-role"
	headerUser     = "x-hasura-user-id"
	headerTenant   = "x-hasura-source-account-id"
	headerSecret   = "x-nchat-webhook-secret"
	headerAdmin    = "x-hasura-admin-secret"
	headerAdminOld = "x-hasura-access-key"
	adminRole      = "admin"
	varPrefix      = "x-hasura-"
)

// DefaultTenant is the tenant of a session that names none.
const DefaultTenant = "primary"

const maxTenant = 128

// MaxSocketAge is how long a token without an expiry holds a socket open.
const MaxSocketAge = time.Hour

// Identity is a caller. The zero value is nobody.
type Identity struct {
	UserID     uuid.UUID // uuid.Nil: no user, whatever the session says of one
	Role       string
	Tenant     string
	Admin      bool
	Via        Via
	Vars       map[string]string // x-hasura-*, lower case, the role included
	IssuedAt   time.Time         // zero: not said
	ExpiresAt  time.Time         // exp, and allowed_skew past it; zero: not said, or no token
	TokenID    string            // jti
	Bearer     bool              // a token was verified, its own or one that Hasura passed on
	FromCookie bool              // the token came in a cookie: a browser sends it unasked
}

type identityKey struct{}

// With puts an identity into a context.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// From is the identity of a context; nobody where none was put.
func From(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}

// fill derives user, tenant and admin from the session variables. A user id
// counts for roles that are a user's and for the admin alone: Hasura passes on
// what an anonymous client claims.
func (a *Authenticator) fill(id Identity) Identity {
	id.Admin = id.Role == adminRole && (id.Via == ViaAdminSecret || id.Via == ViaHasura || id.Via == ViaJWT)
	id.Tenant = DefaultTenant
	if t := id.Vars[headerTenant]; t != "" {
		id.Tenant = t
	}
	if !validTenant(id.Tenant) {
		id.Tenant = ""
		id.Admin = false
		return id
	}
	user := a.userRoles[id.Role] && id.Via != ViaAnonymous
	if id.Via == ViaHasura && id.Role == a.anonymous {
		user = false // Hasura passes on what somebody without credentials claims
	}
	if id.Admin || user {
		if u, err := uuid.Parse(id.Vars[headerUser]); err == nil && len(id.Vars[headerUser]) == 36 {
			id.UserID = u
		}
	}
	return id
}

func validTenant(t string) bool {
	if len(t) > maxTenant {
		return false
	}
	for _, r := range t {
		if r < 0x20 || r == 0x7f || r == '\ufffd' {
			return false
		}
	}
	return true
}

// sessionVars are the x-hasura-* headers but for secrets. One given twice is
// refused: a proxy and we might each believe another.
func sessionVars(h http.Header) (map[string]string, error) {
	vars := map[string]string{}
	for name, values := range h {
		n := strings.ToLower(name)
		if !strings.HasPrefix(n, varPrefix) || n == headerAdmin || n == headerAdminOld || len(values) == 0 {
			continue
		}
		if _, twice := vars[n]; twice || len(values) > 1 {
			return nil, fault.New(fault.InvalidHeaders, "%.60s is given twice", n)
		}
		vars[n] = values[0]
	}
	return vars, nil
}
