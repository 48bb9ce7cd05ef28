package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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

// How a migration differs from the usual one.
type How int

// TakeBack installs this binary's functions though those of another version
// were installed after them: a roll-back, or a change of branch.
const TakeBack How = 1

// Migrate brings the database at url to the newest version this binary has, and
// installs code, fitted to the nchat tables it finds. It may run any number of
// times and from several nodes at once: one works, the others wait. A database
// that is ahead of this binary is left as it is, and so are functions that were
// installed after its own, but with TakeBack. Statements have no time limit;
// a lock that another transaction holds is waited for in turns of 3 s, for a
// minute in all.
func Migrate(ctx context.Context, url string, log *slog.Logger, code Code, how ...How) error {
	db, err := migrationDB(url)
	if err != nil {
		return err
	}
	defer db.Close()

	for attempt := 1; ; attempt++ {
		err = migrate(ctx, db, log, code, slices.Contains(how, TakeBack))
		if err == nil || attempt == migrateAttempts || state(err) != lockNotAvailable && !Collided(err) {
			return err
		}
		log.WarnContext(ctx, "migration waits for a lock", "attempt", attempt, "error", err)
	}
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

func migrate(ctx context.Context, db *sql.DB, log *slog.Logger, code Code, back bool) error {
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
	changed, err := installed(ctx, db, code, back)
	if err != nil {
		return explain(ctx, db, fmt.Errorf("installing functions: %w", err))
	}
	if changed {
		log.InfoContext(ctx, "functions and triggers installed")
	}
	return nil
}

// installed installs code in one transaction, under the migrations' lock.
func installed(ctx context.Context, db *sql.DB, code Code, back bool) (changed bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock($1)`, int64(migrateLock)); err != nil {
		return false, err
	}
	if ahead, err := aheadOfUs(ctx, tx); err != nil || ahead {
		return false, err
	}
	if changed, err = install(ctx, tx, code, back); err != nil || !changed {
		return false, err
	}
	return true, tx.Commit()
}

// errUnreleased is of databases whose version counts otherwise.
var errUnreleased = errors.New("this database was made before the first release, whose migrations count otherwise: " +
	"`drop schema realtime cascade` and migrate again (users, channels and messages are nchat's own and stay; " +
	"settings, marks and the log begin anew)")

// aheadOfUs reports whether a later version has been at the database.
func aheadOfUs(ctx context.Context, tx *sql.Tx) (bool, error) {
	want, err := newest()
	if err != nil {
		return false, err
	}
	var have int64
	var code bool
	const q = `select coalesce(max(version_id), 0), to_regclass('realtime.code') is not null from ` + versionTable + ` where is_applied`
	if err := tx.QueryRowContext(ctx, q).Scan(&have, &code); err != nil {
		return false, fmt.Errorf("reading the version: %w", err)
	}
	if !code {
		return false, errUnreleased
	}
	return have > want, nil
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
