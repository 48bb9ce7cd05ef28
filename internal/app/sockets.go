package app

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/door"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/gqlhttp"
	"github.com/nself-org/nchat-realtime/internal/origin"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/typing"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// heartbeatEvery is how often a client reports its activity.
const heartbeatEvery = 30 * time.Second

// registerTimeout is how long a socket waits for its session to be written
// before it is acknowledged all the same: it is not refused because Postgres
// is away.
const registerTimeout = 2 * time.Second

func newSockets(p *parts) *wsock.Transport {
	c := p.config
	in := &admission{authn: p.authn, revoked: p.revoked.known, live: p.live, sessions: p.presence.Sessions, typing: p.typing, clock: p.clock, door: p.door}
	ips := clientip.New(c.TrustedProxies)
	pages := origin.New(c.AllowedOrigins, ips.Encrypted)
	var elsewhere wsock.Elsewhere
	if p.door != nil {
		elsewhere = p.door.Elsewhere
	}
	return wsock.New(wsock.Options{
		Init: in.init,
		Operation: func(ctx context.Context, conn *wsock.Conn) context.Context {
			if b, ok := p.live.get(conn.ID()); ok {
				return auth.With(ctx, *b.id.Load())
			}
			return auth.With(ctx, auth.Identity{})
		},
		Elsewhere:   elsewhere,
		Room:        p.budgets.room,
		CheckOrigin: pages.Allowed,
		ClientIP:    ips.From,
		IPBucket:    clientip.Bucket,
		Recover:     gqlhttp.Recover(p.log),
		Limits: wsock.Limits{Operations: c.Limits.OperationsPerSocket, SocketsPerUser: c.Limits.SocketsPerUser,
			SocketsPerIP: c.Limits.SocketsPerIP, FrameBytes: int64(c.Limits.FrameBytes), QueuedFrames: c.Limits.QueuedFrames,
			QueuedBytes: c.Limits.QueuedBytes, OpeningPerIP: c.Limits.OpeningPerIP, MessageRate: float64(c.Limits.FramesPerSecond),
			InitTimeout: c.Limits.InitTimeout, PingEvery: c.Limits.PingInterval,
			WriteTimeout: c.Limits.WriteTimeout},
		Observer: p.metrics.sockets(),
		Log:      p.log,
	})
}

type cookieKey struct{}

// noteOrigin remembers for a socket's init whether it may run on a cookie.
func noteOrigin(pages origin.Policy, r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), cookieKey{}, pages.MayUseCookie(r)))
}

// admission is what a socket goes through at its connection_init.
type admission struct {
	authn    *auth.Authenticator
	revoked  *auth.Revocations
	live     *live
	sessions *presence.Sessions
	typing   *typing.Service
	clock    *clock.Clock
	door     *door.Door // nil: there is none
}

// init lets a socket in: who it is, until when, and its session.
func (in *admission) init(ctx context.Context, r wsock.Request) (wsock.Accepted, error) {
	headers, err := auth.InitHeaders(r.Header, r.Payload)
	if err != nil {
		return wsock.Accepted{}, err
	}
	id, err := in.authn.Authenticate(ctx, headers)
	if err != nil {
		return wsock.Accepted{}, err
	}
	if may, _ := ctx.Value(cookieKey{}).(bool); id.FromCookie && !may {
		return wsock.Accepted{}, fault.New(fault.Denied, "a token in a cookie needs a listed Origin if from a page")
	}
	opening, err := openingOf(r, id, session{r.Conn, in.live, in.revoked})
	if err != nil {
		return wsock.Accepted{}, err
	}
	if ctx, err = withAutoDeliver(ctx, r.Payload); err != nil {
		return wsock.Accepted{}, err
	}
	expires := socketDeadline(id, time.Now())
	conn := r.Conn
	in.live.add(conn, id, expires)
	if in.revoked.Refused(id) { // revoked between the check and the add: nobody else would see it
		in.live.remove(conn.ID())
		return wsock.Accepted{}, auth.Revoked()
	}
	ctx, link, err := in.link(ctx, r)
	if err != nil {
		in.live.remove(conn.ID())
		return wsock.Accepted{}, err
	}
	a := wsock.Accepted{Context: ctx, Ack: in.ack(conn, id, expires), ExpiresAt: expires,
		Closed: func(wsock.CloseInfo) {
			if link != nil {
				link.Close()
			}
			in.live.remove(conn.ID())
			in.sessions.End(conn.ID())
			in.typing.End(conn.ID())
		}}
	if id.UserID != uuid.Nil {
		a.UserKey = id.Tenant + "/" + id.UserID.String()
		a.Begin = func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, registerTimeout)
			defer cancel()
			in.sessions.Begin(ctx, opening)
		}
	}
	return a, nil
}

// link is what a socket that came through the door may have at Hasura; nil: it
// came here for this server alone.
func (in *admission) link(ctx context.Context, r wsock.Request) (context.Context, *door.Link, error) {
	if in.door == nil || !door.Through(ctx) {
		return ctx, nil, nil
	}
	given, err := auth.InitHeaders(nil, r.Payload)
	if err != nil {
		return ctx, nil, err
	}
	ctx, link := in.door.Link(ctx, r.Conn, r.Header, given)
	in.live.link(r.Conn.ID(), link)
	return ctx, link, nil
}

func (in *admission) ack(conn *wsock.Conn, id auth.Identity, expires time.Time) map[string]any {
	ack := map[string]any{"sessionId": conn.ID(), "role": id.Role, "serverTime": in.clock.Now().UTC(),
		"heartbeatIntervalMs": heartbeatEvery.Milliseconds(), "userId": nil, "expiresAt": nil}
	if id.UserID != uuid.Nil {
		ack["userId"] = id.UserID
	}
	if !expires.IsZero() {
		ack["expiresAt"] = expires.UTC()
	}
	return ack
}
