package feed

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// clusters are servers of a test's own, as an operator would make them: PG_BIN names
// where initdb is.
type clusters struct {
	t    *testing.T
	bin  string
	base string
}

func newClusters(t *testing.T) *clusters {
	t.Helper()
	bin := os.Getenv("PG_BIN")
	if bin == "" {
		t.Skip("PG_BIN is not set: needs Postgres' own programs, and takes half a minute")
	}
	base, err := os.MkdirTemp("/tmp", "nchat-clusters-")
	if err != nil {
		t.Fatal(err)
	}
	c := &clusters{t, bin, base}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if os.Getuid() == 0 {
		if out, err := exec.Command("chown", "postgres", base).CombinedOutput(); err != nil { //nolint:noctx // a test's
			t.Fatal(err, string(out))
		}
	}
	return c
}

// run runs a program, as postgres where the test is root.
func (c *clusters) run(name string, args ...string) {
	c.t.Helper()
	words := append([]string{filepath.Join(c.bin, name)}, args...)
	if os.Getuid() == 0 {
		words = append([]string{"runuser", "-u", "postgres", "--"}, words...)
	}
	cmd := exec.Command(words[0], words[1:]...) //nolint:noctx,gosec // a test's
	cmd.Dir = c.base
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
}

func (c *clusters) dir(name string) string { return filepath.Join(c.base, name) }

func (c *clusters) init(name string) {
	c.t.Helper()
	c.run("initdb", "-D", c.dir(name), "-U", "postgres", "-A", "trust", "--no-sync")
}

func (c *clusters) start(name string, port int) {
	c.t.Helper()
	c.run("pg_ctl", "-D", c.dir(name), "-w", "-l", c.dir(name+".log"), "-o", fmt.Sprintf("-p %d -k %s -c listen_addresses= -c fsync=off", port, c.base), "start")
}

func (c *clusters) stop(name, how string) {
	c.t.Helper()
	c.run("pg_ctl", "-D", c.dir(name), "-w", "-m", how, "stop")
}

func (c *clusters) url(port int) string {
	return fmt.Sprintf("postgres://postgres@/postgres?host=%s&port=%d", c.base, port)
}

// TestAStandbyIsPromoted that is behind: whoever was told of what it never had is told
// to begin anew, and everybody of what it has.
func TestAStandbyIsPromoted(t *testing.T) {
	c := newClusters(t)
	c.init("first")
	c.start("first", 5433)
	pool := c.migrated(5433)
	reader, channels := lawWorld(t, pool)
	v := viewer.Of("primary", reader)
	s := newService(pool, &bells{})
	early := say(t, pool, channels[0])
	_, _, before := readAll(t, s, v, "")
	c.run("pg_basebackup", "-h", c.base, "-p", "5433", "-U", "postgres", "-D", c.dir("second"), "-R", "-X", "stream", "-c", "fast")
	c.start("second", 5434)
	standby := pgtest.Pool(t, c.url(5434))
	there := say(t, pool, channels[1])
	_, _, shared := readAll(t, s, v, before)
	for deadline := time.Now().Add(20 * time.Second); number(t, standby, `select count(*) from realtime.log where message_id = $1`, there) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the standby never follows")
		}
	}
	if p, err := s.Sync(t.Context(), v, Query{Cursor: shared}); err != nil || p.Reset != "" {
		t.Fatal(p.Reset, err)
	}
	standby.Close()
	c.stop("second", "fast") // it is not there for what follows
	lost := say(t, pool, channels[2])
	list, _, ahead := readAll(t, s, v, shared)
	if !has(list, lost) {
		t.Fatal("nothing was told that the standby has not")
	}
	c.stop("first", "immediate")
	pool.Close()
	c.start("second", 5434)
	c.run("pg_ctl", "-D", c.dir("second"), "-w", "promote")
	defer c.stop("second", "immediate")
	promoted := pgtest.Pool(t, c.url(5434))
	s = newService(promoted, &bells{})
	after := []uuid.UUID{say(t, promoted, channels[2]), say(t, promoted, channels[3]), say(t, promoted, channels[4])}
	if number(t, promoted, `select count(*) from public.nchat_messages where id = $1`, lost) != 0 {
		t.Fatal("the standby was not behind, and this tests nothing")
	}
	for name, cursor := range map[string]string{"of what it never had": ahead, "of what it had": shared, "from before the copy": before} {
		list, reset, _ := readAll(t, s, v, cursor)
		if reset != Changed {
			t.Errorf("a cursor %s: reset %q", name, reset)
		}
		for _, id := range append(after, early, there) {
			if !has(list, id) {
				t.Errorf("a cursor %s: not told of %v", name, id)
			}
		}
		if has(list, lost) {
			t.Errorf("a cursor %s: told of what is not there", name)
		}
	}
}

