package feed

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// turned is a pool on a database whose new connections lead to another one once
// it is turned, and whose old ones are given to nobody then.
func turned(t *testing.T, url, other string) (pool *pgxpool.Pool, turn *atomic.Bool) {
	t.Helper()
	to, err := pgx.ParseConfig(other)
	if err != nil {
		t.Fatal(err)
	}
	turn = &atomic.Bool{}
	cfg := pgtest.Pool(t, url).Config()
	cfg.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		if turn.Load() {
			c.Database = to.Database
		}
		return nil
	}
	cfg.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) {
		return !turn.Load() || c.Config().Database == to.Database, nil
	}
	if pool, err = pgxpool.NewWithConfig(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, turn
}

// TestEntriesAndTheirMessagesAreOfOneServer: another one takes its place between the
// two, and lacks the newest messages. They are not told as deleted.
func TestEntriesAndTheirMessagesAreOfOneServer(t *testing.T) {
	t.Parallel()
	old, standby := placeWorld(t), pgtest.NewURL(t)
	pool, turn := turned(t, old.Config().ConnString(), standby)
	s := newService(pool, &bells{})
	s.o.Load = func(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Body, error) {
		turn.Store(true)
		return loadText(ctx, db, tenant, ids)
	}
	sub := s.tail.hub.Subscribe(topic{id: fixed('c', 0)})
	defer sub.Close()
	if _, err := s.readOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	from, mark := s.tail.end()
	mustExec(t, old, `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, 'x')`, fixed('m', 1), fixed('c', 0))
	if err := s.sequencer.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.readOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	items, st, _ := s.tail.since(from)
	if !turn.Load() || len(items) == 0 || items[len(items)-1].Body == nil {
		t.Errorf("the tail: %+v", items)
	}
	turn.Store(false)
	x := &Stream{s: s, sub: sub, v: viewer.Of("primary", fixed('u', 0)), only: []uuid.UUID{fixed('c', 0)}, gs: grants{}, epoch: st.epoch, pos: from, mark: mark}
	if b, err := x.readTable(t.Context(), st); err != nil || !turn.Load() || len(b.Items) == 0 || b.Items[len(b.Items)-1].Body == nil {
		t.Errorf("a stream: %+v, %v", b, err)
	}
}
