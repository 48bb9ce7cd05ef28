package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// trigger is one that is to be there. What it was made from is its comment, so
// that it is told from one of an earlier version.
type trigger struct {
	statement
	table, id string // qualified; the name without quotes
}

var triggerHead = regexp.MustCompile(`(?s)^create trigger ("[^"]+"|\w+) .*? on ((?:public|realtime)\.\w+)`)

func triggerOf(s statement) (trigger, error) {
	m := triggerHead.FindStringSubmatch(s.text)
	if m == nil {
		return trigger{}, fmt.Errorf("%s: want create trigger NAME … on SCHEMA.TABLE", s.name())
	}
	id := m[1]
	if id[0] == '"' {
		id = id[1 : len(id)-1]
	}
	return trigger{s, m[2], id}, nil
}

// dues is what stands between the triggers that are there and those that are
// to be: statements to run.
type dues struct{ drops, makes []string }

func (d dues) none() bool { return len(d.drops)+len(d.makes) == 0 }

func (d dues) make(ctx context.Context, tx *sql.Tx) error {
	for _, list := range [][]string{d.drops, d.makes} {
		for _, q := range list {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("making triggers: %.80s: %w", q, err)
			}
		}
	}
	return nil
}

// Ours are those that run a function of ours; made by us, those whose comment
// says what from.
const readTriggers = `
select format('%I.%I', n.nspname, c.relname), t.tgname,
       case when t.tgenabled in ('O', 'A') then coalesce(obj_description(t.oid, 'pg_trigger'), '') else 'disabled' end,
       format('drop trigger %I on %I.%I', t.tgname, n.nspname, c.relname)
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_proc p on p.oid = t.tgfoid
 where not t.tgisinternal and t.tgparentid = 0 and p.pronamespace = 'realtime'::regnamespace`

// dueTriggers compares what there is with what is to be.
func dueTriggers(ctx context.Context, tx *sql.Tx, want []trigger) (dues, error) {
	var d dues
	open := map[[2]string]trigger{}
	for _, t := range want {
		key := [2]string{t.table, t.id}
		if _, twice := open[key]; twice {
			return d, fmt.Errorf("%s: the trigger stands in the files twice", t.name())
		}
		open[key] = t
	}
	err := each(ctx, tx, readTriggers, func(scan func(...any) error) error {
		var key [2]string
		var made, drop string
		if err := scan(&key[0], &key[1], &made, &drop); err != nil {
			return err
		}
		t, wanted := open[key]
		switch {
		case wanted && made == t.text:
			delete(open, key)
		case wanted, strings.HasPrefix(made, "create trigger "): // another's that runs a function of ours is another's
			d.drops = append(d.drops, drop)
		}
		return nil
	})
	if err != nil {
		return d, fmt.Errorf("reading triggers: %w", err)
	}
	for _, t := range want {
		if _, due := open[[2]string{t.table, t.id}]; due {
			d.makes = append(d.makes, t.text, fmt.Sprintf("comment on trigger %s on %s is %s", pgx.Identifier{t.id}.Sanitize(), t.table, "'"+strings.ReplaceAll(t.text, "'", "''")+"'"))
		}
	}
	return d, nil
}
