package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Uncopyable gives tables of the app's a column of which no JSON can be made: a
// statement that turns a row as a whole into one fails as it does where the row is huge (54000).
func Uncopyable(t *testing.T, pool *pgxpool.Pool, tables ...string) {
	t.Helper()
	list := []string{
		`create type public.uncopyable as enum ('x')`,
		`create function public.uncopied(public.uncopyable) returns json language plpgsql as $$ begin raise 'a row is taken whole' using errcode = '54000'; end $$`,
		`create cast (public.uncopyable as json) with function public.uncopied(public.uncopyable)`,
	}
	for _, table := range tables {
		list = append(list, `alter table public.`+table+` add column uncopyable public.uncopyable default 'x'`)
	}
	for _, q := range list {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}
