package postgres_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// What Postgres keeps from being altered for our triggers' sake: the columns that their conditions name.
const watchedColumns = `
select coalesce(string_agg(w.line, E'\n' order by w.line), '')
  from (select c.relname || ': ' || string_agg(distinct a.attname, ' ') as line
          from pg_trigger g
          join pg_proc p on p.oid = g.tgfoid and p.pronamespace = 'realtime'::regnamespace
          join pg_class c on c.oid = g.tgrelid and c.relnamespace = 'public'::regnamespace
          join pg_depend d on d.classid = 'pg_trigger'::regclass and d.objid = g.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid
          join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid and a.attnum > 0
         where not g.tgisinternal
         group by c.relname) w`

// TestAColumnThatIsWatchedIsAltered as docs/hasura.md says, which names all there are.
func TestAColumnThatIsWatchedIsAltered(t *testing.T) {
	t.Parallel()
	pool, section := pgtest.New(t), pgtest.Section(t, "hasura.md", "### Migrations of yours")
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(nchat_\\w+)` \\| (.*) \\|$").FindAllStringSubmatch(section, -1) {
		names := strings.Fields(strings.NewReplacer("`", "", ",", "", "muted_until", "").Replace(m[2])) // a column that only some have
		slices.Sort(names)
		told = append(told, m[1]+": "+strings.Join(names, " "))
	}
	slices.Sort(told)
	if want := one[string](t, pool, watchedColumns); strings.Join(told, "\n") != want {
		t.Errorf("docs/hasura.md says\n%s\nand triggers watch\n%s", strings.Join(told, "\n"), want)
	}
	alter := pgtest.SQL(t, section)
	if len(alter) != 1 {
		t.Fatalf("%d ways to alter a column", len(alter))
	}
	if _, err := pool.Exec(t.Context(), `alter table public.nchat_messages alter column content type varchar(40000)`); err == nil {
		t.Error("nothing stands in its way")
	}
	if _, err := pool.Exec(t.Context(), alter[0]); err != nil {
		t.Error(err)
	}
	if got := one[string](t, pool, `select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'public.nchat_messages'::regclass and attname = 'content'`); got != "character varying(40000)" {
		t.Errorf("it is %s", got)
	}
	pgtest.Migrate(t, pool)
	if got := one[string](t, pool, watchedColumns); !strings.Contains(got, "nchat_messages: ") {
		t.Error("nothing watches messages any more")
	}
}
