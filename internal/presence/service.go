package presence

import (
	"context"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Service is presence as the rest of the server sees it.
type Service struct {
	Read     *Reader
	Edit     *Editor
	Lists    *Lists
	Sessions *Sessions
	Watch    *Watcher
	w        *world
	writer   *writer
	orders   *orders
	showcase *Showcase
}

// New builds the service. Nothing runs before Run.
func New(o Options) *Service {
	if o.Vital == nil {
		o.Vital = o.Pool
	}
	w := &world{pool: o.Pool, vital: o.Vital, clock: o.Clock, bell: o.Bell, rules: o.Rules, log: o.Log, turn: o.Turn, reading: o.Reading}
	if w.watching = o.Watching; w.watching == nil {
		w.watching = func(context.Context, viewer.Viewer, int, bool) error { return nil }
	}
	if w.reading == nil {
		w.reading = func(context.Context, int) error { return nil }
	}
	m := newMirror(w)
	w.awaited = m.await
	s := newSessions(w)
	r := &Reader{w: w, sessions: s}
	e := &Editor{w: w, read: r, sessions: s, unhidden: o.Unhidden}
	if e.unhidden == nil {
		e.unhidden = func(context.Context, pgx.Tx, Key) error { return nil }
	}
	show := newShowcase(w, o.Shown, o.Legacy)
	return &Service{Read: r, Edit: e, Lists: &Lists{w}, Sessions: s, Watch: &Watcher{w: w, mirror: m, sessions: s, showcase: show},
		w: w, showcase: show, writer: &writer{w: w, sessions: s, node: o.Node},
		orders: &orders{w: w, sessions: s, node: o.Node, rung: wait.NewFlag()}}
}

// Run keeps timers, writes what sessions change and reads what is watched,
// until ctx ends; what sessions still have to say is then written once more.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.Watch.mirror.run(ctx) })
	wg.Go(func() { s.Sessions.alarm.Run(ctx) })
	wg.Go(func() { s.orders.run(ctx) })
	wg.Go(func() { s.showcase.run(ctx) })
	return s.writer.run(ctx)
}

// Asked is the doorbell's word that another node changed a session: what it asks
// is read, if the session is held here. It does not block.
func (s *Service) Asked(session uuid.UUID) { s.orders.ring(session) }

// Ring tells every watcher of these users. Only after commit.
func (s *Service) Ring(keys []Key) { s.w.ring(keys...) }
