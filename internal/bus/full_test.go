package bus_test

import (
	"net/url"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestAFullQueue: at half of the server's queue nobody rings, which would make
// it worse, and the polls carry what is new; below it all ring again. How full
// it is a function of the test's own answers, before the server's: filling
// eight gigabytes takes too long.
func TestAFullQueue(t *testing.T) {
	t.Parallel()
	at := pgtest.NewURL(t)
	pool := pgtest.Pool(t, at)
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), q, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`create schema before`)
	exec(`create table before.fill (share float8)`)
	exec(`insert into before.fill values (0.1)`)
	exec(`create function before.pg_notification_queue_usage() returns float8 language sql as 'select share from before.fill'`)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", "before,pg_catalog,public")
	u.RawQuery = q.Encode()
	full := &staleness{}
	b := startWith(t, bus.Options{Pool: pgtest.Pool(t, u.String()), Observer: bus.Observer{Full: full.set}}, at, "t/")
	ringUntil := func(what string, ok func() bool) {
		eventually(t, what, func() bool { b.Ring("t/any"); return ok() })
	}
	ringUntil("heard", func() bool { return b.ear.heard("t/any") > 0 })
	exec(`update before.fill set share = 0.6`)
	ringUntil("told that it is half full", func() bool { said := full.all(); return len(said) == 1 && said[0] })
	exec(`update before.fill set share = 0.4`)
	ringUntil("told that it is not any more", func() bool { said := full.all(); return len(said) == 2 && !said[1] })
	before := b.ear.heard("t/any")
	ringUntil("heard again", func() bool { return b.ear.heard("t/any") > before })
}
