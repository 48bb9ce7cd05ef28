package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/template"
)

// source is the text of all files, each headed by its name.
func (c Code) source() (map[string]string, error) {
	out := map[string]string{}
	for pkg, files := range c {
		names, err := fs.Glob(files, "*.sql")
		if err != nil {
			return nil, fmt.Errorf("listing the SQL of %s: %w", pkg, err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return nil, fmt.Errorf("reading the SQL of %s: %w", pkg, err)
			}
			out[pkg+"/"+name] = string(text)
		}
	}
	return out, nil
}

// sumOf is the sum of files, whatever order they were read in.
func sumOf(files map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s\n%d\n%s\n", name, len(files[name]), files[name])
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}

// columns are nchat's, by table and name.
type columns map[string]map[string]column

// column is one that is there.
type column struct {
	kind     string // its type, with its schema
	computed bool   // by Postgres: nobody may write it
}

func (c columns) has(table, column string) bool { _, there := c[table][column]; return there }

func (c columns) cols(table string, names ...string) string {
	return strings.Join(slices.DeleteFunc(names, func(n string) bool { return !c.has(table, n) }), comma)
}

func (c columns) writable(table, column string) bool {
	is, there := c[table][column]
	return there && !is.computed
}

func (c columns) writables(table string, names ...string) string {
	return strings.Join(slices.DeleteFunc(names, func(n string) bool { return !c.writable(table, n) }), comma)
}

func (c columns) kind(table, column string) string { return c[table][column].kind }

const comma = ", "

// of puts a row's name before each of a list.
func of(row, list string) string {
	return row + "." + strings.ReplaceAll(list, comma, comma+row+".")
}

// list joins what there is of items.
func list(items ...any) string {
	var there []string
	for _, item := range items {
		if text, ok := item.(string); ok && text != "" {
			there = append(there, text)
		}
	}
	return strings.Join(there, comma)
}

const readColumns = `
select c.relname, a.attname, format('%I.%I', n.nspname, y.typname), a.attgenerated <> '' or a.attidentity = 'a'
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_type y on y.oid = a.atttypid
  join pg_namespace n on n.oid = y.typnamespace
 where c.relnamespace = 'public'::regnamespace and c.relname like 'nchat\_%' and c.relkind in ('r', 'p', 'f', 'v', 'm')`

func loadColumns(ctx context.Context, tx *sql.Tx) (columns, error) {
	out := columns{}
	return out, each(ctx, tx, readColumns, out.put)
}

// put takes one of readColumns' rows.
func (c columns) put(scan func(...any) error) error {
	var table, name string
	var is column
	if err := scan(&table, &name, &is.kind, &is.computed); err != nil {
		return err
	}
	if c[table] == nil {
		c[table] = map[string]column{}
	}
	c[table][name] = is
	return nil
}

// fit makes the files into SQL for the columns there are.
func fit(files map[string]string, found columns) (map[string]string, error) {
	set := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"has": found.has, "cols": found.cols, "writable": found.writable, "writables": found.writables,
		"kind": found.kind, "of": of, "list": list})
	for name, text := range files {
		if _, err := set.New(name).Parse(text); err != nil {
			return nil, fmt.Errorf("reading the SQL: %w", err)
		}
	}
	out := make(map[string]string, len(files))
	for name := range files {
		var b bytes.Buffer
		if err := set.ExecuteTemplate(&b, name, nil); err != nil {
			return nil, fmt.Errorf("fitting the SQL: %w", err)
		}
		out[name] = b.String()
	}
	return out, nil
}
