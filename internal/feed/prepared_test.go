package feed

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestPreparedTransactionsAndSavepoints: a change that is prepared, outlives a
// crash and is committed long after thousands of others is told once, and what
// was rolled back to a savepoint never. Postgres prepares nothing that notifies:
// such a writer sets realtime.quiet.
func TestPreparedTransactionsAndSavepoints(t *testing.T) {
	t.Parallel()
	own := pgtest.Cluster(t)
	pool := pgtest.Pool(t, own.Migrated())
	_, channels := lawWorld(t, pool)
	mustExec(t, pool, `alter system set max_prepared_transactions = 10`)
	own.Stop()
	own.Start()
	pool.Reset()

	conn, err := pgx.Connect(t.Context(), own.URL())
	if err != nil {
		t.Fatal(err)
	}
	late, undone := uuid.New(), uuid.New()
	say := func(id uuid.UUID) string {
		return fmt.Sprintf(`insert into public.nchat_messages (id, channel_id, content) values ('%s', '%s', 'x')`, id, channels[0])
	}
	for _, q := range []string{`begin`, `set local realtime.quiet = on`, `savepoint a`, say(undone), `rollback to a`, say(late), `savepoint b`, say(uuid.New()), `release b`, `prepare transaction 'late'`} {
		if _, err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(q, err)
		}
	}
	_ = conn.Close(t.Context())
	others := func() {
		t.Helper()
		for range 3 { // two sequencers, and looks at what is clear
			mustExec(t, pool, `insert into public.nchat_messages (channel_id, content) select $1, 'y' from generate_series(1, 1500)`, channels[0])
			mustExec(t, pool, `update realtime.head set at = '-infinity'`)
			done := make(chan error, 2)
			for range 2 {
				go func() {
					_, err := pool.Exec(t.Context(), `select realtime.sequence(1000, false, true), realtime.sequence(1000, false)`)
					done <- err
				}()
			}
			for range 2 {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	others()
	own.Abort()
	own.Start()
	pool.Reset()
	others()
	mustExec(t, pool, `commit prepared 'late'`)
	for number(t, pool, `select realtime.sequence(1000, false, true)`) > 0 {
	}
	if n := number(t, pool, `select count(*) from realtime.log where message_id = $1`, late); n != 1 {
		t.Errorf("the late one is told %d times", n)
	}
	if n := number(t, pool, `select count(*) from realtime.log where message_id = $1`, undone); n != 0 {
		t.Error("what was undone is told")
	}
	if n := number(t, pool, `select count(*) from public.nchat_messages o full join (select message_id, count(*) as n from realtime.log where message_id is not null group by 1) l on l.message_id = o.id where l.n is distinct from 1 or o.id is null`); n != 0 {
		t.Errorf("%d messages are lost or doubled", n)
	}
	dense(t, pool)
}
