package postgres_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestMigrateEmptyDatabaseAndAgain(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), pgtest.Empty(t)
	pool := pgtest.Pool(t, url)

	is, err := postgres.MigrationStatus(ctx, pool, pgtest.Code())
	if err != nil || is.Have != 0 || is.Want < 3 || is.Ready() {
		t.Fatalf("before: MigrationStatus = %+v, %v; want 0, at least 3", is, err)
	}
	for _, run := range []string{"first", "second"} {
		if err := postgres.Migrate(ctx, url, quiet(), pgtest.Code()); err != nil {
			t.Fatalf("%s run: %v", run, err)
		}
		is, err := postgres.MigrationStatus(ctx, pool, pgtest.Code())
		if err != nil || is.Have != is.Want || !is.Ready() {
			t.Errorf("after the %s run: MigrationStatus = %+v, %v", run, is, err)
		}
	}
	var joined bool
	if err := pool.QueryRow(ctx, `select to_regprocedure('realtime.nchat_users()') is not null`).Scan(&joined); err != nil || !joined {
		t.Errorf("the readers of nchat's tables are missing (%v)", err)
	}
}

func TestMigrateTwoAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	g, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		g.Go(func() error { return postgres.Migrate(ctx, url, quiet(), pgtest.Code()) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var twice int
	const q = `select count(*) from (select version_id from realtime.goose_db_version group by version_id having count(*) > 1) x`
	if err := pgtest.Pool(t, url).QueryRow(t.Context(), q).Scan(&twice); err != nil || twice != 0 {
		t.Errorf("%d versions were applied more than once (%v)", twice, err)
	}
}

// A table that gained a column after the last migration is joined by the next
// start, although no migration is due.
func TestMigrateJoinsEveryTime(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), pgtest.NewURL(t)
	pool := pgtest.Pool(t, url)
	if _, err := pool.Exec(ctx, `drop trigger realtime_presence on public.nchat_contacts`); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Migrate(ctx, url, quiet(), pgtest.Code()); err != nil {
		t.Fatal(err)
	}
	var n int
	const q = `select count(*) from pg_trigger where tgname = 'realtime_presence' and tgrelid = 'public.nchat_contacts'::regclass`
	if err := pool.QueryRow(ctx, q).Scan(&n); err != nil || n != 1 {
		t.Errorf("triggers on nchat_contacts after Migrate = %d, %v; want 1", n, err)
	}
}

// To leave is to drop the schema: nothing of ours is left on the app's tables.
func TestDroppingTheSchemaLeavesTheApp(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.New(t)
	left := func(q string) (n int) {
		t.Helper()
		if err := pool.QueryRow(ctx, q).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const triggers = `select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relname like 'nchat_%' and not t.tgisinternal`
	if left(triggers) == 0 {
		t.Fatal("no trigger to drop")
	}
	for _, q := range []string{`drop schema realtime cascade`,
		`insert into public.nchat_channels (name, slug) values ('c', 'c')`,
		`insert into public.nchat_messages (channel_id, content) select id, 'x' from public.nchat_channels`,
		`update public.nchat_messages set content = 'y'`, `delete from public.nchat_channels`} {
		if _, err := pool.Exec(ctx, q); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
	if n := left(triggers); n != 0 {
		t.Errorf("%d triggers are left", n)
	}
}

func TestMigrateWithoutRights(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), pgtest.Empty(t)
	pool := pgtest.Pool(t, url)
	role := "nchat_limited_" + randomName(t, ctx, pool)
	if _, err := pool.Exec(ctx, `create role `+role+` login`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := pool.Exec(context.Background(), `drop role `+role); err != nil {
			t.Error(err)
		}
	})
	err := postgres.Migrate(ctx, asRole(t, url, role), quiet(), pgtest.Code())
	if err == nil {
		t.Fatal("a role without CREATE migrated")
	}
	for _, part := range []string{role, "grant create on database", "may not"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

// The app holds a lock on a table that wants a trigger: Migrate lets go and
// comes back until it gets it.
func TestMigrateWaitsForALockInTurns(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), pgtest.NewURL(t)
	pool := pgtest.Pool(t, url)
	if _, err := pool.Exec(ctx, `drop trigger realtime_presence on public.nchat_contacts`); err != nil {
		t.Fatal(err)
	}
	waits := make(chan string, 100)
	held, release, done := make(chan error, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `lock table public.nchat_contacts in row exclusive mode`)
			held <- err
			<-release
			return err
		})
	}()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	go func() { migrated <- postgres.Migrate(ctx, url, slog.New(tell{waits}), pgtest.Code()) }()
	select {
	case <-waits:
	case err := <-migrated:
		t.Fatalf("Migrate ended under the lock: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("Migrate said nothing of the lock")
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Errorf("Migrate after the lock was let go: %v", err)
	}
}

// tell is a log handler that passes messages on.
type tell struct{ to chan string }

func (h tell) Enabled(context.Context, slog.Level) bool { return true }
func (h tell) Handle(_ context.Context, r slog.Record) error {
	h.to <- r.Message
	return nil
}
func (h tell) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h tell) WithGroup(string) slog.Handler      { return h }
