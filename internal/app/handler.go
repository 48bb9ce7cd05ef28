package app

import (
	"context"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/google/uuid"

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
	"github.com/nself-org/nchat-realtime/web"
)

const (
	hasuraBody     = 16       // times the body limit, for what Hasura joins
	cachedBytes    = 4 << 20  // of documents' text under their hashes
	cachedParsed   = 16 << 20 // of documents, once they are parsed
	keepAliveEvery = 25 * time.Second
	answerBytes    = 16 << 20
	eventBytes     = 1 << 20
	heldAnswers    = answerBytes + 16*eventBytes // bytes of one caller's large answers that it has not read yet, and of its subscriptions' largest events
	heldDocuments  = 16 << 20                    // bytes of the documents that one caller has run, once they are parsed
	refusalPause   = time.Second                 // before what comes too often is refused over HTTP
)

// publicHandler is the public port.
func publicHandler(p *parts) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", p.health.readyz)
	if p.doorOnly {
		return newEdge(p, withDoor(p, mux))
	}
	if p.dev {
		playground := web.Playground()
		mux.Handle("GET /playground", playground)
		mux.Handle("GET /assets/", playground)
		if p.page != nil {
			mux.Handle("/", p.page) // whatever nothing else takes
		}
	}
	p.hooks.Mount(mux)
	own := ownPages(p).CORS(p.own)
	mux.Handle("/graphql", own)
	if p.door == nil { // a client that looks where Hasura is finds this server
		mux.Handle("/v1/graphql", own)
		return p.here(newEdge(p, mux))
	}
	return p.here(newEdge(p, withDoor(p, mux)))
}

// ownPages is who is let in of browsers' pages.
func ownPages(p *parts) origin.Policy {
	return origin.New(p.config.AllowedOrigins, clientip.New(p.config.TrustedProxies).Encrypted)
}

// withDoor has the one endpoint's paths served by it, and the others as they are.
func withDoor(p *parts, others http.Handler) http.Handler {
	through := ownPages(p).CORS(p.door, http.MethodPut, http.MethodPatch, http.MethodDelete)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.door.Serves(r.URL) {
			through.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
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
		KeepAlive: keepAliveEvery, Refusal: refusalPause, Room: p.budgets.room, Body: p.budgets.body, WriteTimeout: c.Limits.WriteTimeout, ReadTimeout: c.Limits.RequestTimeout, OperationTimeout: c.Limits.OperationTimeout,
		Stream: func(ctx context.Context) (context.Context, func(), error) {
			owner, _ := rateKey(ctx)
			return p.live.stream(ctx, owner, c.Limits.OperationsPerSocket, auth.From(ctx), p.revoked.known)
		}})
	resolver := graph.NewResolver(graph.Deps{Presence: p.presence, Typing: p.typing, Messages: p.messages, Receipts: p.receipts, Notify: p.notify, Hours: push.Hours{Pool: p.pool},
		Feed: p.feed, Events: p.events,
		Access:      access{authn: p.authn, jwt: p.jwt, live: p.live, presence: p.presence, revoked: p.revoked, bell: p.bus, audit: audit{p.log}},
		AutoDeliver: autoDelivers, Viewer: asking, Config: realtimeConfig(p.clock, c), MaxIDs: c.Limits.IDs, MaxRooms: c.Limits.Rooms,
		Watching: p.budgets.watch, Polling: p.budgets.poll, Turn: p.budgets.turn})
	schema := generated.NewExecutableSchema(generated.Config{Resolvers: resolver})
	srv := handler.New(schema)
	srv.Use(limit.Length{Bytes: c.Limits.DocumentBytes}) // before everything
	srv.Use(limit.Operations{Limiter: p.budgets.operations, Key: rateKey})
	srv.SetParserTokenLimit(limit.ParserTokens)
	srv.SetQueryCache(p.documents)
	persisted := limit.Persisted{Cache: p.persisted}
	srv.Use(persisted.Find())
	srv.Use(limit.Size{Depth: c.Limits.Depth, Roots: c.Limits.Aliases, Meta: metaAliases})
	execute(p, srv, resolver, present, rescue)
	srv.Use(&limit.Running{Held: p.budgets.documents, Key: rateKey})
	srv.Use(p.budgets.cost(c.Limits, 0))
	srv.Use(persisted.Keep()) // after all that may refuse
	shared(p, srv, present)
	parsing := func(t graphql.Transport) limit.Parsing {
		return limit.Parsing{Transport: t, Turns: p.budgets.parses, Key: rateKey}
	}
	srv.AddTransport(parsing(p.sockets))
	srv.AddTransport(parsing(http1))
	// What Hasura sends is made by Hasura: a join of thousands of rows is one
	// operation of as many aliases, with literals that no cache meets again.
	stitched := handler.New(generated.NewExecutableSchema(generated.Config{Resolvers: resolver, Schema: graph.Stitched(schema.Schema())}))
	stitched.Use(limit.Operations{Limiter: p.budgets.operations, Key: rateKey})
	stitched.Use(limit.Joined{Depth: c.Limits.Depth, Free: c.Limits.DocumentBytes, Each: 1 << 10, Pay: p.budgets.pay})
	stitched.SetParserTokenLimit(limit.JoinedTokens)
	execute(p, stitched, resolver, present, rescue)
	stitched.Use(p.budgets.cost(c.Limits, c.Limits.Aliases))
	stitched.AddTransport(parsing(http1))

	ips := clientip.New(c.TrustedProxies)
	pages := origin.New(c.AllowedOrigins, ips.Encrypted)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.sockets.Supports(r) {
			srv.ServeHTTP(w, noteOrigin(pages, r)) // who it is, connection_init says
			return
		}
		id, err := p.authn.Authenticate(r.Context(), r.Header)
		if err == nil && id.FromCookie && !pages.MayUseCookie(r) {
			err = cookieRefused()
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
	})
}

