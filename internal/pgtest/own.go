package pgtest

import (
	"context"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/devpg"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Own is a Postgres server for one test alone, which may stop it and start it
// again: for outages. Its methods fail the test when they cannot do their work.
type Own struct {
	t testing.TB
	c *devpg.Cluster
}

// Cluster starts a server with an empty database directory of its own. It ends,
// and its directory goes, with t. Costs about a second.
func Cluster(t testing.TB) *Own {
	t.Helper()
	skipShort(t)
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	c, err := devpg.Start(ctx, devpg.Options{Temporary: true, Settings: map[string]string{"max_connections": "200"}})
	if err != nil {
		t.Fatalf("starting a Postgres for this test: %v", err)
	}
	o := &Own{t: t, c: c}
	t.Cleanup(func() { o.do(c.Stop) })
	return o
}

// Standby is a server of its own that streams from this one, asynchronously, until
// Promote. Costs about two seconds.
func (o *Own) Standby() *Own {
	o.t.Helper()
	s := &Own{t: o.t}
	o.do(func(ctx context.Context) (err error) {
		s.c, err = devpg.Start(ctx, devpg.Options{Temporary: true, Follow: o.c, Settings: map[string]string{"max_connections": "200"}})
		return err
	})
	o.t.Cleanup(func() { s.do(s.c.Stop) })
	return s
}

// Promote has a standby serve by itself, and returns when it takes writes.
func (o *Own) Promote() {
	o.t.Helper()
	o.do(func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, o.c.URL())
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "select pg_promote()")
		return err
	})
}

// URL is the superuser's, of the database "postgres": without our migrations.
// It stays the same over Stop, Kill and Start.
func (o *Own) URL() string { return o.c.URL() }

// Migrated applies the migrations to that database and returns its URL.
func (o *Own) Migrated() string {
	o.t.Helper()
	o.do(func(ctx context.Context) error {
		return postgres.Migrate(ctx, o.c.URL(), slog.New(slog.DiscardHandler), Code())
	})
	return o.c.URL()
}

// Stop shuts the server down in order (clients are disconnected) and returns
// when it is gone. UNLOGGED tables keep their rows.
func (o *Own) Stop() {
	o.t.Helper()
	o.do(o.c.Halt)
}

// Kill ends the server as a crash would: UNLOGGED tables are empty afterwards.
func (o *Own) Kill() {
	o.t.Helper()
	o.do(func(context.Context) error { return o.c.Kill() })
}

// Abort ends the server at once, as a crash does, and with all its backends:
// Start may follow immediately.
func (o *Own) Abort() {
	o.t.Helper()
	o.do(func(context.Context) error { return o.c.Abort() })
}

// Start brings the server back after Stop or Kill and returns when it answers.
func (o *Own) Start() {
	o.t.Helper()
	o.do(o.c.Resume)
}

func (o *Own) do(step func(context.Context) error) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	if err := step(ctx); err != nil {
		o.t.Fatal(err)
	}
}

// Snapshot copies the data directory of the server, which is stopped for it and
// started again. The function it returns ends the server as a crash would, puts
// the copy in its place and starts it: the same database, set back.
func (o *Own) Snapshot() (restore func()) {
	o.t.Helper()
	data, copied := filepath.Join(o.c.Dir(), "data"), filepath.Join(o.c.Dir(), "snapshot")
	put := func(from, to string) {
		o.t.Helper()
		if out, err := osexec.Command("cp", "-a", from, to).CombinedOutput(); err != nil { //nolint:noctx // seconds, of the test's own
			o.t.Fatalf("copying the data directory: %v: %s", err, out)
		}
	}
	o.Stop()
	put(data, copied)
	o.Start()
	return func() {
		o.t.Helper()
		o.Kill()
		if err := os.RemoveAll(data); err != nil {
			o.t.Fatal(err)
		}
		put(copied, data)
		o.Start()
	}
}
