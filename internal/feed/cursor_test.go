package feed

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/sweep"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestACursorHoldsGoodForItsReader: no bit of it, no other user, tenant or
// filter, and nothing made up.
func TestACursorHoldsGoodForItsReader(t *testing.T) {
	t.Parallel()
	s := &sealer{[]byte("a secret of this test")}
	v := viewer.Of("primary", uuid.New())
	filter := []uuid.UUID{uuid.New(), uuid.New()}
	ring := func(v viewer.Viewer, channels []uuid.UUID) *keyring {
		k, err := s.keyring(v, channels)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	p := place{epoch: epochOf("e"), pos: 12, mark: -99, mode: inJoined, channel: uuid.New(), seq: -3, left: 7}
	cursor := ring(v, filter).seal(p)
	if got, err := ring(v, []uuid.UUID{filter[1], filter[0]}).open(cursor); err != nil || got != p {
		t.Errorf("opened %v, %v", got, err)
	}
	if cursor == ring(v, filter).seal(p) {
		t.Error("the same place twice is the same cursor: whether anything happened shows")
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || bytes.Contains(raw, p.channel[:]) {
		t.Errorf("it is not sealed: %v", err)
	}
	refused := func(what, c string, k *keyring) {
		t.Helper()
		_, err := k.open(c)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("another user", cursor, ring(viewer.Of("primary", uuid.New()), filter))
	refused("another tenant", cursor, ring(viewer.Of("other", v.User), filter))
	refused("no filter", cursor, ring(v, nil))
	refused("another filter", cursor, ring(v, filter[:1]))
	for _, c := range []string{"", "x", "null", cursor[1:], cursor[:len(cursor)-1], cursor + "A", cursor + "=", " " + cursor, strings.Repeat("A", len(cursor)),
		strings.Repeat("ü", len(cursor)/2), strings.Repeat("A", 1<<20), base64.RawURLEncoding.EncodeToString(p.bytes())} {
		refused("made up", c, ring(v, filter))
	}
	for i := range raw {
		for bit := range 8 {
			x := bytes.Clone(raw)
			x[i] ^= 1 << bit
			refused("a flipped bit", base64.RawURLEncoding.EncodeToString(x), ring(v, filter))
		}
	}
}

// reading is a database with one reader and a node.
func reading(t *testing.T) (*pgxpool.Pool, *Service, viewer.Viewer, []uuid.UUID) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	pool, err := postgres.Open(t.Context(), pgtest.NewURL(t), postgres.Options{MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	reader, channels := lawWorld(t, pool)
	return pool, runService(t, pool, &bells{}), viewer.Of("primary", reader), channels
}

func mustExec(t *testing.T, pool *pgxpool.Pool, q string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), q, args...); err != nil {
		t.Fatal(err)
	}
}

func say(t *testing.T, pool *pgxpool.Pool, channel uuid.UUID) (id uuid.UUID) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `insert into public.nchat_messages (channel_id, content) values ($1, 'x') returning id`, channel).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func mustSync(t *testing.T, s *Service, v viewer.Viewer, q Query) Page {
	t.Helper()
	p, err := s.Sync(t.Context(), v, q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCursorsThatCannotBeGoneOnFrom: each is told by its reason, by pages and by
// streams alike, and what is brought then is whole.
func TestCursorsThatCannotBeGoneOnFrom(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	first := say(t, pool, channels[0])
	start := mustSync(t, s, v, Query{})
	old := start.Cursor
	later := say(t, pool, channels[1])

	check := func(what, cursor string, want Reason) {
		t.Helper()
		p := mustSync(t, s, v, Query{Cursor: cursor})
		if p.Reset != want {
			t.Errorf("%s: sync says %q, want %q", what, p.Reset, want)
		}
		if want != "" && (len(p.Messages) != 2 || len(p.Channels) != lawChannels) {
			t.Errorf("%s: the fresh start brings %d messages of %d channels", what, len(p.Messages), len(p.Channels))
		}
		x, err := s.Open(t.Context(), v, cursor, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		b, err := x.Next(t.Context())
		if err != nil || b.Reset != want {
			t.Errorf("%s: a stream says %q, %v, want %q", what, b.Reset, err, want)
		}
	}
	check("as it should be", old, "")
	if p := mustSync(t, s, v, Query{Cursor: old}); len(p.Messages) != 1 || texts(p.Messages)[0].ID != later {
		t.Errorf("after %s: %+v", first, p.Messages)
	}

	st, err := loadState(t.Context(), pool, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := s.sealerOf(st).keyring(v, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("from the future", ring.seal(place{epoch: st.epoch, pos: st.pos + 1, mark: st.mark}), Changed)
	check("of another history", ring.seal(place{epoch: epochOf("a copy"), pos: st.pos, mark: st.mark}), Changed)
	check("of another entry that has its position", ring.seal(place{epoch: st.epoch, pos: st.pos, mark: st.mark + 1}), Changed)
	within := ring.seal(place{epoch: st.epoch, pos: st.pos, mark: st.mark, mode: inFresh})
	if _, err := s.Open(t.Context(), v, within, nil); err == nil {
		t.Error("a stream goes on within a sync that is not finished")
	}

	mustExec(t, pool, `update realtime.log set at = at - interval '2 hours'`) // the retention is one
	if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	check("older than the retention", old, Expired)
	st, err = loadState(t.Context(), pool, nowhere)
	if err != nil || st.pos != st.floor {
		t.Fatal(st, err)
	}
	newest := mustSync(t, s, v, Query{}).Cursor
	check("after all that is forgotten", newest, "")
	id := say(t, pool, channels[2])
	if p := mustSync(t, s, v, Query{Cursor: newest}); len(p.Messages) != 1 || texts(p.Messages)[0].ID != id {
		t.Errorf("positions do not go on after an empty log: %+v", p)
	}
	mustExec(t, pool, `update realtime.feed set generation = gen_random_uuid()`)
	if p := mustSync(t, s, v, Query{Cursor: newest}); p.Reset != Changed {
		t.Errorf("another generation: %q", p.Reset)
	}
}

// TestSince is the way in for a client that holds a time and no cursor.
func TestSince(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	say(t, pool, channels[0])
	mustSync(t, s, v, Query{}) // gives it its position
	var between time.Time
	if err := pool.QueryRow(t.Context(), `select clock_timestamp()`).Scan(&between); err != nil {
		t.Fatal(err)
	}
	id := say(t, pool, channels[0])
	p := mustSync(t, s, v, Query{Since: &between})
	if p.Reset != "" || len(p.Messages) != 1 || texts(p.Messages)[0].ID != id {
		t.Errorf("since: %q %+v", p.Reset, p.Messages)
	}
	next := say(t, pool, channels[3])
	if p = mustSync(t, s, v, Query{Cursor: p.Cursor}); len(p.Messages) != 1 || texts(p.Messages)[0].ID != next {
		t.Errorf("and on: %+v", p.Messages)
	}
	future := between.Add(time.Hour)
	if p := mustSync(t, s, v, Query{Since: &future}); len(p.Messages) != 0 {
		t.Errorf("of the future: %+v", p.Messages)
	}
	mustExec(t, pool, `update realtime.log set at = at - interval '2 hours'`)
	if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if p := mustSync(t, s, v, Query{Since: &between}); p.Reset != Expired || len(p.Messages) != 3 {
		t.Errorf("forgotten: %q %+v", p.Reset, p.Messages)
	}
	for what, q := range map[string]Query{"both": {Cursor: p.Cursor, Since: &between}, "first": {First: MaxFirst + 1}, "negative": {First: -1}, "wait": {Wait: MaxWait + 1}} {
		_, err := s.Sync(t.Context(), v, q)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}
