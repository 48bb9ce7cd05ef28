package postgres_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Whatever time a row holds is read, in either format, and as one that can be told.
func TestEveryTimeIsRead(t *testing.T) {
	t.Parallel()
	var odd atomic.Int64
	pool, err := postgres.Open(context.Background(), pgtest.New(t).Config().ConnString(), postgres.Options{MaxConns: 1, OddTime: func() { odd.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for text, want := range map[string]time.Time{
		"infinity": postgres.Latest, "-infinity": postgres.Earliest,
		"9999-12-31 23:59:59.999999+00": postgres.Latest, "10000-01-01 00:00:00+00": postgres.Latest, "294276-12-31 23:59:59+00": postgres.Latest,
		"0001-01-01 00:00:00+00": postgres.Earliest, "0001-12-31 00:00:00+00 BC": postgres.Earliest, "4713-01-01 00:00:00+00 BC": postgres.Earliest,
		"2026-01-31 12:00:00.000001+02": time.Date(2026, 1, 31, 10, 0, 0, 1000, time.UTC),
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
			odd.Store(0)
			var at time.Time
			var ptr, none *time.Time
			var list []time.Time
			q := fmt.Sprintf(`select t, t, null::timestamptz, array[t] from (select '%s'::timestamptz) x (t)`, text)
			if err := pool.QueryRow(context.Background(), q, mode).Scan(&at, &ptr, &none, &list); err != nil {
				t.Errorf("%s in mode %v: %v", text, mode, err)
				continue
			}
			if !at.Equal(want) || !ptr.Equal(want) || none != nil || !list[0].Equal(want) {
				t.Errorf("%s in mode %v: read as %v, %v, %v, %v; want %v", text, mode, at, ptr, none, list, want)
			}
			in := at.Year() == 2026 || text[0] == '9' || text == "0001-01-01 00:00:00+00"
			if (odd.Load() == 0) != in {
				t.Errorf("%s in mode %v: counted %d times", text, mode, odd.Load())
			}
		}
	}
	var at time.Time
	if err := pool.QueryRow(context.Background(), `select null::timestamptz`).Scan(&at); err == nil {
		t.Error("NULL is no time")
	}
}
