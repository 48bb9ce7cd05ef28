package presence

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
)

// Node is this server's lease. Sessions are written under its identity, so
// that a node believed dead cannot write on.
type Node interface {
	// Identity is the row sessions refer to; false: there is none just now.
	Identity() (id uuid.UUID, epoch int64, ok bool)
	// Lost says that the database does not know that epoch any more.
	Lost(epoch int64)
}

// Options are what the package stands on.
type Options struct {
	Pool  *pgxpool.Pool
	Clock *clock.Clock
	Bell  hub.Doorbell
	Node  Node
	Rules Rules
	Log   *slog.Logger
	// Unhidden is called in the transaction that ends a user's invisibility.
	Unhidden func(ctx context.Context, tx pgx.Tx, k Key) error
}

// Service is presence as the rest of the server sees it.
type Service struct {
	Read     *Reader
	Edit     *Editor
	Sessions *Sessions
	Watch    *Watcher
}

// New builds the service. Nothing runs before Run.
func New(o Options) *Service {
	w := &world{pool: o.Pool, clock: o.Clock, bell: o.Bell, rules: o.Rules, log: o.Log, unhidden: o.Unhidden}
	if w.unhidden == nil {
		w.unhidden = func(context.Context, pgx.Tx, Key) error { return nil }
	}
	m := newMirror(w)
	w.awaited = m.await
	s := newSessions(w, o.Node)
	r := &Reader{w: w, live: s}
	return &Service{
		Read:     r,
		Edit:     &Editor{w: w, read: r, sessions: s},
		Sessions: s,
		Watch:    &Watcher{w: w, mirror: m, live: s},
	}
}

// Run keeps timers, writes what sessions change and reads what is watched,
// until ctx ends; what sessions still have to say is then written once more.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.Watch.mirror.run(ctx) })
	return s.Sessions.run(ctx)
}

// world is what the parts of the package share.
type world struct {
	pool     *pgxpool.Pool
	clock    *clock.Clock
	bell     hub.Doorbell
	rules    Rules
	log      *slog.Logger
	unhidden func(ctx context.Context, tx pgx.Tx, k Key) error
	awaited  func(keys ...Key) // who begins to watch waits for these users' doorbells

	mu  sync.Mutex
	out outage // guarded by mu
}

// now is the database's time, as exact as the database keeps it.
func (w *world) now() time.Time { return w.clock.Now().Truncate(time.Microsecond) }

func (w *world) outage() outage {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out
}

func (w *world) setOutage(from, to time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = outage{from, to}
}

func presenceTopic(k Key) string { return "presence/" + k.User.String() + "/" + k.Tenant }

// ring tells every node, this one like the others, that something of these
// users changed. Only after commit.
func (w *world) ring(keys ...Key) {
	topics := make([]string, len(keys))
	for i, k := range keys {
		topics[i] = presenceTopic(k)
	}
	w.awaited(keys...)
	w.bell.Ring(topics...)
}
