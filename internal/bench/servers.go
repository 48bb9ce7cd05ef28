package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/app"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
)

const secret = `{"type":"HS256","key":"a-key-of-the-bench-alone-and-long-enough-for-it"}`

// users of the demo world; alice changes, the others watch.
var users = []uuid.UUID{demo.Alice, demo.Bob, demo.Carol, demo.Dave, demo.Frank}

// database makes one of our own on a server, with the demo world in it.
func database(ctx context.Context, url string) (db string, drop func(), err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", nil, fmt.Errorf("connecting: %w", err)
	}
	name := "bench_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := conn.Exec(ctx, "create database "+name); err != nil {
		return "", nil, errors.Join(err, conn.Close(ctx))
	}
	drop = func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), "drop database "+name+" with (force)")
		_ = conn.Close(context.WithoutCancel(ctx))
	}
	c := conn.Config()
	db = fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", c.Host, c.Port, c.User, c.Password, name)
	log := slog.New(slog.DiscardHandler)
	if err := postgres.Migrate(ctx, db, log, app.Code()); err != nil {
		drop()
		return "", nil, err
	}
	pool, err := postgres.Open(ctx, db, postgres.Options{MaxConns: 1})
	if err != nil {
		drop()
		return "", nil, err
	}
	defer pool.Close()
	if _, err := demo.Load(ctx, pool); err != nil {
		drop()
		return "", nil, err
	}
	return db, drop, nil
}

// The kinds of server.
const (
	kindOurs  = "nchat-realtime"
	kindStock = "stock gqlgen"
)

// ours is a whole server, as serve runs it, until ctx ends.
func ours(ctx context.Context, ready func(url string)) error {
	env := map[string]string{"DATABASE_URL": os.Getenv(envDatabase), "HASURA_GRAPHQL_JWT_SECRET": secret, "HOST": "127.0.0.1", "PORT": "0", "HASURA_UPSTREAM_URL": os.Getenv(envUpstream), "FRAMES_PER_SECOND": "10000", "ADMIN_ADDR": "off",
		"DRAIN_TIMEOUT": "0s", "OFFLINE_GRACE": "0s", "MAX_SOCKETS_PER_USER": "100000", "MAX_SOCKETS_PER_IP": "100000", "OPERATIONS_PER_MINUTE": "1000000"}
	c, err := config.Load(func(n string) string { return env[n] }, config.Serve)
	if err != nil {
		return err
	}
	j, err := auth.ParseJWTConfig(secret)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	return app.Run(ctx, app.Options{Config: c, JWT: j, Log: log, Ready: func(a app.Addresses) { ready("ws://" + a.Public + "/graphql") }})
}

// stock is what somebody writes with gqlgen alone: its own WebSocket transport,
// and a map of channels in memory behind the resolver.
func stock(ctx context.Context, ready func(url string)) error {
	srv := handler.New(generated.NewExecutableSchema(generated.Config{Resolvers: &naive{watchers: map[uuid.UUID]map[chan presence.View]struct{}{}, readers: map[uuid.UUID]map[chan events.MessageEvent]struct{}{}}}))
	srv.AddTransport(transport.Websocket{KeepAlivePingInterval: 25 * time.Second})
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	web := &http.Server{Handler: srv, ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx }}
	context.AfterFunc(ctx, func() { _ = web.Close() })
	ready("ws://" + l.Addr().String() + "/graphql")
	if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// populate adds n users, who show themselves to everyone.
func populate(ctx context.Context, conn *pgx.Conn, n int) ([]uuid.UUID, error) {
	people := make([]uuid.UUID, n)
	for i := range people {
		people[i] = uuid.New()
	}
	_, err := conn.Exec(ctx, `insert into public.nchat_users (id, email, display_name) select u, u || '@example.com', 'T' from unnest($1::uuid[]) u`, people)
	if err != nil {
		return nil, fmt.Errorf("adding users: %w", err)
	}
	return people, nil
}
