package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Code is the functions and triggers of packages, by the package's name: the
// *.sql files each keeps beside its rules, embedded.
//
// A file holds, each beginning a line:
//
//   - create or replace function realtime.NAME, in any order;
//   - create trigger NAME … on TABLE …, made where it is missing or another;
//   - select realtime.NAME();, run between the two whenever one of them changed.
//
// It is a text/template over nchat's tables as they are found, in the schema
// public: has "TABLE" "COLUMN" tells whether a column is there; cols "TABLE"
// "COLUMN" … lists those that are, with commas between; writable and
// writables are the same of columns that are there and not generated; kind "TABLE" "COLUMN" is
// its type, to cast to; of "ROW" LIST puts a
// row's name before each; list joins what is text and not empty, so that (and
// (has …) "…") in it is there or not. What one file defines every other may use.
type Code map[string]fs.FS

// statement is one of a file's.
type statement struct {
	where string // package/file
	text  string
}

// name is what a trigger's or a function's statement makes, for errors.
func (s statement) name() string {
	first, _, _ := strings.Cut(s.text, "\n")
	return s.where + ": " + first
}

var begins = regexp.MustCompile(`(?m)^(create or replace function realtime\.|create trigger |select realtime\.)`)

// program is what is installed, by kind.
type program struct {
	functions, calls []statement
	triggers         []trigger
}

// parse takes files apart.
func parse(files map[string]string) (program, error) {
	var p program
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		at := begins.FindAllStringIndex(text, -1)
		for i, from := range at {
			end := len(text)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			s := statement{name, uncommented(text[from[0]:end])}
			if !strings.HasSuffix(s.text, ";") {
				return p, fmt.Errorf("%s does not end", s.name())
			}
			switch {
			case strings.HasPrefix(s.text, "create trigger "):
				t, err := triggerOf(s)
				if err != nil {
					return p, err
				}
				p.triggers = append(p.triggers, t)
			case strings.HasPrefix(s.text, "select "):
				p.calls = append(p.calls, s)
			default:
				p.functions = append(p.functions, s)
			}
		}
	}
	return p, nil
}

// uncommented is a statement without what follows it: the next one's comment.
func uncommented(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for len(lines) > 0 {
		last := strings.TrimSpace(lines[len(lines)-1])
		if last != "" && !strings.HasPrefix(last, "--") {
			break
		}
		lines = lines[:len(lines)-1]
	}
	return strings.Join(lines, "\n")
}

// install brings the functions and triggers of code to where they are to be,
// in tx, which has the migrations' lock. It does nothing where sources and
// columns are what they were and every trigger is there; nor, unless back,
// where others were installed after code: an older node that starts again must
// not take a newer rule back. Functions that code does not name any more are
// left, for nodes of the version before.
func install(ctx context.Context, tx *sql.Tx, code Code, back bool) (changed bool, err error) {
	files, err := code.source()
	if err != nil || len(files) == 0 {
		return false, err
	}
	found, err := loadColumns(ctx, tx)
	if err != nil {
		return false, fmt.Errorf("reading nchat's columns: %w", err)
	}
	fitted, err := fit(files, found)
	if err != nil {
		return false, err
	}
	p, err := parse(fitted)
	if err != nil {
		return false, err
	}
	source, sum := sumOf(files), sumOf(fitted)
	var same, passed bool
	const q = `
select coalesce((select (c.source, c.fitted) = ($1, $2) from realtime.code c order by c.installed_at desc limit 1), false),
       exists (select from realtime.code c where c.source = $1)
         and (select c.source <> $1 from realtime.code c order by c.installed_at desc limit 1)`
	if err := tx.QueryRowContext(ctx, q, source, sum).Scan(&same, &passed); err != nil {
		return false, fmt.Errorf("reading which functions there are: %w", err)
	}
	if passed && !back {
		return false, nil
	}
	if passed { // the later ones were never here: they may come again
		const forget = `delete from realtime.code c where c.installed_at > (select o.installed_at from realtime.code o where o.source = $1)`
		if _, err := tx.ExecContext(ctx, forget, source); err != nil {
			return false, fmt.Errorf("going back: %w", err)
		}
	}
	due, err := dueTriggers(ctx, tx, p.triggers)
	if err != nil || same && due.none() {
		return false, err
	}
	if !same {
		if err := createFunctions(ctx, tx, p.functions); err != nil {
			return false, err
		}
	}
	for _, s := range p.calls {
		if _, err := tx.ExecContext(ctx, s.text); err != nil {
			return false, fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	if err := due.make(ctx, tx); err != nil {
		return false, err
	}
	const put = `
insert into realtime.code (source, fitted, installed_at) values ($1, $2, clock_timestamp())
on conflict (source) do update set fitted = excluded.fitted, installed_at = excluded.installed_at`
	_, err = tx.ExecContext(ctx, put, source, sum)
	return true, err
}

// createFunctions makes all of them, first unchecked, for they name one
// another, then again, each with its body looked at: what does not fit the
// tables fails here and not when it is called.
func createFunctions(ctx context.Context, tx *sql.Tx, list []statement) error {
	for _, check := range []string{"off", "on"} {
		if _, err := tx.ExecContext(ctx, "set local check_function_bodies = "+check); err != nil {
			return err
		}
		for _, s := range list {
			if err := createFunction(ctx, tx, s); err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
		}
	}
	return nil
}

var functionName = regexp.MustCompile(`^create or replace function realtime\.(\w+)`)

// createFunction replaces a function in its place, so that whoever is calling
// it goes on. One of the same name that takes or gives something else is
// dropped: with defaults, calls could mean either.
func createFunction(ctx context.Context, tx *sql.Tx, s statement) error {
	name := functionName.FindStringSubmatch(s.text)[1]
	before, err := signatures(ctx, tx, name)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "savepoint one_function"); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, s.text)
	if state(err) == invalidFunction {
		if _, err := tx.ExecContext(ctx, "rollback to one_function"); err != nil {
			return err
		}
		if err := dropFunctions(ctx, tx, before); err != nil {
			return err
		}
		before = nil
		_, err = tx.ExecContext(ctx, s.text)
	}
	if err != nil {
		return err
	}
	after, err := signatures(ctx, tx, name)
	if err != nil {
		return err
	}
	if len(after) > len(before) { // it is another than those that were there
		if err := dropFunctions(ctx, tx, before); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "release one_function")
	return err
}

// signatures are the functions of ours of a name, as drop takes them.
func signatures(ctx context.Context, tx *sql.Tx, name string) (list []string, err error) {
	const q = `select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'realtime'::regnamespace and p.proname = $1`
	err = each(ctx, tx, q, func(scan func(...any) error) error {
		var one string
		err := scan(&one)
		list = append(list, one)
		return err
	}, name)
	return list, err
}

func dropFunctions(ctx context.Context, tx *sql.Tx, list []string) error {
	for _, one := range list {
		if _, err := tx.ExecContext(ctx, "drop function "+one); err != nil {
			return err
		}
	}
	return nil
}

// each calls fn for every row of q.
func each(ctx context.Context, tx *sql.Tx, q string, fn func(scan func(...any) error) error, args ...any) (err error) {
	rows, err := tx.QueryContext(ctx, q, args...)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, errors.Join(rows.Close(), rows.Err())) }()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return nil
}
