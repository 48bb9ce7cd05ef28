package feed

import (
	"context"
	"errors"
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
// it is turned, and whose old ones are given to nobody then; and back.
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
		return turn.Load() == (c.Config().Database == to.Database), nil
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

// promotion is a node whose database gives way to another with the same users and channels,
// and nothing written; turn does so, and back.
func promotion(t *testing.T) (old *pgxpool.Pool, s *Service, turn *atomic.Bool) {
	t.Helper()
	old, standby := placeWorld(t), placeWorld(t)
	for _, pool := range []*pgxpool.Pool{old, standby} {
		if err := newService(pool, &bells{}).Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	pool, turn := turned(t, old.Config().ConnString(), standby.Config().ConnString())
	return old, newService(pool, &bells{}), turn
}

// TestTheTailsEntriesAreToldOfTheirServerAlone: what is read for them after another one has
// taken its place, messages or rights, tells nothing of them; nor is anything told until the
// tail begins anew, and then that alone.
func TestTheTailsEntriesAreToldOfTheirServerAlone(t *testing.T) {
	t.Parallel()
	old, s, turn := promotion(t)
	readOn := func() {
		t.Helper()
		if _, err := s.readOn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for what, write := range map[string]func(){
		"messages that it lacks": func() {},
		"rights that it has still": func() {
			defer s.tail.hub.Subscribe(topic{id: fixed('c', 0)}).Close() // the tail reads the messages
			mustExec(t, old, `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, fixed('c', 0), fixed('u', 0))
			say(t, old, fixed('c', 0))
			if err := s.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			readOn()
		},
	} {
		turn.Store(false)
		readOn()
		v := viewer.Of("primary", fixed('u', 0))
		before := opened(t, s, v, "", nil)
		cursor := before.Here()
		before.Close()
		say(t, old, fixed('c', 1))
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		readOn() // and nobody waits for it
		x := opened(t, s, v, cursor, nil)
		write()
		turn.Store(true)
		if b, err := x.read(t.Context()); !errors.Is(err, errOther) || len(b.Items) > 0 {
			t.Errorf("%s: told %+v: %v", what, b.Items, err)
		}
		readOn()
		if b, err := x.Next(t.Context()); err != nil || b.Reset != Changed {
			t.Errorf("%s: %+v, %v", what, b, err)
		}
		x.Close()
	}
}

// TestAPageIsOfOneServer: which messages it has, and what these say.
func TestAPageIsOfOneServer(t *testing.T) {
	t.Parallel()
	old, s, turn := promotion(t)
	id, v := say(t, old, fixed('c', 0)), viewer.Of("primary", fixed('u', 0))
	s.o.Load = func(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Body, error) {
		turn.Store(true)
		return loadText(ctx, db, tenant, ids)
	}
	if p, err := s.Past.Page(t.Context(), v, HistoryQuery{Channel: fixed('c', 0)}); err != nil || len(p.Messages) != 1 || !turn.Load() {
		t.Errorf("%+v: %v", p, err)
	}
	turn.Store(false)
	if got, err := s.Past.Visible(t.Context(), v, []uuid.UUID{id}); err != nil || len(got) != 1 || !turn.Load() {
		t.Errorf("%+v: %v", got, err)
	}
}
