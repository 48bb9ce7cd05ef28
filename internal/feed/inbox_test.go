package feed

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// TestTheInboxIsSearchedWhereRowsCanBe: the place moves past what is drained
// and never past a transaction that has not ended.
func TestTheInboxIsSearchedWhereRowsCanBe(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	pool, err := postgres.Open(t.Context(), pgtest.NewURL(t), postgres.Options{MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	_, channels := lawWorld(t, pool)
	number := func(q string) (n int64) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), q).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	say := func(c uuid.UUID) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), `insert into public.nchat_messages (channel_id, content) values ($1, 'x')`, c); err != nil {
			t.Fatal(err)
		}
	}
	look := func() int64 {
		t.Helper()
		if _, err := pool.Exec(t.Context(), `update realtime.head set at = '-infinity'`); err != nil {
			t.Fatal(err)
		}
		number(`select realtime.sequence(1000, false)`)
		return number(`select clear from realtime.head`)
	}
	say(channels[0])
	first := number(`select last_value from realtime.inbox_id_seq`)
	held, err := pool.BeginTx(t.Context(), pgx.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), `insert into public.nchat_messages (channel_id, content) values ($1, 'held')`, channels[1]); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		say(channels[2])
		if at := look(); at > first {
			t.Fatalf("a transaction may still bring row %d, and the inbox is searched above %d", first+1, at)
		}
	}
	if err := held.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := number(`select count(*) from realtime.log`)
	if number(`select realtime.sequence(1000, false)`) != 1 || number(`select count(*) from realtime.log`) != log+1 {
		t.Error("the held row has no position")
	}
	// A long snapshot that writes nothing, as a backup's, does not hold it back.
	backup, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = backup.Rollback(t.Context()) }()
	if _, err := backup.Exec(t.Context(), `select count(*) from realtime.inbox`); err != nil {
		t.Fatal(err)
	}
	say(channels[2])
	last := number(`select last_value from realtime.inbox_id_seq`)
	// Transactions of other tests' databases hold it back too, until they end.
	for at, end := look(), time.Now().Add(2*time.Minute); at != last; at = look() {
		if time.Now().After(end) {
			t.Fatalf("searched above %d, all up to %d is gone", at, last)
		}
	}
	say(channels[2])
	if number(`select realtime.waiting()::int`) != 1 || number(`select realtime.sequence(1000, false)`) != 1 || number(`select realtime.waiting()::int`) != 0 {
		t.Error("a row above the place is not found")
	}
}

// TestALongTransactionKeepsItsPlace: nothing else happens between its first row
// and the look that writes down who may still bring rows.
func TestALongTransactionKeepsItsPlace(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	_, channels := lawWorld(t, pool)
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	mustExec(t, pool, `update realtime.head set at = '-infinity'`)
	held, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), `insert into public.nchat_messages (channel_id, content) values ($1, 'held')`, channels[0]); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustExec(t, pool, `select realtime.sequence(1000, false)`)
		mustExec(t, pool, `update realtime.head set at = '-infinity'`)
	}
	if err := held.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	var n int
	if err := pool.QueryRow(t.Context(), `select count(*) from realtime.log where kind = 'created' and channel_id = $1`, channels[0]).Scan(&n); err != nil || n != 1 {
		t.Fatalf("the log holds it %d times, %v", n, err)
	}
}
