package app

import (
	"context"
	_ "embed"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/graph"
	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/gqlhttp"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/origin"
	"github.com/nself-org/nchat-realtime/internal/postgres"
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

// handler is the public port.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.o.Dev {
		mux.HandleFunc("GET /playground", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(playground)
		})
	}
	s.hooks.Mount(mux)
	mux.Handle("/graphql", s.graphql())
	return mux
}

// graphql is /graphql, over every transport.
func (s *server) graphql() http.Handler {
	c := s.o.Config
	present, rescue := gqlhttp.Presenter(s.log), gqlhttp.Recover(s.log)
	http1 := gqlhttp.New(gqlhttp.Options{Present: present, Recover: rescue, AlwaysOK: s.fromHasura,
		BodyLimit: func(r *http.Request) int64 {
			if s.fromHasura(r) {
				return int64(c.Limits.BodyBytes) * hasuraBody
			}
			return int64(c.Limits.BodyBytes)
		},
		KeepAlive: keepAliveEvery, WriteTimeout: c.Limits.WriteTimeout,
		Stream: func(ctx context.Context) (context.Context, func(), error) {
			owner, _ := rateKey(ctx)
			return s.live.stream(ctx, owner, c.Limits.OperationsPerSocket, auth.From(ctx), s.revoked)
		}})
	resolver := graph.NewResolver(graph.Deps{Presence: s.presence, Typing: s.typing, Messages: s.messages, Receipts: s.receipts, Feed: s.feed, Events: s.events,
		Access: access{s}, AutoDeliver: autoDelivers, Viewer: asking, Config: s.config, MaxIDs: c.Limits.IDs, MaxRooms: c.Limits.Rooms})
	schema := generated.NewExecutableSchema(generated.Config{Resolvers: resolver})
	srv := s.executor(schema, resolver, present, rescue)
	srv.SetParserTokenLimit(limit.ParserTokens)
	srv.SetQueryCache(lru.New[*ast.QueryDocument](documents))
	srv.Use(extension.AutomaticPersistedQuery{Cache: lru.New[string](persistedMost)})
	srv.Use(limit.Size{Depth: c.Limits.Depth, Roots: c.Limits.Aliases})
	srv.AddTransport(s.sockets)
	srv.AddTransport(http1)
	// What Hasura sends is made by Hasura: a join of thousands of rows is one
	// operation of as many aliases, with literals that no cache meets again.
	stitched := s.executor(generated.NewExecutableSchema(generated.Config{Resolvers: resolver, Schema: graph.Stitched(schema.Schema())}), resolver, present, rescue)
	stitched.AddTransport(http1)

	pages, ips := origin.New(c.AllowedOrigins), clientip.New(c.TrustedProxies)
	return pages.CORS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.sockets.Supports(r) {
			srv.ServeHTTP(w, noteOrigin(pages, r)) // who it is, connection_init says
			return
		}
		id, err := s.authn.Authenticate(r.Context(), r.Header)
		if err == nil && id.FromCookie && !pages.RequireListed(r) {
			err = fault.New(fault.Denied, "a token in a cookie needs a listed Origin and a POST of JSON")
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
func (s *server) executor(schema graphql.ExecutableSchema, resolver *graph.Resolver, present graphql.ErrorPresenterFunc, rescue graphql.RecoverFunc) *handler.Server {
	srv := handler.New(schema)
	srv.SetErrorPresenter(present)
	srv.SetRecoverFunc(rescue)
	srv.SetDisableSuggestion(true)
	srv.Use(extension.Introspection{})
	srv.Use(&limit.Values{})
	srv.Use(limit.Answer{Bytes: answerBytes})
	srv.Use(limit.Operations{Limiter: s.operations, Key: rateKey})
	srv.Use(graph.Endings{Present: present})
	srv.AroundOperations(s.metrics.operation)
	srv.AroundResponses(resolver.Batch)
	return srv
}

func (s *server) fromHasura(r *http.Request) bool { return s.authn.TrustsHasura(r.Header) }

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

// config is realtimeConfig.
func (s *server) config(context.Context) model.RealtimeConfig {
	c, ms := s.o.Config, func(d time.Duration) int { return int(d.Milliseconds()) }
	l := c.Limits
	return model.RealtimeConfig{ServerTime: s.clock.Now(),
		HeartbeatIntervalMs: ms(heartbeatEvery), HTTPSessionLapseMs: ms(httpLapse), IdleAfterMs: ms(c.IdleAfter), HiddenAfterMs: ms(c.HiddenAfter),
		OfflineGraceMs: ms(c.OfflineGrace), PingIntervalMs: ms(l.PingInterval), InitTimeoutMs: ms(l.InitTimeout), WriteTimeoutMs: ms(l.WriteTimeout),
		Retry:                  model.RetryPolicy{BaseMs: 1000, MaxMs: 30000, MaxAttempts: 5, JitterPercent: 10},
		MaxOperationsPerSocket: l.OperationsPerSocket, MaxSocketsPerUser: l.SocketsPerUser, MaxFrameBytes: l.FrameBytes, MaxBodyBytes: l.BodyBytes,
		MaxIds: l.IDs, MaxRooms: l.Rooms, MaxBatch: l.Batch, MaxContentLength: l.ContentLength, MaxStatusLength: l.StatusLength,
		OperationsPerMinute: l.OperationsPerMinute, MaxQueuedFrames: l.QueuedFrames, MaxQueuedBytes: l.QueuedBytes,
		MaxPageBytes: feed.PageBytes, MaxAnswerBytes: answerBytes}
}

// readyz says whether this node should get requests: Postgres answers,
// doorbells arrive, the migrations are there, and it is not leaving.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	migrated, err := postgres.MigrationStatus(ctx, s.pool, Code())
	_, _, leased := s.lease.Identity()
	done, all, _ := feed.Backfill(ctx, s.pool) // progress, and no reason to send requests elsewhere
	state := map[string]any{"postgres": err == nil, "migrations": err == nil && migrated.Ready(), "doorbells": !s.bus.Stale(),
		"lease": leased, "serving": !s.draining.Load(),
		"numberedChannels": done, "channelsToNumber": all}
	status := http.StatusOK
	for _, ok := range state {
		if ok == false {
			status = http.StatusServiceUnavailable
		}
	}
	body, err := json.Marshal(state)
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// adminHandler is ADMIN_ADDR: for operators, never for the internet.
func (s *server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	return mux
}
