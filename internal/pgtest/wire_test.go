package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestWorkIsCounted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	wire, url := NewWire(t, NewURL(t))
	pool := Pool(t, url)
	query := func(q string, args ...any) func() {
		return func() {
			if _, err := pool.Exec(ctx, q, args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, c := range map[string]struct {
		want Work
		do   func()
	}{
		"nothing":           {Work{}, func() {}},
		"three rows":        {Work{1, 3}, query(`select generate_series(1, $1::int)`, 3)},
		"no row":            {Work{1, 0}, query(`select from realtime.log where pos = $1`, -1)},
		"many":              {Work{1, 5000}, query(`select generate_series(1, $1::int)`, 5000)},
		"a statement alone": {Work{1, 1}, query(`select 1`)},
		"a batch": {Work{10, 10}, func() {
			b := &pgx.Batch{}
			for i := range 10 {
				b.Queue(`select $1::int + 2`, i)
			}
			if err := pool.SendBatch(ctx, b).Close(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		c.do() // prepared, and connected
		if got := wire.During(c.do); got != c.want {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
}
