package pgtest_test

import (
	"context"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

func TestEachTestHasItsOwnDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	one, two := pgtest.New(t), pgtest.New(t)

	if _, err := one.Exec(ctx, `create table public.mine (id int)`); err != nil {
		t.Fatal(err)
	}
	var seen bool
	if err := two.QueryRow(ctx, `select to_regclass('public.mine') is not null`).Scan(&seen); err != nil {
		t.Fatal(err)
	}
	if seen {
		t.Error("a table made in one database is seen in the other")
	}
	is, err := postgres.MigrationStatus(ctx, two, pgtest.Code())
	if err != nil || !is.Ready() || is.Want == 0 {
		t.Errorf("MigrationStatus = %+v, %v; a clone must be migrated", is, err)
	}
}

func TestDatabaseGoesWithItsTest(t *testing.T) { //nolint:tparallel // the subtest's end is what is tested
	t.Parallel()
	server := pgtest.Pool(t, pgtest.Server(t))
	exists := func(name string) (found bool) {
		t.Helper()
		const q = `select exists (select from pg_database where datname = $1)`
		if err := server.QueryRow(context.Background(), q, name).Scan(&found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	var name string
	t.Run("inside", func(t *testing.T) {
		if err := pgtest.New(t).QueryRow(t.Context(), `select current_database()`).Scan(&name); err != nil {
			t.Fatal(err)
		}
		if !exists(name) {
			t.Error("the database is not there while its test runs")
		}
	})
	if exists(name) {
		t.Errorf("database %s outlived its test", name)
	}
}

func TestEmptyHasNoMigrations(t *testing.T) {
	t.Parallel()
	is, err := postgres.MigrationStatus(t.Context(), pgtest.Pool(t, pgtest.Empty(t)), pgtest.Code())
	if err != nil || is.Have != 0 || is.Ready() {
		t.Errorf("MigrationStatus of an empty database = %+v, %v; want 0", is, err)
	}
}

func TestClusterSurvivesStopAndKill(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	own := pgtest.Cluster(t)
	pool := pgtest.Pool(t, own.Migrated())
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	count := func(table string) (n int) {
		t.Helper()
		if err := pool.QueryRow(ctx, `select count(*) from `+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	exec(`create table kept (id int)`)
	exec(`create unlogged table lost (id int)`)
	exec(`insert into kept values (1)`)
	exec(`insert into lost values (1)`)

	own.Stop()
	if err := pool.Ping(ctx); !postgres.Retryable(err) {
		t.Errorf("a stopped server gives %v; want an error that is Retryable", err)
	}
	own.Start()
	pool.Reset()
	if k, l := count("kept"), count("lost"); k != 1 || l != 1 {
		t.Errorf("after Stop and Start: kept %d, lost %d; want 1, 1", k, l)
	}

	exec(`insert into kept values (2)`)
	own.Kill()
	own.Start()
	pool.Reset()
	if k, l := count("kept"), count("lost"); k != 2 || l != 0 {
		t.Errorf("after Kill and Start: kept %d, lost %d; want 2, 0 (crash recovery)", k, l)
	}
}
