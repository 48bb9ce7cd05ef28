// Package app puts the server together, runs it, and takes it down in order.
// It is the only package that knows all the others; it holds no rule.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/push"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/typing"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/webhook"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// Options are what Run is started with.
type Options struct {
	Config config.Config
	JWT    auth.JWTConfig
	Dev    bool // serve the playground
	Log    *slog.Logger
	Ready  func(Addresses) // called once, when requests are served
}

// Addresses are where the server listens.
type Addresses struct {
	Public string // host:port
	Admin  string // "" where nothing is served
}

// server is what the parts of one running server share.
type server struct {
	o          Options
	log        *slog.Logger
	pool       *pgxpool.Pool
	odd        *oddities
	clock      *clock.Clock
	bus        *bus.Bus
	lease      *lease.Lease
	presence   *presence.Service
	typing     *typing.Service
	messages   *message.Service
	receipts   *receipt.Service
	feed       *feed.Service
	events     *events.Service
	hooks      *webhook.Handler
	push       *push.Service
	authn      *auth.Authenticator
	revoked    *auth.Revocations
	store      auth.Store
	sockets    *wsock.Transport
	live       *live
	operations *limit.Limiter // of every caller, whichever way it asks
	metrics    *metrics
	draining   atomic.Bool
	loaded     atomic.Bool // revocations were read
}

// Run serves until ctx ends, and then takes leave: no new sockets, the live
// ones closed over the drain timeout, what they leave behind written down.
func Run(ctx context.Context, o Options) error {
	s, err := build(ctx, o)
	if err != nil {
		return err
	}
	defer s.pool.Close()
	public, admin, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = public.Close() }()
	if err := s.enter(ctx); err != nil {
		return err
	}
	return s.serve(ctx, public, admin)
}

func build(ctx context.Context, o Options) (*server, error) {
	c := o.Config
	counts := newMetrics()
	odd := newOddities(o.Log, counts.registry)
	pool, err := postgres.Open(ctx, c.DatabaseURL, postgres.Options{OddTime: odd.time})
	if err != nil {
		return nil, err
	}
	listen, err := pgx.ParseConfig(c.ListenDatabaseURL)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("reading LISTEN_DATABASE_URL: %w", err)
	}
	s := &server{o: o, log: o.Log, pool: pool, clock: clock.New(), revoked: auth.NewRevocations(), live: newLive(), metrics: counts, odd: odd,
		operations: limit.New(c.Limits.OperationsPerMinute)}
	s.store = auth.Store{DB: pool}
	s.authn = auth.New(auth.Options{JWT: &o.JWT, AdminSecret: c.AdminSecret, WebhookSecret: c.WebhookSecret,
		UnauthorizedRole: c.UnauthorizedRole, UserRoles: c.UserRoles, Revocations: s.revoked, Log: o.Log})
	s.bus = bus.New(bus.Options{Pool: pool, Listen: listen, Log: o.Log, Observer: s.metrics.bus()})
	s.lease = lease.New(pool, s.clock, o.Log, s.leaseHooks())
	s.presence = presence.New(presence.Options{Pool: pool, Clock: s.clock, Bell: s.bus, Node: s.lease, Log: o.Log,
		Rules: presence.Rules{IdleAfter: c.IdleAfter, HiddenAfter: c.HiddenAfter, Grace: c.OfflineGrace, HTTPLapse: httpLapse, StatusText: c.Limits.StatusLength,
			Reciprocity: c.Reciprocity == "all", ReceiptReciprocity: c.Reciprocity != "off"},
		Unhidden: func(ctx context.Context, tx pgx.Tx, user viewer.Key) error {
			return s.receipts.Release(ctx, tx, user)
		}})
	for _, prefix := range presence.Topics {
		s.bus.Handle(prefix, s.presence.Watch)
	}
	s.typing = typing.New(typing.Options{Pool: pool, Clock: s.clock, Bell: s.bus, Privacy: typists{s.presence}, Batch: c.TypingBatch, Log: o.Log})
	for _, prefix := range typing.Topics {
		s.bus.Handle(prefix, s.typing)
	}
	s.buildLog()
	s.bus.Handle("session/", topics{s})
	s.bus.Handle("revoked", topics{s})
	s.sockets = s.newSockets()
	return s, nil
}

// httpLapse is how long an HTTP-only session lives after its last heartbeat.
const httpLapse = 75 * time.Second

func (s *server) leaseHooks() lease.Hooks {
	return lease.Hooks{
		Bury: func(ctx context.Context, tx pgx.Tx, dead []lease.Dead) (func(), error) {
			keys, err := s.presence.Bury(ctx, tx, dead)
			return func() { s.presence.Ring(keys) }, err
		},
		Sweep:    func(ctx context.Context, inTouch time.Duration) error { return s.presence.Sweep(ctx, inTouch) },
		Reassert: func() { s.presence.Sessions.Reassert() },
		Restored: func(from, to time.Time) { s.presence.Watch.Restored(from, to) },
	}
}

