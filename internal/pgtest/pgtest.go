// Package pgtest gives each test a Postgres database of its own.
//
// The first test to ask builds a template by applying the real migrations;
// every test then gets a clone of it, which Postgres makes by copying.
// LISTEN/NOTIFY, commits and several connections therefore work as in life,
// which a rolled-back transaction cannot offer.
//
// The server is the one TEST_DATABASE_URL names (a superuser's URL), else a
// private one started for the process, which ends with it and leaves nothing.
// Under -short tests that ask for a database are skipped; a missing Postgres
// fails them otherwise.
package pgtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/devpg"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/migrations"
)

// EnvURL names the server to test on: a URL of a superuser.
const EnvURL = "TEST_DATABASE_URL"

// Once each for the process, on first use.
var (
	admin    = sync.OnceValues(findServer)
	template = sync.OnceValues(func() (string, error) { return buildTemplate("") })
	nchats   = sync.OnceValues(func() (string, error) { return buildTemplate(NchatTables + NchatTenants) })
	clones   atomic.Int64
)

// opTimeout bounds each administrative step: a hang fails the test, not the run.
const opTimeout = 3 * time.Minute

// New returns a pool on a fresh, migrated database, both gone when t ends.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return Pool(t, NewURL(t))
}

// NewURL returns the URL of a fresh, migrated database, dropped when t ends.
func NewURL(t testing.TB) string {
	t.Helper()
	return clone(t, template)
}

func clone(t testing.TB, template func() (string, error)) string {
	t.Helper()
	server := Server(t)
	from, err := template()
	if err != nil {
		t.Fatalf("building the template database: %v", err)
	}
	return create(t, server, "template "+from)
}

// Empty returns the URL of a database without migrations, dropped when t ends.
func Empty(t testing.TB) string {
	t.Helper()
	return create(t, Server(t), "template template0")
}

// Pool opens a pool as the server does, closed when t ends.
func Pool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(context.Background(), url, postgres.Options{ApplicationName: t.Name(), MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Server returns the superuser's URL of the server that tests share.
func Server(t testing.TB) string {
	t.Helper()
	skipShort(t)
	server, err := admin()
	if err != nil {
		t.Fatalf("no Postgres to test on: %v", err)
	}
	return server
}

func skipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Postgres; not under -short")
	}
}

func findServer() (string, error) {
	if u := os.Getenv(EnvURL); u != "" {
		if parsed, err := url.Parse(u); err != nil || parsed.Scheme == "" {
			return "", fmt.Errorf("%s must be a URL, postgres://…", EnvURL)
		}
		return u, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	// Never stopped by us: no test knows that it is the last. It ends with the process.
	c, err := devpg.Start(ctx, devpg.Options{Temporary: true, Settings: map[string]string{"max_connections": "200"}})
	if err != nil {
		return "", err
	}
	return c.URL(), nil
}

// create makes a database and drops it when t ends.
func create(t testing.TB, server, how string) string {
	t.Helper()
	name := fmt.Sprintf("nchat_c_%d_%d", os.Getpid(), clones.Add(1))
	exec(t, server, "create database "+name+" "+how)
	t.Cleanup(func() { exec(t, server, "drop database if exists "+name+" with (force)") })
	return withDatabase(server, name)
}

// buildTemplate names the template after the contents of the migrations and of what is there
// before them, so an edited one makes a new one and an unchanged one is used again.
func buildTemplate(before string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	server, err := admin()
	if err != nil {
		return "", err
	}
	name, err := templateName(before)
	if err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	// Packages test in parallel processes: one builds, the others wait. The lock
	// goes with the connection.
	if _, err := conn.Exec(ctx, `select pg_advisory_lock(hashtext($1))`, name); err != nil {
		return "", err
	}
	var ready bool
	const q = `select exists (select from pg_database where datname = $1 and datistemplate)`
	if err := conn.QueryRow(ctx, q, name).Scan(&ready); err != nil || ready {
		return name, err
	}
	for _, sql := range []string{
		"drop database if exists " + name + " with (force)", // a half-built one
		"create database " + name + " template template0",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return "", fmt.Errorf("%s: %w", sql, err)
		}
	}
	if err := run(ctx, withDatabase(server, name), before); err != nil {
		return "", err
	}
	if err := postgres.Migrate(ctx, withDatabase(server, name), slog.New(slog.DiscardHandler), Code()); err != nil {
		return "", err
	}
	// Nobody may connect: an open session would stand in the way of cloning.
	_, err = conn.Exec(ctx, "alter database "+name+" with is_template true allow_connections false")
	return name, err
}

func templateName(before string) (string, error) {
	sum := sha256.New()
	fmt.Fprint(sum, before)
	code := Code()
	code["migrations"] = migrations.FS
	for _, pkg := range slices.Sorted(maps.Keys(code)) {
		names, err := fs.Glob(code[pkg], "*.sql")
		if err != nil {
			return "", err
		}
		for _, name := range names {
			sql, err := fs.ReadFile(code[pkg], name)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(sum, "%s/%s\n%d\n%s", pkg, name, len(sql), sql)
		}
	}
	return fmt.Sprintf("nchat_t_%x", sum.Sum(nil)[:6]), nil
}

// exec runs one statement on a connection of its own; not under t.Context, which
// has ended inside Cleanup.
func exec(t testing.TB, server, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	if err := run(ctx, server, sql); err != nil {
		t.Fatal(err)
	}
}

func run(ctx context.Context, server, sql string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connecting to the test server: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%.80s: %w", sql, err)
	}
	return nil
}

// withDatabase is server's URL with another database.
func withDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic("pgtest: not a URL, though findServer looked: " + err.Error())
	}
	u.Path = "/" + name
	return u.String()
}
