package pgtest

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

func TestRoundTripsAreCounted(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), NewURL(t)
	pool, trips := Counted(t, url)
	other := Pool(t, url)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	query := func(db postgres.DB) {
		ok(db.QueryRow(ctx, `select $1::int + 1`, 1).Scan(&n))
	}
	for what, c := range map[string]struct {
		want int
		do   func()
	}{
		"nothing":            {0, func() {}},
		"another pool's":     {0, func() { query(other) }},
		"a query":            {1, func() { query(pool) }},
		"two":                {2, func() { query(pool); query(pool) }},
		"two simple in one":  {1, func() { _, err := pool.Exec(ctx, `select 1; select 2`); ok(err) }},
		"a long argument":    {1, func() { _, err := pool.Exec(ctx, `select $1::bytea`, make([]byte, 5<<20)); ok(err) }},
		"a refused one":      {1, func() { _, _ = pool.Exec(ctx, `select 1 / 0`) }},
		"a transaction of 1": {3, func() { ok(pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { query(tx); return nil })) }},
		"a batch of 10": {1, func() {
			b := &pgx.Batch{}
			for i := range 10 {
				b.Queue(`select $1::int + 2`, i)
			}
			ok(pool.SendBatch(ctx, b).Close())
		}},
	} {
		if got := trips.Fewest(c.do); got != c.want {
			t.Errorf("%s: %d round trips, want %d", what, got, c.want)
		}
	}
}

// Wherever a write ends: in a head, in a body, after several messages.
func TestMessagesAreFoundInPieces(t *testing.T) {
	t.Parallel()
	pieces := []string{"\x00\x00\x00\x08\x00\x03\x00\x00", // the startup message
		"Q\x00\x00\x00\x08SQS\x00", "P\x00\x00\x00\x06SQ", "S\x00\x00\x00\x04", "B\x00\x00\x00\x05Q", "S\x00\x00\x00\x04"}
	stream := strings.Join(pieces, "")
	for size := 1; size <= len(stream); size++ {
		c := &countedConn{sent: messages{have: 1}}
		asked, want := 0, 0
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			if c.asks([]byte(rest[:n])) {
				asked++
			}
			if at := len(stream) - len(rest); endsIn(pieces, at, at+n) {
				want++
			}
			rest = rest[n:]
		}
		if asked != want || size == 1 && want != 3 {
			t.Errorf("in pieces of %d: %d round trips, want %d", size, asked, want)
		}
	}
}

// endsIn: a Query or a Sync ends after from, and at to at the latest.
func endsIn(pieces []string, from, to int) bool {
	end := 0
	for _, p := range pieces {
		end += len(p)
		if (p[0] == 'Q' || p[0] == 'S') && from < end && end <= to {
			return true
		}
	}
	return false
}
