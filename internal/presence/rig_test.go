package presence

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

const primary = "primary"

// rig is one database with the demo world and any number of nodes on it.
type rig struct {
	t     *testing.T
	pool  *pgxpool.Pool
	nodes *pgxpool.Pool // what nodes are served by, their leases apart; usually the same
	mu    sync.Mutex
	all   []*node
	mute  bool     // guarded by mu: doorbells are held back
	held  []string // guarded by mu

	showing, legacy bool // the next node keeps what everybody may see
}

// bell hands every doorbell to every node at once, as the bus would after a
// moment; the bus itself is proved elsewhere.
func (r *rig) Ring(topics ...string) {
	r.mu.Lock()
	nodes := append([]*node(nil), r.all...)
	if r.mute {
		nodes, r.held = nil, append(r.held, topics...)
	}
	r.mu.Unlock()
	for _, n := range nodes {
		for _, topic := range topics {
			if id, ok := cutSession(topic); ok {
				n.Asked(id)
				continue
			}
			n.Watch.Notify(topic)
		}
	}
}

// holdBack keeps doorbells on their way until release.
func (r *rig) holdBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = true
}

func (r *rig) release() {
	r.mu.Lock()
	held := r.held
	r.mute, r.held = false, nil
	r.mu.Unlock()
	r.Ring(held...)
}

func cutSession(topic string) (uuid.UUID, bool) {
	const p = "session/"
	if len(topic) <= len(p) || topic[:len(p)] != p {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(topic[len(p):])
	return id, err == nil
}

type node struct {
	*Service
	lease *lease.Lease
	stop  context.CancelFunc // as a drain does: what is to be said is said
	done  chan struct{}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, pgtest.New(t))
}

func newRigOn(t *testing.T, pool *pgxpool.Pool) *rig {
	t.Helper()
	r := &rig{t: t, pool: pool, nodes: pool}
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	return r
}

var quick = Rules{IdleAfter: time.Hour, HiddenAfter: time.Hour, Grace: 200 * time.Millisecond, HTTPLapse: 75 * time.Second}

// node starts a server's presence on the rig's database.
func (r *rig) node(rules Rules) *node {
	r.t.Helper()
	c := clock.New()
	n := &node{done: make(chan struct{})}
	var svc *Service
	n.lease = lease.New(r.pool, c, slog.New(slog.DiscardHandler), "postgres", lease.Hooks{
		Bury: func(ctx context.Context, tx pgx.Tx, dead []lease.Dead) (func(), error) {
			keys, err := svc.Bury(ctx, tx, dead)
			return func() { svc.Ring(keys) }, err
		},
		Sweep:    func(ctx context.Context, d time.Duration) error { return svc.Sweep(ctx, d) },
		Reassert: func() { svc.Sessions.Reassert() },
		Missed:   func(since time.Time) { svc.Watch.Missed(since) },
		Restored: func(from, to time.Time) { svc.Watch.Restored(from, to) },
	})
	svc = New(Options{Pool: r.nodes, Clock: c, Bell: r, Node: n.lease, Rules: rules, Log: slog.New(slog.DiscardHandler), Shown: r.showing, Legacy: r.legacy})
	n.Service = svc
	eventually(r.t, "it has a lease", func() bool { return n.lease.Acquire(r.t.Context()) == nil }) // a slow machine's statement is late
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	var wg sync.WaitGroup
	wg.Go(func() { _ = svc.Run(ctx) })
	wg.Go(func() { n.lease.Run(ctx) })
	go func() {
		wg.Wait()
		_ = n.lease.Leave(context.Background(), rules.Grace)
		close(n.done)
	}()
	r.mu.Lock()
	r.all = append(r.all, n)
	r.mu.Unlock()
	r.t.Cleanup(func() { cancel(); <-n.done })
	return n
}

// socket is a connection's end as Sessions sees it.
type socket struct {
	out     chan struct{}
	renewed chan Token
}

func newSocket() *socket {
	return &socket{out: make(chan struct{}, 8), renewed: make(chan Token, 8)}
}
func (s *socket) Renew(t Token)                  { s.renewed <- t }
func (s *socket) SignOut()                       { s.out <- struct{}{} }
func (s *socket) Latency() (time.Duration, bool) { return 42 * time.Millisecond, true }

// connect opens a socket of a user on a node.
func (r *rig) connect(n *node, user uuid.UUID) viewer.Viewer {
	r.t.Helper()
	return r.connectAs(n, user, newSocket(), true)
}

func (r *rig) connectAs(n *node, user uuid.UUID, s Socket, counts bool) viewer.Viewer {
	r.t.Helper()
	return r.begin(n, user, Opening{Counts: counts, Socket: s})
}

// connectIdle opens a socket of a user who has done nothing for nearly quick's
// IdleAfter: idle in a moment, and once active it stays so.
func (r *rig) connectIdle(n *node, user uuid.UUID) viewer.Viewer {
	r.t.Helper()
	return r.begin(n, user, Opening{Counts: true, Socket: newSocket(), Ago: quick.IdleAfter - 300*time.Millisecond})
}

func (r *rig) begin(n *node, user uuid.UUID, o Opening) viewer.Viewer {
	r.t.Helper()
	v := viewer.Viewer{Key: Key{Tenant: primary, User: user}, Session: uuid.New()}
	o.ID, o.Key, o.Device = v.Session, v.Key, DeviceWeb
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	n.Sessions.Begin(ctx, o)
	if ctx.Err() != nil {
		r.t.Fatal("the session was not written")
	}
	return v
}

func as(user uuid.UUID) viewer.Viewer { return viewer.Of(primary, user) }

// watch collects what a viewer is told of some users.
func (r *rig) watch(n *node, v viewer.Viewer, users ...uuid.UUID) <-chan View {
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	return n.Watch.Presence(ctx, v, users)
}

// next is the next thing told; the wait is a deadline and never a measurement.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case x, ok := <-from:
		if !ok {
			t.Fatal("the stream ended")
		}
		return x
	case <-time.After(time.Minute):
		t.Fatal("nothing was told")
	}
	panic("unreachable")
}

// until reads on until something told satisfies ok.
func until[T any](t *testing.T, from <-chan T, ok func(T) bool) T {
	t.Helper()
	for {
		if x := next(t, from); ok(x) {
			return x
		}
	}
}

func (r *rig) see(n *node, v viewer.Viewer, user uuid.UUID) View {
	r.t.Helper()
	views, err := n.Read.Presences(r.t.Context(), v, []uuid.UUID{user})
	if err != nil {
		r.t.Fatal(err)
	}
	return views[0]
}

func (r *rig) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
}

// eventually asks again until ok, as long as a test may take.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("never: " + what)
		}
	}
}

func ptr[T any](x T) *T { return &x }
