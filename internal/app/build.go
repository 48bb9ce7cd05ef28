package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/announce"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/door"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/push"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/sweep"
	"github.com/nself-org/nchat-realtime/internal/typing"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/webhook"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// httpLapse is how long an HTTP-only session lives after its last heartbeat.
const httpLapse = 75 * time.Second

// vitalConns are the connections of what keeps a node alive: renewing the lease,
// burying, sweeping, ringing, probing, writing sessions, orders, revocations, readiness; and of
// what it tells everybody: numbering changes, reading the log, reading who is watched.
// Each uses one at a time, and none waits for long.
const vitalConns = 10

// parts are what one server is made of. They are for wiring alone: nothing
// that runs is given all of them.
type parts struct {
	dev       bool
	page      http.Handler
	doorOnly  bool // nothing but the one endpoint is served
	ready     func(Addresses)
	lingers   time.Duration
	config    config.Config
	jwt       auth.JWTConfig
	log       *slog.Logger
	pool      *pgxpool.Pool
	vital     *pgxpool.Pool // for what keeps the node alive, and for nothing that a caller asks for
	clock     *clock.Clock
	metrics   *metrics
	odd       *oddities
	bus       *bus.Bus
	lease     *lease.Lease
	health    *health
	authn     *auth.Authenticator
	revoked   *revocations
	live      *live
	budgets   *budgets
	documents *limit.Cache[*ast.QueryDocument]
	persisted *limit.Cache[string]
	presence  *presence.Service
	typing    *typing.Service
	feed      *feed.Service
	messages  *message.Service
	receipts  *receipt.Service
	notify    *receipt.Notifier
	events    *events.Service
	hooks     *webhook.Handler
	push      *push.Service
	announce  *announce.Service
	door      *door.Door   // nil: no Hasura behind this server
	direct    *door.Direct // nil: nothing is answered without Hasura
	sockets   *wsock.Transport
	sweeps    *sweep.Keeper
	own       http.Handler // this server's GraphQL, over every transport
	draining  atomic.Bool
}

// build makes every part, from those that know nobody to those that know many.
// Nothing runs yet.
func build(ctx context.Context, o Options) (*parts, error) {
	c := o.Config
	series := newCatalog()
	counts, odd := newMetrics(series), newOddities(o.Log, series)
	pool, err := postgres.Open(ctx, c.DatabaseURL, postgres.Options{OddTime: odd.time, Pooled: c.Pooled()})
	if err != nil {
		return nil, err
	}
	direct, err := pgx.ParseConfig(c.ListenDatabaseURL)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("reading LISTEN_DATABASE_URL: %w", err)
	}
	vital, err := postgres.Open(ctx, c.DatabaseURL, postgres.Options{MaxConns: vitalConns, OddTime: odd.time, Pooled: c.Pooled()})
	if err != nil {
		pool.Close()
		return nil, err
	}
	p := &parts{dev: o.Dev, page: o.Page, doorOnly: o.DoorOnly, jwt: o.JWT, ready: o.Ready, lingers: lingers, config: c, log: o.Log, pool: pool, vital: vital, clock: clock.New(), metrics: counts, odd: odd, live: newLive(),
		documents: limit.NewCache(cachedParsed, func(text string, _ *ast.QueryDocument) int { return limit.Parsed(text) }),
		persisted: limit.NewCache(cachedBytes, func(hash, text string) int { return len(hash) + len(text) }),
		budgets:   newBudgets(c.Limits, int(pool.Config().MaxConns))}
	p.bus = bus.New(bus.Options{Pool: vital, Listen: direct, Log: o.Log, Observer: p.metrics.bus(),
		NATS: c.BusURL, Rooms: []string{typing.RoomTopic}})
	p.revoked = newRevocations(auth.Store{DB: vital}, p.live, c.TokenLifetime)
	p.authn = auth.New(auth.Options{JWT: &o.JWT, AdminSecret: c.AdminSecret, WebhookSecret: c.WebhookSecret,
		UnauthorizedRole: c.UnauthorizedRole, UserRoles: c.UserRoles, Revocations: p.revoked.known, Log: o.Log})
	p.lease = lease.New(vital, p.clock, o.Log, bus.Name(c.BusURL), leaseHooks(p))
	p.health = &health{pool: vital, lease: p.lease, bus: p.bus, metrics: p.metrics, draining: &p.draining}
	buildPresence(p)
	buildChat(p)
	buildHasura(p)
	if p.door, err = newDoor(p); err != nil {
		p.close()
		return nil, err
	}
	p.sockets = newSockets(p)
	p.own = graphqlHandler(p)
	for _, d := range doorbells(p) {
		p.bus.Handle(d.prefix, d.hears)
	}
	return p, nil
}

