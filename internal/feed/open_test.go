package feed

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// resting is a database with one reader and a node that does not run: what is
// committed waits in the inbox.
func resting(t *testing.T) (*pgxpool.Pool, *Service, viewer.Viewer, []uuid.UUID) {
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
	return pool, newService(pool, &bells{}), viewer.Of("primary", reader), channels
}

// TestNowIsAfterWhatIsCommitted: a stream that begins now, because it has no
// cursor or one that leads nowhere any more, brings nothing that was committed
// before it was opened, also where nobody had given that a position yet.
func TestNowIsAfterWhatIsCommitted(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		old  bool // it is opened with a cursor of which the rest is forgotten
		one  bool // channel is asked for
		want Reason
	}{
		"all of the viewer's": {want: Started},
		"one channel":         {one: true, want: Started},
		"a cursor too old":    {old: true, want: Expired},
	} {
		pool, s, v, channels := resting(t)
		cursor := ""
		if c.old {
			x := opened(t, s, v, "", nil)
			cursor = x.Here()
			say(t, pool, channels[0])
			if err := s.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustExec(t, pool, `update realtime.head set floor = realtime.last_pos(), mark = realtime.mark_at(realtime.last_pos())`)
		}
		var only []uuid.UUID
		if c.one {
			only = channels[:1]
		}
		say(t, pool, channels[0])
		x := opened(t, s, v, cursor, only)
		if why := x.Begins(); why != c.want {
			t.Errorf("%s: it begins anew because %q, want %q", what, why, c.want)
		}
		after := say(t, pool, channels[0])
		run(t, s)
		if got, kinds := told(t, x, after); len(got) != 1 || kinds != "created" {
			t.Errorf("%s: told %s", what, kinds)
		}
	}
}

func opened(t *testing.T, s *Service, v viewer.Viewer, cursor string, only []uuid.UUID) *Stream {
	t.Helper()
	x, err := s.Open(t.Context(), v, cursor, only)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}