// enter waits for Postgres and for migrations, and takes the lease.
func (s *server) enter(ctx context.Context) error {
	for {
		err := s.tryEnter(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if m, ok := errors.AsType[*unmigratedError](err); ok {
			return m
		}
		s.log.WarnContext(ctx, "waiting for Postgres", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

type unmigratedError struct{ is postgres.Status }

func (e *unmigratedError) Error() string {
	what := fmt.Sprintf("has migration %d of %d", e.is.Have, e.is.Want)
	if e.is.Have >= e.is.Want {
		what = "lacks this version's functions"
	}
	return "the database " + what + ": run `nchat-realtime migrate`"
}

func (s *server) tryEnter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	migrated, err := postgres.MigrationStatus(ctx, s.pool, Code())
	if err != nil {
		return err
	}
	if !migrated.Ready() {
		return &unmigratedError{migrated}
	}
	hidden, err := presence.Blind(ctx, s.pool)
	if err != nil {
		return err
	}
	if hidden != "" {
		s.log.ErrorContext(ctx, "row level security hides rows from this server's role, which therefore hides them from everybody: let the role own the tables or give it BYPASSRLS", "tables", hidden)
	}
	if err := s.store.Load(ctx, s.revoked); err != nil {
		return err
	}
	s.loaded.Store(true)
	return s.lease.Acquire(ctx)
}

// listen opens both ports, before anything is written anywhere.
func (s *server) listen(ctx context.Context) (public, admin net.Listener, err error) {
	c := s.o.Config
	var lc net.ListenConfig
	if public, err = lc.Listen(ctx, "tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port))); err != nil {
		return nil, nil, fmt.Errorf("opening the public port: %w", err)
	}
	if c.AdminAddr == "off" {
		return public, nil, nil
	}
	if admin, err = lc.Listen(ctx, "tcp", c.AdminAddr); err != nil && s.o.Dev {
		host, _, _ := net.SplitHostPort(c.AdminAddr) //nolint:errcheck // checked when it was read
		admin, err = lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening ADMIN_ADDR: %w", err), public.Close())
	}
	return public, admin, nil
}

// serve runs everything. Order of leaving: the sockets first, so that their
// ends are still written; then presence, the lease, and the doorbell last.
func (s *server) serve(ctx context.Context, public, admin net.Listener) error {
	requests, cut := context.WithCancel(context.WithoutCancel(ctx)) // what requests and streams run in
	defer cut()
	back, stop := context.WithCancel(context.WithoutCancel(ctx)) // what runs behind
	defer stop()
	bell, hush := context.WithCancel(context.WithoutCancel(ctx))
	defer hush()
	var behind, ringing sync.WaitGroup
	ringing.Go(func() { _ = s.bus.Run(bell) })
	behind.Go(func() { s.authn.Run(back) })
	behind.Go(func() { s.watchRevocations(back) })
	behind.Go(func() { s.typing.Run(back) })
	behind.Go(func() { s.feed.Run(back) })
	behind.Go(func() { s.receipts.Run(back) })
	behind.Go(func() { s.push.Run(back) })
	behind.Go(func() { s.retain(back) })
	behind.Go(func() {
		if err := s.presence.Run(back); err != nil {
			s.log.WarnContext(back, "presence not written at the end", "error", err)
		}
	})
	behind.Go(func() { s.lease.Run(back) })

	web := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return requests }}
	inside := &http.Server{Handler: s.adminHandler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- web.Serve(public) }()
	if admin != nil {
		go func() { failed <- inside.Serve(admin) }()
	}
	if s.o.Ready != nil {
		s.o.Ready(addresses(public, admin))
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.leave(web, cut) //nolint:contextcheck // ctx has ended; leaving takes its own time
	stop()
	behind.Wait()
	if err := s.lease.Leave(context.WithoutCancel(ctx), s.o.Config.OfflineGrace); err != nil {
		s.log.WarnContext(ctx, "lease not given back", "error", err)
	}
	hush()
	ringing.Wait()
	_ = inside.Close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *server) leave(web *http.Server, cut context.CancelFunc) {
	s.draining.Store(true)
	over := s.o.Config.Limits.DrainTimeout
	ctx, cancel := context.WithTimeout(context.Background(), over+5*time.Second)
	defer cancel()
	s.log.InfoContext(ctx, "leaving", "sockets", s.sockets.Len(), "over", over)
	s.sockets.Drain(ctx, over)
	cut() // event streams end, and the clients behind them look for another node
	if err := web.Shutdown(ctx); err != nil {
		_ = web.Close()
	}
}

func addresses(public, admin net.Listener) Addresses {
	a := Addresses{Public: public.Addr().String()}
	if admin != nil {
		a.Admin = admin.Addr().String()
	}
	return a
}

// watchRevocations reads again whenever the database says that something was
// revoked, by doorbell or within a second, and closes what runs on it.
func (s *server) watchRevocations(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	last := ""
	for {
		if stamp, err := s.stamp(ctx); err == nil && stamp != last || !s.loaded.Load() {
			if s.reload(ctx) {
				last = stamp
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.live.revoked:
		}
	}
}

func (s *server) stamp(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return s.store.Stamp(ctx)
}

func (s *server) reload(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := s.store.Load(ctx, s.revoked); err != nil {
		return false
	}
	s.loaded.Store(true)
	s.live.refuse(s.revoked)
	return true
}

// topics are the doorbells of sessions and tokens.
type topics struct{ s *server }

func (t topics) Notify(topic string) {
	if topic == "revoked" {
		t.s.live.poke()
		return
	}
	if id, err := uuid.Parse(topic[len("session/"):]); err == nil {
		t.s.presence.Asked(id)
	}
}

func (t topics) Resync() { t.s.live.poke() }

// typists is what typing asks of presence.
type typists struct{ p *presence.Service }

func (t typists) Gate(v viewer.Viewer) typing.Gate { return t.p.Watch.Gate(v) }

func (t typists) Typists(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]bool, error) {
	return t.p.Read.Typists(ctx, v, users)
}