// TestAnotherCluster: a dump taken while it was written to, restored elsewhere, and a
// server upgraded by pg_upgrade: every cursor from before is told to begin anew,
// nothing is missing, and what is written there is told. PG_NEW names the programs of a
// newer major version: the dump goes there too, and pg_upgrade to it where it has one.
func TestAnotherCluster(t *testing.T) {
	c := newClusters(t)
	c.init("old")
	c.start("old", 5435)
	pool := c.migrated(5435)
	reader, channels := lawWorld(t, pool)
	v := viewer.Of("primary", reader)
	s := newService(pool, &bells{})
	for i := range 30 {
		say(t, pool, channels[i%len(channels)])
	}
	mustExec(t, pool, `update realtime.head set xid = (pg_current_xact_id()::text::bigint + 1000000)::text::xid8`) // it has run for long
	list, _, at := readAll(t, s, v, "")
	waiting := say(t, pool, channels[0]) // noted, and not in the log yet
	c.run("pg_dump", "-h", c.base, "-p", "5435", "-U", "postgres", "-f", c.dir("dump.sql"), "postgres")
	pool.Close()
	c.stop("old", "fast")

	check := func(name string, port int) {
		t.Helper()
		pool := c.migrated(port)
		defer pool.Close()
		s := newService(pool, &bells{})
		fresh := say(t, pool, channels[1])
		got, reset, _ := readAll(t, s, v, at)
		if reset != Changed || len(got) != len(list)+2 || !has(got, waiting) || !has(got, fresh) {
			t.Errorf("%s: reset %q, told of %d messages, want %d", name, reset, len(got), len(list)+2)
		}
		if err := Noted(t.Context(), pool); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for range 3 {
			mustExec(t, pool, `update realtime.head set at = '-infinity'`)
			mustExec(t, pool, `select realtime.sequence(100, false, true)`)
		}
		if id := say(t, pool, channels[2]); true {
			if got, _, _ := readAll(t, s, v, ""); !has(got, id) {
				t.Errorf("%s: what is written later is not told", name)
			}
		}
	}
	c.init("restored")
	c.start("restored", 5436)
	c.run("psql", "-h", c.base, "-p", "5436", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-q", "-f", c.dir("dump.sql"), "postgres")
	check("restored", 5436)
	c.stop("restored", "fast")
	after := &clusters{t, cmp.Or(os.Getenv("PG_NEW"), c.bin), c.base}
	if after.bin != c.bin {
		after.init("newer")
		after.start("newer", 5438)
		c.run("psql", "-h", c.base, "-p", "5438", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-q", "-f", c.dir("dump.sql"), "postgres")
		check("restored into a newer one", 5438)
		after.stop("newer", "fast")
	}
	if _, err := os.Stat(filepath.Join(after.bin, "pg_upgrade")); err != nil {
		after = c
	}
	after.init("new")
	after.run("pg_upgrade", "-b", c.bin, "-B", after.bin, "-d", c.dir("old"), "-D", c.dir("new"), "-U", "postgres", "-s", c.base)
	after.start("new", 5437)
	check("upgraded", 5437)
	after.stop("new", "fast")
}

// TestTransactionIDsGoRound: past 2^32 of them, of which a row keeps 32 bits, everything
// is told once and in order, and what waits is found.
func TestTransactionIDsGoRound(t *testing.T) {
	c := newClusters(t)
	c.init("round")
	c.start("round", 5439)
	c.run("psql", "-h", c.base, "-p", "5439", "-U", "postgres", "-c", "alter database template0 allow_connections true", "postgres")
	c.run("vacuumdb", "-h", c.base, "-p", "5439", "-U", "postgres", "--all", "--freeze")
	c.stop("round", "fast")
	const next = 1<<32 - 1200
	if err := os.WriteFile(filepath.Join(c.dir("round"), "pg_xact", fmt.Sprintf("%04X", next>>20)), make([]byte, 1<<18), 0o666); err != nil { //nolint:gosec // a test's
		t.Fatal(err)
	}
	c.run("pg_resetwal", "-f", "-x", strconv.Itoa(next), "-u", strconv.Itoa(next-1000), c.dir("round"))
	c.start("round", 5439)
	defer c.stop("round", "fast")
	pool := c.migrated(5439)
	reader, channels := lawWorld(t, pool)
	v := viewer.Of("primary", reader)
	s := newService(pool, &bells{})
	_, _, at := readAll(t, s, v, "")
	long, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var waiting uuid.UUID
	if err := long.QueryRow(t.Context(), `insert into public.nchat_messages (channel_id, content) values ($1, 'x') returning id`, channels[1]).Scan(&waiting); err != nil {
		t.Fatal(err)
	}
	if n := number(t, pool, `select pg_current_xact_id()::text::bigint`); n > 1<<32 {
		t.Fatal("they have gone round already:", n)
	}
	var want []uuid.UUID
	for len(want) < 50 || number(t, pool, `select pg_current_xact_id()::text::bigint`) < 1<<32+50 {
		want = append(want, say(t, pool, channels[0]))
		if len(want)%20 == 0 {
			mustExec(t, pool, `update realtime.head set at = '-infinity'`) // it clears the inbox
			mustExec(t, pool, `select realtime.sequence(1000, false, true)`)
		}
	}
	if err := long.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, reset, _ := readAll(t, s, v, at)
	if reset != "" || len(list) != len(want)+1 || !has(list, waiting) {
		t.Fatalf("reset %q, told of %d messages, want %d", reset, len(list), len(want)+1)
	}
	list = slices.DeleteFunc(list, func(x text) bool { return x.ID == waiting })
	for i, x := range list {
		if x.ID != want[i] {
			t.Fatalf("message %d is not in its place", i)
		}
	}
	if err := Noted(t.Context(), pool); err != nil {
		t.Error(err)
	}
}

func (c *clusters) migrated(port int) *pgxpool.Pool {
	c.t.Helper()
	pool := pgtest.Pool(c.t, c.url(port))
	pgtest.Migrate(c.t, pool)
	return pool
}
