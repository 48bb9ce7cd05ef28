package app

import (
	"context"
	_ "embed"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/graph"
	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/gqlhttp"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/origin"
	"github.com/nself-org/nchat-realtime/internal/push"
	"github.com/nself-org/nchat-realtime/internal/share"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

//go:embed playground.html
var playground []byte

const (
	hasuraBody     = 16 // times the body limit, for what Hasura joins
	documents      = 1000
	persistedMost  = 1000
	keepAliveEvery = 25 * time.Second
	answerBytes    = 16 << 20
)

// publicHandler is the public port.
func publicHandler(p *parts) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", health{p.pool, p.lease, p.bus, &p.draining}.readyz)
	if p.dev {
		mux.HandleFunc("GET /playground", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(playground)
		})
		if p.page != nil {
			mux.Handle("/", p.page) // whatever nothing else takes
		}
	}
	p.hooks.Mount(mux)
	mux.Handle("/graphql", graphqlHandler(p))
	return p.here(mux)
}

// here keeps to this machine what `dev` serves on it.
func (p *parts) here(h http.Handler) http.Handler {
	if p.dev && namesHere(p.config.Host) {
		return onlyHere(h)
	}
	return h
}

// graphqlHandler is /graphql, over every transport.
func graphqlHandler(p *parts) http.Handler {
	c := p.config
	fromHasura := func(r *http.Request) bool { return p.authn.TrustsHasura(r.Header) }
	present, rescue := gqlhttp.Presenter(p.log), gqlhttp.Recover(p.log)
	http1 := gqlhttp.New(gqlhttp.Options{Present: present, Recover: rescue, AlwaysOK: fromHasura,
		BodyLimit: func(r *http.Request) int64 {
			if fromHasura(r) {
				return int64(c.Limits.BodyBytes) * hasuraBody
			}
			return int64(c.Limits.BodyBytes)
		},
		KeepAlive: keepAliveEvery, WriteTimeout: c.Limits.WriteTimeout,
		Stream: func(ctx context.Context) (context.Context, func(), error) {
			owner, _ := rateKey(ctx)
			return p.live.stream(ctx, owner, c.Limits.OperationsPerSocket, auth.From(ctx), p.revoked.known)
		}})
	resolver := graph.NewResolver(graph.Deps{Presence: p.presence, Typing: p.typing, Messages: p.messages, Receipts: p.receipts, Notify: p.notify, Hours: push.Hours{Pool: p.pool},
		Feed: p.feed, Events: p.events,
		Access:      access{authn: p.authn, live: p.live, presence: p.presence, revoked: p.revoked, bell: p.bus},
		AutoDeliver: autoDelivers, Viewer: asking, Config: realtimeConfig(p.clock, c), MaxIDs: c.Limits.IDs, MaxRooms: c.Limits.Rooms})
	schema := generated.NewExecutableSchema(generated.Config{Resolvers: resolver})
	srv := executor(p, schema, resolver, present, rescue)
	srv.SetParserTokenLimit(limit.ParserTokens)
	srv.SetQueryCache(lru.New[*ast.QueryDocument](documents))
	srv.Use(extension.AutomaticPersistedQuery{Cache: lru.New[string](persistedMost)})
	srv.Use(limit.Size{Depth: c.Limits.Depth, Roots: c.Limits.Aliases})
	srv.AddTransport(p.sockets)
	srv.AddTransport(http1)
	// What Hasura sends is made by Hasura: a join of thousands of rows is one
	// operation of as many aliases, with literals that no cache meets again.
	stitched := executor(p, generated.NewExecutableSchema(generated.Config{Resolvers: resolver, Schema: graph.Stitched(schema.Schema())}), resolver, present, rescue)
	stitched.AddTransport(http1)

	ips := clientip.New(c.TrustedProxies)
	pages := origin.New(c.AllowedOrigins, ips.Encrypted)
	return pages.CORS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.sockets.Supports(r) {
			srv.ServeHTTP(w, noteOrigin(pages, r)) // who it is, connection_init says
			return
		}
		id, err := p.authn.Authenticate(r.Context(), r.Header)
		if err == nil && id.FromCookie && !pages.MayUseCookie(r) {
			err = fault.New(fault.Denied, "a token in a cookie needs a POST of JSON, from a listed Origin if from a page")
		}
		if err != nil {
			http1.Fail(w, r, statusOf(err), err) //nolint:contextcheck // r carries it
			return
		}
		ctx := context.WithValue(auth.With(r.Context(), id), ipKey{}, clientip.Bucket(ips.From(r)))
		if id.Via == auth.ViaHasura {
			stitched.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		srv.ServeHTTP(w, r.WithContext(ctx))
	}))
}

