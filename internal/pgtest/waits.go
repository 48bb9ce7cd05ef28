package pgtest

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// WaitsForLock is until so many transactions of a test's database wait for a lock, or done
// is closed.
func WaitsForLock(t testing.TB, pool *pgxpool.Pool, n int, done <-chan struct{}) {
	t.Helper()
	const q = `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
	for end := time.Now().Add(time.Minute); ; {
		var waiting int
		if err := pool.QueryRow(t.Context(), q).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		if waiting >= n {
			return
		}
		select {
		case <-done:
			return
		default:
		}
		if time.Now().After(end) {
			t.Fatal("nobody waits")
		}
	}
}
