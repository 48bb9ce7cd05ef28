package events

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

const patient = time.Minute // what a test waits at most

var (
	alice = viewer.Of("primary", demo.Alice)
	bob   = viewer.Of("primary", demo.Bob)
)

// rig is the demo world with the log, receipts and events of one node.
type rig struct {
	*Service
	t    *testing.T
	pool *pgxpool.Pool

	presence *presence.Service
}

// Ring is the doorbell: there is one node.
func (r *rig) Ring(topics ...string) {
	for _, topic := range topics {
		if topic == "log" {
			r.o.Feed.Notify(topic)
		}
	}
}

// nonode: no socket is opened here.
type nonode struct{}

func (nonode) Identity() (uuid.UUID, int64, bool) { return uuid.Nil, 0, false }
func (nonode) Lost(int64)                         {}

// at hand is presence that has its answer before anybody asks.
type atHand struct{}

func (atHand) Presence(_ context.Context, _ viewer.Viewer, users []uuid.UUID) <-chan presence.View {
	out := make(chan presence.View, len(users))
	for _, u := range users {
		out <- presence.View{UserID: u, Status: presence.Online}
	}
	return out
}

func (atHand) Settings(context.Context, viewer.Viewer) (<-chan presence.Settings, error) {
	out := make(chan presence.Settings, 1)
	out <- presence.Settings{}
	return out, nil
}

// newRig is a node that does not run: what is committed waits in the inbox.
func newRig(t *testing.T) *rig {
	t.Helper()
	return rigOn(t, pgtest.New(t))
}

func rigOn(t *testing.T, pool *pgxpool.Pool) *rig {
	t.Helper()
	r := &rig{t: t, pool: pool}
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	p := presence.New(presence.Options{Pool: r.pool, Clock: clock.New(), Bell: r, Node: nonode{}, Log: log})
	r.presence = p
	f := feed.New(feed.Options{Pool: r.pool, Bell: r, Log: log, Retention: time.Hour, Senders: receipt.Senders,
		Load: func(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]feed.Body, error) {
			list, err := message.Reader{}.Load(ctx, db, tenant, ids)
			out := make(map[uuid.UUID]feed.Body, len(list))
			for id, m := range list {
				out[id] = m
			}
			return out, err
		}})
	receipts := receipt.New(receipt.Options{Pool: r.pool, Privacy: p.Read, Committed: f.Committed, Settle: f.CatchUp, Log: log})
	r.Service = New(Options{Feed: f, Receipts: receipts, Presence: atHand{}, Log: log})
	return r
}

// run lets the log move, until the test ends.
func (r *rig) run() *rig {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.o.Feed.Run(ctx); close(done) }()
	r.t.Cleanup(func() { cancel(); <-done })
	return r
}

func (r *rig) exec(q string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), q, args...); err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
	r.o.Feed.Committed()
}

// says sends a message, past all of ours, and answers its id.
func (r *rig) says(user, channel uuid.UUID, content string) uuid.UUID {
	r.t.Helper()
	id := uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, $4)`, id, channel, user, content)
	return id
}

// setBack makes the database one with another history, as a failover does.
func (r *rig) setBack() {
	r.t.Helper()
	r.exec(`update realtime.feed set generation = gen_random_uuid()`)
	r.o.Feed.Notify("log")
}

// begin begins a subscription that ends with the test, and what it fails with.
func begin[T any](r *rig, open func(ctx context.Context, fail func(error)) (<-chan T, error)) (<-chan T, <-chan error) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	out, err := open(ctx, func(err error) { failed <- err })
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		cancel()
		for range out { //nolint:revive // until it has ended
		}
	})
	return out, failed
}

// events begins an events subscription of v.
func (r *rig) events(v viewer.Viewer, q Query) <-chan Event {
	r.t.Helper()
	out, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan Event, error) { return r.Events(ctx, v, q, fail) })
	return out
}

// next is what comes next; false: the subscription has ended.
func next[T any](t *testing.T, in <-chan T) (x T, open bool) {
	t.Helper()
	select {
	case x, open = <-in:
		return x, open
	case <-time.After(patient):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

// want reads one event, whose payload is of type P.
func want[P Payload](t *testing.T, in <-chan Event) (P, string) {
	t.Helper()
	e, open := next(t, in)
	p, ok := e.Payload.(P)
	if !open || !ok {
		t.Fatalf("%T %+v comes instead of %T", e.Payload, e.Payload, p)
	}
	return p, e.Cursor
}