// executor runs operations on a schema, as every caller has them run.
func executor(p *parts, schema graphql.ExecutableSchema, resolver *graph.Resolver, present graphql.ErrorPresenterFunc, rescue graphql.RecoverFunc) *handler.Server {
	srv := handler.New(schema)
	srv.SetErrorPresenter(present)
	srv.SetRecoverFunc(rescue)
	srv.SetDisableSuggestion(true)
	srv.Use(extension.Introspection{})
	srv.Use(&limit.Values{})
	srv.Use(limit.Answer{Bytes: answerBytes})
	srv.Use(limit.Operations{Limiter: p.operations, Key: rateKey})
	srv.Use(graph.Endings{Present: present})
	srv.AroundOperations(p.metrics.operation)
	srv.AroundOperations(audit{p.log}.operation)
	answer := limit.Answer{Bytes: answerBytes}
	srv.Use(share.New(share.Options{Alike: graph.Alike, Present: present,
		Nobody:  func(context.Context) context.Context { return context.Background() },
		Prepare: answer.MutateOperationContext}))
	srv.AroundResponses(resolver.Batch)
	return srv
}

func statusOf(err error) int {
	switch fault.From(err).Code { //nolint:exhaustive // the rest is the credentials' fault
	case fault.Denied:
		return http.StatusForbidden
	case fault.Unexpected:
		return http.StatusInternalServerError
	}
	return http.StatusUnauthorized
}

type ipKey struct{}

// asking is who asks.
func asking(ctx context.Context) viewer.Viewer {
	id := auth.From(ctx)
	v := viewer.Of(id.Tenant, id.UserID)
	if c, ok := wsock.FromContext(ctx); ok && id.UserID != uuid.Nil {
		v.Session = c.ID()
	}
	return v
}

// rateKey is whose bucket an operation comes out of: a user's, else an
// address's. What Hasura asks for callers without a user has no address to
// count by and is Hasura's to limit.
func rateKey(ctx context.Context) (string, bool) {
	id := auth.From(ctx)
	switch {
	case id.UserID != uuid.Nil:
		return userKey(id), false
	case id.Via == auth.ViaHasura || id.Via == auth.ViaAdminSecret:
		return "", true
	}
	if c, ok := wsock.FromContext(ctx); ok {
		return "ip/" + clientip.Bucket(c.RemoteIP()), false
	}
	ip, _ := ctx.Value(ipKey{}).(string)
	return "ip/" + ip, false
}

func userKey(id auth.Identity) string { return id.Tenant + "/" + id.UserID.String() }

// realtimeConfig is the query of that name.
func realtimeConfig(clock *clock.Clock, c config.Config) func(context.Context) model.RealtimeConfig {
	l, ms := c.Limits, func(d time.Duration) int { return int(d.Milliseconds()) }
	is := model.RealtimeConfig{
		HeartbeatIntervalMs: ms(heartbeatEvery), HTTPSessionLapseMs: ms(httpLapse), IdleAfterMs: ms(c.IdleAfter), HiddenAfterMs: ms(c.HiddenAfter),
		OfflineGraceMs: ms(c.OfflineGrace), PingIntervalMs: ms(l.PingInterval), InitTimeoutMs: ms(l.InitTimeout), WriteTimeoutMs: ms(l.WriteTimeout),
		Retry:                  model.RetryPolicy{BaseMs: 1000, MaxMs: 30000, MaxAttempts: 5, JitterPercent: 10},
		MaxOperationsPerSocket: l.OperationsPerSocket, MaxSocketsPerUser: l.SocketsPerUser, MaxFrameBytes: l.FrameBytes, MaxBodyBytes: l.BodyBytes,
		MaxIds: l.IDs, MaxRooms: l.Rooms, MaxBatch: l.Batch, MaxContentLength: l.ContentLength, MaxStatusLength: l.StatusLength,
		OperationsPerMinute: l.OperationsPerMinute, MaxQueuedFrames: l.QueuedFrames, MaxQueuedBytes: l.QueuedBytes,
		MaxPageMessages: feed.MaxFirst, MaxPageBytes: feed.PageBytes, MaxAnswerBytes: answerBytes}
	return func(context.Context) model.RealtimeConfig {
		now := is
		now.ServerTime = clock.Now()
		return now
	}
}
