package postgres

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"

	"github.com/nself-org/nchat-realtime/migrations"
)

// Status is how far a database is beside what a binary wants.
type Status struct {
	Have, Want int64 // the newest migrations; Have 0: none
	// Code tells that the functions were installed at least once. Those of a later version may be in their
	// place by now: a node goes on with those, as it does while others are replaced.
	Code bool
}

// Ready reports whether a server may work on the database: Have < Want or
// missing functions ask to migrate first.
func (s Status) Ready() bool { return s.Have >= s.Want && s.Code }

// MigrationStatus looks at a database for a binary that has code.
func MigrationStatus(ctx context.Context, pool *pgxpool.Pool, code Code) (s Status, err error) {
	if s.Want, err = newest(); err != nil {
		return s, err
	}
	files, err := code.source()
	if err != nil {
		return s, err
	}
	var versions, codes bool
	const there = `select to_regclass('` + versionTable + `') is not null, to_regclass('realtime.code') is not null`
	if err := pool.QueryRow(ctx, there).Scan(&versions, &codes); err != nil {
		return s, fmt.Errorf("looking for the version table: %w", err)
	}
	if versions {
		const q = `select coalesce(max(version_id), 0) from ` + versionTable + ` where is_applied`
		if err := pool.QueryRow(ctx, q).Scan(&s.Have); err != nil {
			return s, fmt.Errorf("reading the version: %w", err)
		}
	}
	if codes {
		const q = `select exists (select from realtime.code c where c.source = $1)`
		if err := pool.QueryRow(ctx, q, sumOf(files)).Scan(&s.Code); err != nil {
			return s, fmt.Errorf("reading which functions there are: %w", err)
		}
	}
	return s, nil
}

// ColumnsChanged reports whether nchat's tables have other columns than those that code was fitted
// to. Until the next Migrate a function may name what is no more, with which the app's own writes
// fail, for triggers call it; and what is new is not looked at. False where functions of another
// version are in their place: what these were fitted to only that knows.
func ColumnsChanged(ctx context.Context, db DB, code Code) (bool, error) {
	files, err := code.source()
	if err != nil {
		return false, err
	}
	found := columns{}
	rows, err := db.Query(ctx, readColumns)
	if err != nil {
		return false, fmt.Errorf("reading nchat's columns: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := found.put(rows.Scan); err != nil {
			return false, fmt.Errorf("reading nchat's columns: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("reading nchat's columns: %w", err)
	}
	fitted, err := fit(files, found)
	if err != nil {
		return false, err
	}
	var changed bool
	const q = `select coalesce((select c.source = $1 and c.fitted <> $2 from realtime.code c order by c.installed_at desc limit 1), false)`
	if err := db.QueryRow(ctx, q, sumOf(files), sumOf(fitted)).Scan(&changed); err != nil {
		return false, fmt.Errorf("reading what functions were fitted to: %w", err)
	}
	return changed, nil
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
