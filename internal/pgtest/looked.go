package pgtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Looked runs a statement, and is how many rows the step of it took, or passed over, that
// took most; with the plan.
func Looked(t testing.TB, pool *pgxpool.Pool, q string, args ...any) (most float64, plan string) {
	t.Helper()
	rows, err := pool.Query(t.Context(), "explain (analyze, costs off, timing off, summary off) "+q, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		for _, mark := range []string{"actual rows=", "Rows Removed by Filter: ", "Rows Removed by Index Recheck: "} {
			var n float64
			if _, cut, ok := strings.Cut(line, mark); ok {
				if _, err := fmt.Sscanf(cut, "%g", &n); err != nil {
					t.Fatal(err, line)
				}
				most = max(most, n)
			}
		}
	}
	return most, strings.Join(lines, "\n")
}
