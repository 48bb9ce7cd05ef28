package app

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/door"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// access is graph.Access.
type access struct {
	authn    *auth.Authenticator
	jwt      auth.JWTConfig
	live     *live
	presence *presence.Service
	revoked  *revocations
	bell     ringer
	audit    audit
}

func (a access) Refresh(ctx context.Context, token string, at uuid.UUID) (model.SessionInfo, error) {
	old := auth.From(ctx)
	if old.UserID == uuid.Nil {
		return model.SessionInfo{}, fault.Access()
	}
	conn, overSocket := wsock.FromContext(ctx)
	if at == uuid.Nil {
		if !overSocket {
			return model.SessionInfo{}, fault.Field("sessionId", "sessionId names the socket where the request did not come over one")
		}
		at = conn.ID()
	}
	id, err := a.authn.Token(ctx, token, old.Role)
	if err != nil {
		return model.SessionInfo{}, err
	}
	if id.UserID != old.UserID || id.Tenant != old.Tenant {
		return model.SessionInfo{}, fault.Access()
	}
	id, expires, err := a.extend(ctx, at, id, token, socketDeadline(id, time.Now()))
	if err != nil {
		return model.SessionInfo{}, err
	}
	return model.SessionInfo{ID: at.String(), SessionID: at, UserID: id.UserID, Role: id.Role, ExpiresAt: &expires}, nil
}

// extend puts a socket on a new identity: here, or by way of the database
// where another node holds it. It answers what the socket runs on, and until when:
// where it is here, that may be a newer one that came first.
func (a access) extend(ctx context.Context, at uuid.UUID, id auth.Identity, token string, expires time.Time) (auth.Identity, time.Time, error) {
	if b, ok := a.live.get(at); ok {
		if old := b.id.Load(); old.UserID != id.UserID || old.Tenant != id.Tenant {
			return id, expires, fault.Access()
		}
		id, expires = b.take(id, expires, func(link *door.Link) {
			name, value := a.jwt.Bears(token)
			link.Renew(name, value, id.Role)
		})
		a.presence.Sessions.Renewed(at, b.id.Load().TokenID) // another may have come since
		b.judge(a.revoked.known)                             // revoked since it was verified: nobody else would see it
		return id, expires, nil
	}
	v := viewer.Of(id.Tenant, id.UserID)
	if found, err := a.presence.Edit.Renew(ctx, v, at, presence.Token{ID: id.TokenID, IssuedAt: id.IssuedAt, ExpiresAt: expires}); err != nil || !found {
		if err == nil {
			err = fault.Access()
		}
		return id, expires, err
	}
	return id, expires, nil
}

// Revoke is graph.Access. Its answer tells an admin how many sessions a user has, the
// invisible too: that it was asked is written down, whoever the admin says it is.
func (a access) Revoke(ctx context.Context, user uuid.UUID, token *string) (int, error) {
	id := auth.From(ctx)
	if !id.Admin {
		return 0, fault.Access()
	}
	if token != nil && strings.ContainsRune(*token, 0) {
		return 0, fault.Field("tokenId", "tokenId must be without NUL")
	}
	a.audit.ends(ctx, id, user, token != nil)
	n, err := a.presence.Read.CountLive(ctx, viewer.Key{Tenant: id.Tenant, User: user}, token)
	if err != nil {
		return 0, err
	}
	return n, a.revoked.revoke(ctx, id.Tenant, user, token, a.bell)
}

// While is graph.Access: over a socket, what waits ends with the socket.
func (a access) While(ctx context.Context) (context.Context, func()) {
	if _, over := wsock.FromContext(ctx); over {
		return ctx, func() {}
	}
	return a.live.while(ctx, auth.From(ctx), a.revoked.known)
}
