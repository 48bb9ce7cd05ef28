package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/nself-org/nchat-realtime/migrations"
)

const (
	versionTable = "realtime.goose_db_version"
	// Any number does that no other program takes for its own migrations.
	migrateLock = 7_249_331_607_001
	// A migration waits this long for a table's lock: behind it queue the app's
	// own writers, so it rather lets them by and tries again.
	migrateLockWait = 3 * time.Second
	migrateAttempts = 20
)

// Migrate brings the database at url to the newest version this binary has, then
// fits our readers and triggers to the nchat tables it finds. It may run any
// number of times and from several nodes at once: one works, the others wait. A
// database that is ahead of this binary is left as it is. Statements have no
// time limit; a lock that another transaction holds is waited for in turns of
// 3 s, for a minute in all.
func Migrate(ctx context.Context, url string, log *slog.Logger) error {
	db, err := migrationDB(url)
	if err != nil {
		return err
	}
	defer db.Close()

	for attempt := 1; ; attempt++ {
		err = migrate(ctx, db, log)
		if err == nil || attempt == migrateAttempts || state(err) != lockNotAvailable && !Collided(err) {
			return err
		}
		log.WarnContext(ctx, "migration waits for a lock", "attempt", attempt, "error", err)
	}
}

// MigrationStatus returns the newest version that the database has (0: none) and
// the newest that this binary has. have < want: migrate first.
func MigrationStatus(ctx context.Context, pool *pgxpool.Pool) (have, want int64, err error) {
	if want, err = newest(); err != nil {
		return 0, 0, err
	}
	var exists bool
	if err := pool.QueryRow(ctx, `select to_regclass('`+versionTable+`') is not null`).Scan(&exists); err != nil {
		return 0, want, fmt.Errorf("looking for the version table: %w", err)
	}
	if !exists {
		return 0, want, nil
	}
	const q = `select coalesce(max(version_id), 0) from ` + versionTable + ` where is_applied`
	if err := pool.QueryRow(ctx, q).Scan(&have); err != nil {
		return 0, want, fmt.Errorf("reading the version: %w", err)
	}
	return have, want, nil
}

func newest() (int64, error) {
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return 0, fmt.Errorf("listing migrations: %w", err)
	}
	var top int64
	for _, name := range names {
		n, err := goose.NumericComponent(name)
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", name, err)
		}
		top = max(top, n)
	}
	return top, nil
}

func migrationDB(url string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		// A pool's own settings may stand in the same url.
		pool, perr := pgxpool.ParseConfig(url)
		if perr != nil {
			return nil, fmt.Errorf("reading the database url: %w", err)
		}
		cfg = pool.ConnConfig
	}
	prepare(cfg, "nchat-realtime migrate")
	return stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		return configure(ctx, c, 0, migrateLockWait, 0)
	})), nil
}

func migrate(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	if err := createSchema(ctx, db); err != nil {
		return explain(ctx, db, fmt.Errorf("creating the schema realtime: %w", err))
	}
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(migrateLock), lock.WithLockTimeout(1, 600), lock.WithUnlockTimeout(1, 10))
	if err != nil {
		return fmt.Errorf("preparing migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS,
		goose.WithTableName(versionTable), goose.WithSessionLocker(locker),
		goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("preparing migrations: %w", err)
	}
	done, err := provider.Up(ctx)
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		done = partial.Applied
	}
	for _, m := range done {
		log.InfoContext(ctx, "migration applied", "version", m.Source.Version, "file", m.Source.Path, "took", m.Duration)
	}
	if err != nil {
		return explain(ctx, db, fmt.Errorf("applying migrations: %w", err))
	}
	if err := join(ctx, db); err != nil {
		return explain(ctx, db, fmt.Errorf("joining nchat's tables: %w", err))
	}
	return nil
}

// createSchema asks first: "if not exists" wants the right to create even where
// nothing is to be created.
func createSchema(ctx context.Context, db *sql.DB) error {
	var exists bool
	if err := db.QueryRowContext(ctx, `select to_regnamespace('realtime') is not null`).Scan(&exists); err != nil || exists {
		return err
	}
	_, err := db.ExecContext(ctx, `create schema if not exists realtime`)
	if code := state(err); code == uniqueViolation || code == duplicateSchema {
		return nil // another node was faster
	}
	return err
}

func join(ctx context.Context, db *sql.DB) error {
	for _, fit := range []string{"realtime.join_nchat()", "realtime.join_feed()", "realtime.join_message()", "realtime.join_receipt()"} {
		var exists bool
		if err := db.QueryRowContext(ctx, `select to_regprocedure($1) is not null`, fit).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			continue
		}
		if _, err := db.ExecContext(ctx, `select `+fit); err != nil {
			return err
		}
	}
	return nil
}

// explain says who lacks which right, and the remedy; other errors pass.
func explain(ctx context.Context, db *sql.DB, err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != insufficientRights {
		return err
	}
	var role, database string
	if db.QueryRowContext(ctx, `select quote_ident(current_user), quote_ident(current_database())`).Scan(&role, &database) != nil {
		return err
	}
	return fmt.Errorf("the database role %s may not do this (%s): migrate as the owner of the database and of nchat's tables, "+
		"or grant create on database %s and on schema public to %s: %w", role, pg.Message, database, role, err)
}
