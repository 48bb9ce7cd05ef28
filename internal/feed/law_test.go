package feed

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// text is a message as these tests read it.
type text struct {
	ID, Channel uuid.UUID
	Said        string
	Erased      bool
}

func (x text) Place() (uuid.UUID, bool) { return x.Channel, x.Erased }
func (x text) There() bool              { return true }
func (x text) Size() int                { return 1 << 10 }

func loadText(ctx context.Context, db postgres.DB, _ string, ids []uuid.UUID) (map[uuid.UUID]Body, error) {
	rows, err := db.Query(ctx, `select id, channel_id, coalesce(content, ''), is_deleted from public.nchat_messages where id = any($1)`, ids)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[text])
	out := map[uuid.UUID]Body{}
	for _, x := range list {
		out[x.ID] = x
	}
	return out, err
}

// texts are a page's messages.
func texts(bodies []Body) []text {
	out := make([]text, len(bodies))
	for i, b := range bodies {
		out[i] = b.(text)
	}
	return out
}

// bells ring at every service of a test, as the bus would.
type bells struct {
	mu  sync.Mutex
	all []*Service // guarded by mu
}

func (b *bells) Ring(topics ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.all {
		for _, t := range topics {
			s.Notify(t)
		}
	}
}

// newService is one node's feed, which does not run yet.
func newService(pool *pgxpool.Pool, b *bells) *Service {
	s := New(Options{Pool: pool, Bell: b, Log: slog.New(slog.DiscardHandler), Retention: time.Hour, Load: loadText,
		Senders: func(context.Context, postgres.DB, []int64) (map[int64][]uuid.UUID, error) {
			return nil, nil
		}})
	b.mu.Lock()
	b.all = append(b.all, s)
	b.mu.Unlock()
	return s
}

// runService is one node's feed, until the test ends.
func runService(t *testing.T, pool *pgxpool.Pool, b *bells) *Service {
	t.Helper()
	s := newService(pool, b)
	run(t, s)
	return s
}

func run(t *testing.T, s *Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

const (
	lawWriters  = 16
	lawChannels = 10
	lawHeld     = 10 * time.Second // a transaction stays open beside all others
	lawPatience = 2 * time.Minute  // for what a reader lacks when all has been written
)

func lawEvents(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("FEED_EVENTS"))
	if err != nil {
		return 6000
	}
	t.Logf("%d events", n)
	return n
}

// lawWorld is channels with one reader, and a second table that only gives ids.
func lawWorld(t *testing.T, pool *pgxpool.Pool) (reader uuid.UUID, channels []uuid.UUID) {
	t.Helper()
	reader = uuid.New()
	for _, q := range []string{
		`create table naive (id bigserial primary key, message_id uuid not null)`,
		`insert into public.nchat_users (id, email, display_name) values ('` + reader.String() + `', 'reader@example.com', 'r'), (gen_random_uuid(), 'writer@example.com', 'w')`,
	} {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for i := range lawChannels {
		id := uuid.New()
		channels = append(channels, id)
		if _, err := pool.Exec(t.Context(), `insert into public.nchat_channels (id, name, slug, type) values ($1, 'c', $2, 'private')`, id, fmt.Sprint("law", i)); err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(t.Context(), `insert into public.nchat_channel_members (channel_id, user_id) select $1, id from public.nchat_users`, id); err != nil {
			t.Fatal(err)
		}
	}
	return reader, channels
}

// written is what committed, by channel, in the order of its numbers, and
// whether all is.
type written struct {
	mu   sync.Mutex
	ids  map[uuid.UUID]struct{} // guarded by mu
	done chan struct{}
	at   time.Time // when done was closed
}

// writeOn lets a writer run transactions of 0 to 50 ms, one in ten rolled back
// and one in ten with a savepoint that is.
func (w *written) writeOn(t *testing.T, pool *pgxpool.Pool, channels []uuid.UUID, seed uint64, left *atomic.Int64) {
	r := rand.New(rand.NewPCG(seed, 4)) //nolint:gosec // a test's dice
	for left.Add(-1) >= 0 {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		id, back := uuid.New(), r.IntN(10) == 0
		err = func() error {
			tx, err := conn.Begin(t.Context())
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback(t.Context()) }()
			c := channels[r.IntN(len(channels))]
			if r.IntN(10) == 0 {
				if _, err := tx.Exec(t.Context(), `savepoint s`); err != nil {
					return err
				}
				if err := lawWrite(t.Context(), tx, c, uuid.New()); err != nil {
					return err
				}
				if _, err := tx.Exec(t.Context(), `rollback to savepoint s`); err != nil {
					return err
				}
			}
			if err := lawWrite(t.Context(), tx, c, id); err != nil {
				return err
			}
			if r.IntN(4) == 0 { // held open, as long transactions are
				if _, err := tx.Exec(t.Context(), `select pg_sleep($1)`, float64(r.IntN(50))/1000); err != nil {
					return err
				}
			}
			if back {
				return tx.Rollback(t.Context())
			}
			return tx.Commit(t.Context())
		}()
		conn.Release()
		if err != nil {
			t.Errorf("writing: %v", err)
			return
		}
		if !back {
			w.mu.Lock()
			w.ids[id] = struct{}{}
			w.mu.Unlock()
		}
	}
}

