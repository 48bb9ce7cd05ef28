package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Options are how callers prove who they are. Empty secrets are not configured.
type Options struct {
	JWT              *JWTConfig
	AdminSecret      string
	WebhookSecret    string // shared with Hasura
	UnauthorizedRole string
	UserRoles        []string // roles that are a user's; default user and me
	Revocations      *Revocations
	Now              func() time.Time
	Client           *http.Client // for jwk_url; default: 10 s, and no step from https down to http
	Log              *slog.Logger // of the jwk_url's troubles, and of tokens that are nobody's; default: nowhere
}

// Authenticator says who a caller is. It is safe for use by many at once.
type Authenticator struct {
	jwt       *JWTConfig
	admin     []byte
	shared    []byte
	anonymous string
	userRoles map[string]bool
	revoked   *Revocations
	now       func() time.Time
	keys      *keySet // with a jwk_url
	nobodies  *nobodies
}

// New is an authenticator. With a jwk_url, Run must run.
func New(o Options) *Authenticator {
	a := &Authenticator{jwt: o.JWT, admin: []byte(o.AdminSecret), shared: []byte(o.WebhookSecret), anonymous: o.UnauthorizedRole,
		userRoles: map[string]bool{}, revoked: o.Revocations, now: o.Now}
	if a.now == nil {
		a.now = time.Now
	}
	if o.UserRoles == nil {
		o.UserRoles = []string{"user", "me"}
	}
	for _, r := range o.UserRoles {
		a.userRoles[r] = true
	}
	if a.revoked == nil {
		a.revoked = NewRevocations(0)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a.nobodies = &nobodies{log: o.Log, now: a.now, users: a.userRoles, anonymous: o.UnauthorizedRole, said: map[string]time.Time{}}
	if o.JWT != nil && o.JWT.jwkURL != "" {
		a.keys = newKeySet(o.JWT.jwkURL, o.Client, o.Log)
	}
	return a
}

// Run keeps the keys of a jwk_url fresh until ctx ends; without one it returns
// at once. It owns the only goroutine there is: the caller's.
func (a *Authenticator) Run(ctx context.Context) {
	if a.keys != nil {
		a.keys.run(ctx)
	}
}

// same compares without telling by its time how much agrees, or how long the secret is.
func same(given string, secret []byte) bool {
	g, s := sha256.Sum256([]byte(given)), sha256.Sum256(secret)
	return subtle.ConstantTimeCompare(g[:], s[:]) == 1
}

// TrustsHasura reports whether a request bears the secret shared with Hasura.
func (a *Authenticator) TrustsHasura(h http.Header) bool {
	return len(a.shared) > 0 && len(h.Values(headerSecret)) == 1 && same(h.Get(headerSecret), a.shared)
}

// Authenticate says who sent headers, in Hasura's order: admin secret, then
// the secret shared with Hasura, then a JWT, then the unauthorized role. What
// is presented and wrong is an error, never a reason to try the next.
func (a *Authenticator) Authenticate(ctx context.Context, h http.Header) (Identity, error) {
	if id, tried, err := a.byAdminSecret(h); tried {
		return id, err
	}
	if len(h.Values(headerSecret)) > 0 {
		if !a.TrustsHasura(h) {
			return Identity{}, fault.New(fault.Denied, `invalid "x-nchat-webhook-secret"`)
		}
		return a.byHasura(ctx, h)
	}
	text, found, err := a.find(h)
	if err != nil {
		return Identity{}, err
	}
	if !found {
		return a.byNothing()
	}
	id, err := a.Token(ctx, text, h.Get(headerRole))
	if err != nil {
		return Identity{}, err
	}
	id.FromCookie = a.jwt.header.kind == "Cookie"
	return id, nil
}

// Token says who a bare token is, for a role ("": its default).
func (a *Authenticator) Token(ctx context.Context, text, role string) (Identity, error) {
	id, err := a.token(ctx, text, role)
	if err == nil {
		a.nobodies.meet(ctx, id)
	}
	return id, err
}

func (a *Authenticator) token(ctx context.Context, text, role string) (Identity, error) {
	if a.jwt == nil {
		return Identity{}, fault.New(fault.InvalidHeaders, "no JWT is configured")
	}
	t, err := a.verify(ctx, text)
	if err != nil {
		return Identity{}, err
	}
	vars, err := a.sessionOf(t, role)
	if err != nil {
		return Identity{}, err
	}
	id := a.fill(Identity{Via: ViaJWT, Bearer: true, Role: vars[headerRole], Vars: vars, IssuedAt: t.issuedAt, ExpiresAt: t.expiresAt, TokenID: t.id})
	if id.Tenant == "" {
		return Identity{}, badClaims("invalid %s", headerTenant)
	}
	a.revoked.lives.see(id.IssuedAt, id.ExpiresAt, a.now())
	if a.revoked.Refused(id) {
		return Identity{}, Revoked()
	}
	return id, nil
}

func (a *Authenticator) byAdminSecret(h http.Header) (Identity, bool, error) {
	given, ok := h.Get(headerAdmin), len(h.Values(headerAdmin)) > 0
	if !ok {
		given, ok = h.Get(headerAdminOld), len(h.Values(headerAdminOld)) > 0
	}
	if !ok {
		return Identity{}, false, nil
	}
	if len(a.admin) == 0 || !same(given, a.admin) { // without one, none can be right
		return Identity{}, true, fault.New(fault.Denied, `invalid "x-hasura-admin-secret"/"x-hasura-access-key"`)
	}
	id, err := a.believe(ViaAdminSecret, h, adminRole)
	return id, true, err
}

// byHasura believes the session variables Hasura sends.
func (a *Authenticator) byHasura(ctx context.Context, h http.Header) (Identity, error) {
	id, err := a.believe(ViaHasura, h, "")
	if err != nil || id.Role == "" {
		if err == nil {
			err = fault.New(fault.InvalidHeaders, "x-hasura-role is missing")
		}
		return Identity{}, err
	}
	return a.passedOn(ctx, id, h)
}

// passedOn judges the token that Hasura passed on of its caller, where it does:
// it must be of the same user, or the variables are not its. Without one, only
// that its user was revoked can be known.
func (a *Authenticator) passedOn(ctx context.Context, id Identity, h http.Header) (Identity, error) {
	text, found, err := a.find(h)
	if err != nil {
		return Identity{}, err
	}
	if found {
		byToken, err := a.token(ctx, text, "")
		if err != nil {
			return Identity{}, err
		}
		if !id.Admin && (byToken.Vars[headerUser] != id.Vars[headerUser] || byToken.Tenant != id.Tenant) {
			return Identity{}, fault.Access()
		}
		id.Bearer, id.TokenID, id.IssuedAt, id.ExpiresAt = true, byToken.TokenID, byToken.IssuedAt, byToken.ExpiresAt
	}
	if a.revoked.Refused(id) {
		return Identity{}, Revoked()
	}
	if found {
		a.nobodies.meet(ctx, id)
	}
	return id, nil
}

// Session is who session variables speak of that came beside the shared secret
// in a body, an action's: they are believed as headers are, and with the
// caller's token in the request's own headers h, where Hasura passes it on.
func (a *Authenticator) Session(ctx context.Context, h http.Header, vars map[string]string) (Identity, error) {
	said := http.Header{}
	for name, value := range vars {
		said[http.CanonicalHeaderKey(name)] = append(said[http.CanonicalHeaderKey(name)], value)
	}
	id, err := a.believe(ViaHasura, said, "")
	if err == nil && id.Role == "" {
		err = fault.New(fault.InvalidHeaders, "x-hasura-role is missing")
	}
	if err != nil {
		return Identity{}, err
	}
	return a.passedOn(ctx, id, h)
}

func (a *Authenticator) believe(via Via, h http.Header, role string) (Identity, error) {
	vars, err := sessionVars(h)
	if err != nil {
		return Identity{}, err
	}
	if vars[headerRole] != "" {
		role = vars[headerRole]
	}
	vars[headerRole] = role
	id := a.fill(Identity{Via: via, Role: role, Vars: vars})
	if id.Tenant == "" {
		return Identity{}, fault.New(fault.InvalidHeaders, "invalid %s", headerTenant)
	}
	return id, nil
}

// byNothing is a caller with no credentials. The x-hasura-* it claims are
// nothing.
func (a *Authenticator) byNothing() (Identity, error) {
	switch {
	case a.anonymous != "":
		return a.fill(Identity{Via: ViaAnonymous, Role: a.anonymous, Vars: map[string]string{headerRole: a.anonymous}}), nil
	case a.jwt != nil:
		return Identity{}, fault.New(fault.InvalidHeaders, "Missing 'Authorization' or 'Cookie' header in JWT authentication mode")
	}
	return Identity{}, fault.New(fault.Denied, "x-hasura-admin-secret/x-hasura-access-key required, but not found")
}

// find takes the token out of where the configuration says it is. Something
// there that is no token, or two of them, is an error and not nothing.
func (a *Authenticator) find(h http.Header) (text string, found bool, err error) {
	if a.jwt == nil {
		return "", false, nil
	}
	switch kind, name := a.jwt.header.kind, a.jwt.header.name; kind {
	case "Cookie":
		cookies := (&http.Request{Header: h}).CookiesNamed(name)
		if len(cookies) != written(h, name) { // one that is not as a cookie is written, or net/http reads no cookies among so many
			return "", false, fault.New(fault.InvalidHeaders, "Malformed Cookie header")
		}
		if len(cookies) == 0 {
			return "", false, nil
		}
		for _, c := range cookies {
			if c.Value != cookies[0].Value {
				return "", false, fault.New(fault.InvalidHeaders, "Malformed Cookie header")
			}
		}
		return cookies[0].Value, true, nil
	case "CustomHeader":
		values := h.Values(name)
		if len(values) > 1 {
			return "", false, fault.New(fault.InvalidHeaders, "Malformed %s header", name)
		}
		return h.Get(name), len(values) > 0, nil
	}
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", false, nil
	}
	words := strings.Fields(values[0])
	if len(values) > 1 || len(words) != 2 || words[0] != "Bearer" {
		return "", false, fault.New(fault.InvalidHeaders, "Malformed Authorization header")
	}
	return words[1], true, nil
}

// written is how often a cookie's name stands in front of a value, whatever that is.
func written(h http.Header, name string) (n int) {
	for _, line := range h.Values("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			if is, _, ok := strings.Cut(pair, "="); ok && strings.TrimSpace(is) == name {
				n++
			}
		}
	}
	return n
}

// Plain is an error where another reader of the same headers might find a token in them
// that Authenticate does not, and so somebody else, or anybody where nobody was found: what
// stands there twice, is not where a token has its place, or is not written as one is, to
// the last bit of its Base64. Hasura reads some of that, and a token that was revoked here
// would be good there. Beside an admin secret nobody looks for one.
func (a *Authenticator) Plain(h http.Header) error {
	for _, name := range []string{headerAdmin, headerAdminOld, headerRole} {
		if len(h.Values(name)) > 1 {
			return fault.New(fault.InvalidHeaders, "%s is given twice", name)
		}
	}
	if len(h.Values(headerAdmin))+len(h.Values(headerAdminOld)) > 0 {
		return nil
	}
	text, found, err := a.find(h)
	if err != nil || !found {
		return err
	}
	parts := strings.Split(text, ".")
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil || len(parts) != 3 || len(text) > maxToken {
			return jwtFault(malformed)
		}
	}
	return nil
}
