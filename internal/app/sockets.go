package app

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/gqlhttp"
	"github.com/nself-org/nchat-realtime/internal/origin"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// heartbeatEvery is how often a client reports its activity.
const heartbeatEvery = 30 * time.Second

// registerTimeout is how long a socket waits for its session to be written
// before it is acknowledged all the same: it is not refused because Postgres
// is away.
const registerTimeout = 2 * time.Second

func (s *server) newSockets() *wsock.Transport {
	c := s.o.Config
	pages, ips := origin.New(c.AllowedOrigins), clientip.New(c.TrustedProxies)
	return wsock.New(wsock.Options{
		Init: s.init,
		Operation: func(ctx context.Context, conn *wsock.Conn) context.Context {
			if b, ok := s.live.get(conn.ID()); ok {
				return auth.With(ctx, *b.id.Load())
			}
			return auth.With(ctx, auth.Identity{})
		},
		CheckOrigin: pages.Allowed,
		ClientIP:    ips.From,
		IPBucket:    clientip.Bucket,
		Recover:     gqlhttp.Recover(s.log),
		Limits: wsock.Limits{Operations: c.Limits.OperationsPerSocket, SocketsPerUser: c.Limits.SocketsPerUser,
			SocketsPerIP: c.Limits.SocketsPerIP, FrameBytes: int64(c.Limits.FrameBytes), QueuedFrames: c.Limits.QueuedFrames,
			QueuedBytes: c.Limits.QueuedBytes, InitTimeout: c.Limits.InitTimeout, PingEvery: c.Limits.PingInterval,
			WriteTimeout: c.Limits.WriteTimeout},
		Observer: s.metrics.sockets(),
		Log:      s.log,
	})
}

type listedKey struct{}

// noteOrigin remembers for a socket's init whether the page behind it is one
// the operator listed.
func noteOrigin(pages origin.Policy, r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), listedKey{}, pages.Listed(r)))
}

// init lets a socket in: who it is, until when, and its session.
func (s *server) init(ctx context.Context, r wsock.Request) (wsock.Accepted, error) {
	headers, err := auth.InitHeaders(r.Header, r.Payload)
	if err != nil {
		return wsock.Accepted{}, err
	}
	id, err := s.authn.Authenticate(ctx, headers)
	if err != nil {
		return wsock.Accepted{}, err
	}
	if listed, _ := ctx.Value(listedKey{}).(bool); id.FromCookie && !listed {
		return wsock.Accepted{}, fault.New(fault.Denied, "a token in a cookie needs a listed Origin")
	}
	opening, err := openingOf(r, id)
	if err != nil {
		return wsock.Accepted{}, err
	}
	if ctx, err = withAutoDeliver(ctx, r.Payload); err != nil {
		return wsock.Accepted{}, err
	}
	expires := socketDeadline(id, time.Now())
	conn := r.Conn
	s.live.add(conn, id)
	if s.revoked.Refused(id) { // revoked between the check and the add: nobody else would see it
		s.live.remove(conn.ID())
		return wsock.Accepted{}, fault.New(fault.InvalidJWT, "Could not verify JWT: JWTRevoked")
	}
	a := wsock.Accepted{Context: ctx, Ack: s.ack(conn, id, expires), ExpiresAt: expires,
		Closed: func(wsock.CloseInfo) {
			s.live.remove(conn.ID())
			s.presence.Sessions.End(conn.ID())
			s.typing.End(conn.ID())
		}}
	if id.UserID != uuid.Nil {
		a.UserKey = id.Tenant + "/" + id.UserID.String()
		a.Begin = func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, registerTimeout)
			defer cancel()
			s.presence.Sessions.Begin(ctx, opening)
		}
	}
	return a, nil
}

func (s *server) ack(conn *wsock.Conn, id auth.Identity, expires time.Time) map[string]any {
	ack := map[string]any{"sessionId": conn.ID(), "role": id.Role, "serverTime": s.clock.Now().UTC(),
		"heartbeatIntervalMs": heartbeatEvery.Milliseconds(), "userId": nil, "expiresAt": nil}
	if id.UserID != uuid.Nil {
		ack["userId"] = id.UserID
	}
	if !expires.IsZero() {
		ack["expiresAt"] = expires.UTC()
	}
	return ack
}

// openingOf reads what connection_init says of the device. It is never
// believed, only shown to its own user.
func openingOf(r wsock.Request, id auth.Identity) (presence.Opening, error) {
	o := presence.Opening{ID: r.Conn.ID(), Key: viewer.Key{Tenant: id.Tenant, User: id.UserID}, Counts: true,
		Device: presence.DeviceUnknown, TokenID: id.TokenID, Socket: session{r.Conn}}
	if v, ok := r.Payload["presence"]; ok {
		counts, ok := v.(bool)
		if !ok {
			return o, fault.Field("presence", "presence must be true or false")
		}
		o.Counts = counts
	}
	device, ok := r.Payload["device"].(map[string]any)
	if !ok {
		if r.Payload["device"] != nil {
			return o, fault.Field("device", "device must be an object")
		}
		return o, nil
	}
	return withDevice(o, device)
}

func withDevice(o presence.Opening, device map[string]any) (presence.Opening, error) {
	for name, into := range map[string]**string{"id": &o.DeviceID, "name": &o.Name} {
		v := device[name]
		if v == nil {
			continue
		}
		text, ok := v.(string)
		if !ok {
			return o, fault.Field("device."+name, "device.%s must be a string", name)
		}
		if err := presence.CheckDevice("device."+name, &text); err != nil {
			return o, err
		}
		*into = &text
	}
	if v := device["type"]; v != nil {
		kind, _ := v.(string)
		switch d := presence.Device(kind); d {
		case presence.DeviceWeb, presence.DeviceIOS, presence.DeviceAndroid, presence.DeviceDesktop, presence.DeviceUnknown:
			o.Device = d
		default:
			return o, fault.Field("device.type", "device.type must be web, ios, android, desktop or unknown")
		}
	}
	return o, nil
}

type autoDeliverKey struct{}

// withAutoDeliver reads whether what is written to the socket counts as delivered.
func withAutoDeliver(ctx context.Context, payload map[string]any) (context.Context, error) {
	v, ok := payload["autoDeliver"]
	if !ok {
		return ctx, nil
	}
	on, ok := v.(bool)
	if !ok {
		return ctx, fault.Field("autoDeliver", "autoDeliver must be true or false")
	}
	return context.WithValue(ctx, autoDeliverKey{}, on), nil
}

func autoDelivers(ctx context.Context) bool {
	on, _ := ctx.Value(autoDeliverKey{}).(bool)
	return on
}