// mostEvent is how many bytes one event may have: what a message of the most characters takes,
// of which JSON may write six bytes each, goes in any case.
func mostEvent(l config.Limits) int { return max(eventBytes, 6*l.ContentLength+64<<10) }

// answers is how much there may be in one answer, and in one event.
func answers(l config.Limits) limit.Answer {
	return limit.Answer{Bytes: answerBytes, Event: int64(mostEvent(l))}
}

// execute has a server run operations as every caller has them run.
func execute(p *parts, srv *handler.Server, resolver *graph.Resolver, present graphql.ErrorPresenterFunc, rescue graphql.RecoverFunc) {
	srv.SetErrorPresenter(present)
	srv.SetRecoverFunc(rescue)
	srv.SetDisableSuggestion(true)
	srv.Use(extension.Introspection{})
	srv.Use(&limit.Values{})
	srv.Use(answers(p.config.Limits))
	srv.Use(limit.Fair{Turns: p.budgets.turns, Key: turnKey})
	srv.Use(graph.Endings{Present: present})
	srv.AroundOperations(p.metrics.operation)
	srv.AroundOperations(audit{p.log}.operation)
	srv.AroundResponses(resolver.Batch)
}

// shared has a server encode once what many are told; after all else that
// intercepts operations.
func shared(p *parts, srv *handler.Server, present graphql.ErrorPresenterFunc) {
	srv.Use(share.New(share.Options{Alike: graph.Alike, Encoded: p.metrics.encoded, Present: present,
		Nobody:  func(context.Context) context.Context { return context.Background() },
		Prepare: answers(p.config.Limits).MutateOperationContext}))
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
		OperationsPerMinute: l.OperationsPerMinute, MaxDepth: l.Depth, MaxAliases: l.Aliases, PointsPerMinute: l.PointsPerMinute, MessagesPerMinute: l.MessagesPerMinute,
		MaxWatchedIds: l.WatchedIDs, MaxWaitingPolls: l.WaitingPolls, MaxFieldsAtOnce: l.FieldsAtOnce, MaxDocumentBytes: l.DocumentBytes,
		FramesPerSecond: l.FramesPerSecond, OperationTimeoutMs: ms(l.OperationTimeout), MaxSocketsPerAddress: l.SocketsPerIP,
		MaxOpeningSocketsPerAddress: l.OpeningPerIP, MaxConnectionsPerAddress: l.ConnectionsPerIP, RequestTimeoutMs: ms(l.RequestTimeout), MaxQueuedFrames: l.QueuedFrames, MaxQueuedBytes: l.QueuedBytes,
		MaxPageMessages: feed.MaxFirst, MaxPageBytes: feed.PageBytes, MaxAnswerBytes: answerBytes, MaxEventBytes: mostEvent(l)}
	return func(context.Context) model.RealtimeConfig {
		now := is
		now.ServerTime = clock.Now()
		return now
	}
}