func lawWrite(ctx context.Context, tx pgx.Tx, channel, id uuid.UUID) error {
	if _, err := tx.Exec(ctx, `insert into naive (message_id) values ($1)`, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, 'x')`, id, channel)
	return err
}

// seen is what one reader was told.
type seen struct {
	name string
	ids  map[uuid.UUID]int
	last map[uuid.UUID]int64 // number, by channel
	bad  []string
}

func newSeen(name string) *seen {
	return &seen{name: name, ids: map[uuid.UUID]int{}, last: map[uuid.UUID]int64{}}
}

func (s *seen) note(it Entry) {
	if it.Kind != Created {
		return
	}
	if s.ids[it.Message]++; s.ids[it.Message] > 1 {
		s.bad = append(s.bad, "twice: "+it.Message.String())
	}
	if it.Seq <= s.last[it.Channel] {
		s.bad = append(s.bad, fmt.Sprintf("out of order: %d after %d", it.Seq, s.last[it.Channel]))
	}
	s.last[it.Channel] = it.Seq
}

// stream reads by a stream that is dropped and resumed at random, on any node.
func (w *written) stream(t *testing.T, nodes []*Service, v viewer.Viewer, seed uint64, start string) *seen {
	r, s, cursor := rand.New(rand.NewPCG(seed, 5)), newSeen("stream"), start //nolint:gosec // a test's dice
	for w.waits() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(200))*time.Millisecond)
		x, err := nodes[r.IntN(len(nodes))].Open(t.Context(), v, cursor, nil)
		if err != nil {
			t.Error(err)
			cancel()
			return s
		}
		for {
			b, err := eitherWay(ctx, x)
			if err != nil {
				break
			}
			if b.Reset != "" {
				s.bad = append(s.bad, "reset: "+string(b.Reset))
			}
			stop := len(b.Items)
			if stop > 0 && r.IntN(4) == 0 {
				stop = 1 + r.IntN(stop) // the connection breaks within the batch
			}
			for _, it := range b.Items[:stop] {
				s.note(it.Entry)
				cursor = x.Cursor(it.Entry)
			}
			if stop < len(b.Items) {
				break
			}
		}
		x.Close()
		cancel()
		if w.all(s) {
			break
		}
	}
	return s
}

// all reports whether the writers are done and the reader has what they wrote.
func (w *written) all(s *seen) bool {
	select {
	case <-w.done:
		return len(s.ids) >= len(w.ids)
	default:
		return false
	}
}

// pages reads by pages of any size, on any node.
func (w *written) pages(t *testing.T, nodes []*Service, v viewer.Viewer, seed uint64, start string) *seen {
	r, s, cursor := rand.New(rand.NewPCG(seed, 6)), newSeen("pages"), start //nolint:gosec // a test's dice
	for w.waits() && !w.all(s) {
		p, err := nodes[r.IntN(len(nodes))].Sync(t.Context(), v, Query{Cursor: cursor, First: 1 + r.IntN(300), Wait: time.Duration(r.IntN(100)) * time.Millisecond})
		if err != nil {
			t.Error(err)
			return s
		}
		if p.Reset != "" {
			s.bad = append(s.bad, "reset: "+string(p.Reset))
		}
		for _, m := range texts(p.Messages) {
			if s.ids[m.ID]++; s.ids[m.ID] > 1 {
				s.bad = append(s.bad, "twice: "+m.ID.String())
			}
		}
		cursor = p.Cursor
	}
	return s
}

// waits reports whether a reader that lacks something goes on reading.
func (w *written) waits() bool {
	select {
	case <-w.done:
		return time.Since(w.at) < lawPatience
	default:
		return true
	}
}

// naive reads where id > cursor, as is often written.
func (w *written) naive(t *testing.T, pool *pgxpool.Pool) *seen {
	s, cursor := newSeen("id > cursor"), int64(0)
	for over := false; ; {
		select {
		case <-w.done:
			if over {
				return s
			}
			over = true // once more, after the last commit
		default:
		}
		rows, err := pool.Query(t.Context(), `select id, message_id from naive where id > $1 order by id`, cursor)
		if err != nil {
			t.Error(err)
			return s
		}
		var id uuid.UUID
		if _, err := pgx.ForEachRow(rows, []any{&cursor, &id}, func() error { s.ids[id]++; return nil }); err != nil {
			t.Error(err)
			return s
		}
	}
}

func (w *written) lost(s *seen) (n int) {
	for id := range w.ids {
		if s.ids[id] == 0 {
			n++
		}
	}
	return n
}

// trace is what the tables know of the first message a reader lacks.
func (w *written) trace(t *testing.T, pool *pgxpool.Pool, s *seen) (out string) {
	t.Helper()
	for id := range w.ids {
		if s.ids[id] > 0 {
			continue
		}
		const q = `select concat_ws(' ', $1::text, 'message', (select m.channel_id || '/' || m.seq from realtime.messages m where m.message_id = $1::uuid),
		  'log', (select l.pos from realtime.log l where l.message_id = $1::uuid), 'table', exists (select from public.nchat_messages where id = $1::uuid),
		  'head', realtime.last_pos(), 'stint', (select s.from_seq from realtime.stints s, realtime.messages m where m.message_id = $1::uuid and s.channel_id = m.channel_id limit 1))`
		if err := pool.QueryRow(t.Context(), q, id.String()).Scan(&out); err != nil {
			return err.Error()
		}
		break
	}
	return out
}

// TestNothingIsLostTwiceOrOutOfOrder: many writers whose transactions last, are
// rolled back and overlap one held open for ten seconds; readers that stream, drop,
// resume and page, on two nodes. The same readers' rule, id > cursor, loses.
func TestNothingIsLostTwiceOrOutOfOrder(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	url := pgtest.NewURL(t)
	pool, err := postgres.Open(t.Context(), url, postgres.Options{MaxConns: 40})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	reader, channels := lawWorld(t, pool)
	v := viewer.Of("primary", reader)
	b := &bells{}
	nodes := []*Service{runService(t, pool, b), runService(t, pool, b)}
	first, err := nodes[0].Sync(t.Context(), v, Query{})
	if err != nil {
		t.Fatal(err)
	}
	w := &written{ids: map[uuid.UUID]struct{}{}, done: make(chan struct{})}
	held := lawHold(t, pool, w)
	var left atomic.Int64
	left.Store(int64(lawEvents(t)))
	var writers, readers sync.WaitGroup
	results := make(chan *seen, 16)
	for i := range 3 {
		readers.Go(func() { results <- w.stream(t, nodes, v, uint64(i), first.Cursor) }) //nolint:gosec // small
		readers.Go(func() { results <- w.pages(t, nodes, v, uint64(i), first.Cursor) })  //nolint:gosec // small
	}
	naive := make(chan *seen, 1)
	readers.Go(func() { naive <- w.naive(t, pool) })
	for i := range lawWriters {
		writers.Go(func() { w.writeOn(t, pool, channels, uint64(i), &left) }) //nolint:gosec // small
	}
	writers.Go(held)
	writers.Wait()
	w.at = time.Now()
	close(w.done)
	readers.Wait()
	close(results)
	for s := range results {
		if n := w.lost(s); n > 0 || len(s.ids) != len(w.ids) || len(s.bad) > 0 {
			t.Errorf("%s: of %d lost %d, saw %d; %d wrong, first %.1v; %s", s.name, len(w.ids), n, len(s.ids), len(s.bad), s.bad, w.trace(t, pool, s))
		}
	}
	if n := w.lost(<-naive); n == 0 {
		t.Error("id > cursor lost nothing: this test cannot tell")
	} else {
		t.Logf("id > cursor loses %d of %d", n, len(w.ids))
	}
	dense(t, pool)
}

// lawHold opens a transaction that is committed long after it has written.
func lawHold(t *testing.T, pool *pgxpool.Pool, w *written) (commit func()) {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `set local idle_in_transaction_session_timeout = 0`); err != nil {
		t.Fatal(err)
	}
	id, alone := uuid.New(), uuid.New()
	var user uuid.UUID
	if err := pool.QueryRow(t.Context(), `select id from public.nchat_users where email = 'reader@example.com'`).Scan(&user); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{ // in a channel of its own: it would hold up the others' numbers
		`insert into public.nchat_channels (id, name, slug, type) values ('` + alone.String() + `', 'held', 'held', 'private')`,
		`insert into public.nchat_channel_members (channel_id, user_id) values ('` + alone.String() + `', '` + user.String() + `')`,
	} {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := lawWrite(t.Context(), tx, alone, id); err != nil {
		t.Fatal(err)
	}
	return func() {
		if !wait.For(t.Context(), lawHeld) {
			t.Error("the test ended first")
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Error(err)
			return
		}
		w.mu.Lock()
		w.ids[id] = struct{}{}
		w.mu.Unlock()
	}
}

// dense checks the log itself: positions without a gap, numbers without one.
func dense(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for what, q := range map[string]string{
		"positions": `select max(pos) - count(*) from realtime.log`,
		"numbers":   `select coalesce(sum(gap), 0) from (select max(seq) - count(*) as gap from realtime.messages group by channel_id) g`,
		"inbox":     `select count(*) from realtime.inbox`,
	} {
		var n int
		if err := pool.QueryRow(t.Context(), q).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d %v", what, n, err)
		}
	}
}