// close ends the connections to Postgres, and does not wait long where it does not answer.
func (p *parts) close() {
	postgres.Close(goodbye, p.pool, p.vital)
}

// doorbell is a prefix of topics and who hears of them.
type doorbell struct {
	prefix string
	hears  bus.Handler
}

// doorbells are all that this server hears of.
func doorbells(p *parts) (all []doorbell) {
	hear := func(h bus.Handler, prefixes ...string) {
		for _, prefix := range prefixes {
			all = append(all, doorbell{prefix, h})
		}
	}
	hear(p.presence.Watch, presence.Topics...)
	hear(p.typing, typing.Topics...)
	hear(p.feed, feed.Topics...)
	hear(sessionBell{p.presence}, sessionTopic)
	hear(p.revoked, revokedTopic)
	return all
}

const sessionTopic = "session/"

// sessionBell tells presence that a session here was changed elsewhere.
// What is missed, the sessions' own next look finds.
type sessionBell struct{ presence *presence.Service }

func (b sessionBell) Notify(topic string) {
	if id, err := uuid.Parse(topic[len(sessionTopic):]); err == nil {
		b.presence.Asked(id)
	}
}

func (sessionBell) Resync() {}

// leaseHooks is what the lease has presence do; presence is built after it.
func leaseHooks(p *parts) lease.Hooks {
	return lease.Hooks{
		Bury: func(ctx context.Context, tx pgx.Tx, dead []lease.Dead) (func(), error) {
			keys, err := p.presence.Bury(ctx, tx, dead)
			return func() { p.presence.Ring(keys) }, err
		},
		Sweep:    func(ctx context.Context, inTouch time.Duration) error { return p.presence.Sweep(ctx, inTouch) },
		Reassert: func() { p.presence.Sessions.Reassert() },
		Missed:   func(since time.Time) { p.presence.Watch.Missed(since) },
		Restored: func(from, to time.Time) { p.presence.Watch.Restored(from, to) },
	}
}

func buildPresence(p *parts) {
	c := p.config
	var looking time.Duration // nobody asks but push
	if c.PushWebhookURL != "" {
		looking = c.PushAfter
	}
	p.presence = presence.New(presence.Options{Pool: p.pool, Vital: p.vital, Clock: p.clock, Bell: p.bus, Node: p.lease, Log: p.log, Watching: p.budgets.watch, Reading: p.budgets.reading, Turn: p.budgets.turn,
		Rules: presence.Rules{IdleAfter: c.IdleAfter, HiddenAfter: c.HiddenAfter, Grace: c.OfflineGrace, HTTPLapse: httpLapse, Looking: looking, StatusText: c.Limits.StatusLength,
			Reciprocity: c.Reciprocity == "all", ReceiptReciprocity: c.Reciprocity != "off"},
		Shown: c.PresenceView || c.PresenceWebhookURL != "", Legacy: c.LegacyPresence,
		Unhidden: func(ctx context.Context, tx pgx.Tx, user viewer.Key) error {
			return p.receipts.Release(ctx, tx, user)
		}})
	var rooms typing.Rooms
	if p.bus.Selective() {
		rooms = p.bus
	}
	p.typing = typing.New(typing.Options{Rooms: rooms, Pool: p.pool, Clock: p.clock, Bell: p.bus, Privacy: typists{p.presence}, Batch: c.TypingBatch, Log: p.log})
}

// typists is what typing asks of presence.
type typists struct{ p *presence.Service }

func (t typists) Gate(v viewer.Viewer) typing.Gate { return t.p.Watch.Gate(v) }

func (t typists) Typists(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	return t.p.Read.Typists(ctx, v, users)
}
