// Package demo is a small world to try the server in: six users, five channels,
// a thread, contacts and a block. Its ids never change.
package demo

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed data/world.sql
var world string

// The users, by number and name.
var (
	Alice = User(1)
	Bob   = User(2)
	Carol = User(3)
	Dave  = User(4)
	Erin  = User(5)
	Frank = User(6)
)

// The channels.
var (
	General   = Channel(1) // public, all six
	Team      = Channel(2) // private: alice, bob, carol
	AliceBob  = Channel(3) // direct; both wrote
	DaveAlice = Channel(4) // direct; alice never wrote
	AliceErin = Channel(5) // direct; both wrote, later alice blocked erin
)

// Names are the users' names in the order of their numbers.
func Names() []string { return []string{"alice", "bob", "carol", "dave", "erin", "frank"} }

// User is the n-th user's id, from 1.
func User(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)) }

// Channel is the n-th channel's id, from 1.
func Channel(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("00000000-0000-4000-9000-%012d", n)) }

// Find is the id of a user given by id or by name; false: neither.
func Find(s string) (uuid.UUID, bool) {
	for i, name := range Names() {
		if strings.EqualFold(s, name) {
			return User(i + 1), true
		}
	}
	id, err := uuid.Parse(s)
	return id, err == nil
}

// Load puts the world into a database that has no user yet; false: it has, and
// nothing was touched. Two loads at once make one world.
func Load(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	loaded := false
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('realtime.demo'))`); err != nil {
			return err
		}
		var any bool
		if err := tx.QueryRow(ctx, `select exists (select from public.nchat_users)`).Scan(&any); err != nil || any {
			return err
		}
		loaded = true
		if _, err := tx.Exec(ctx, world); err != nil {
			return err
		}
		for _, s := range steps {
			if err := s.copy(ctx, tx); err != nil {
				return err
			}
		}
		return count(ctx, tx)
	})
	if err != nil {
		return false, fmt.Errorf("loading the demo world: %w", err)
	}
	return loaded, nil
}

// step copies rows of a table of the world into nchat's of that name.
type step struct{ table, where string }

// steps are in the order that foreign keys ask for.
var steps = []step{{"users", "true"}, {"channels", "true"}, {"channel_members", "true"},
	{"messages", "s.thread_id is null"}, {"threads", "true"}, {"thread_members", "true"}, {"messages", "s.thread_id is not null"},
	{"contacts", "true"}, {"blocked_users", "true"}}

// copyColumns are the columns there are that the world knows, and those that must
// have a value and have none by themselves: these get one of their type's, as do
// those that the world has no value for, where they have none by themselves.
const copyColumns = `
select format('insert into public.%I (%s) select %s from pg_temp.%I s where ', 'nchat_' || $1::text,
              string_agg(format('%I', x.name), ', ' order by x.num), string_agg(x.value, ', ' order by x.num), 'demo_' || $1)
  from (select a.attname as name, a.attnum as num,
               case when w.attname is not null and a.attnotnull then format('coalesce(s.%I::%s, %s)', a.attname, format_type(a.atttypid, a.atttypmod), f.fill)
                    when w.attname is not null then format('s.%I::%s', a.attname, format_type(a.atttypid, a.atttypmod))
                    when a.attnotnull and not a.atthasdef and a.attidentity = '' then f.fill end as value
          from pg_attribute a
          join pg_type y on y.oid = a.atttypid
          left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         cross join lateral (select coalesce(pg_get_expr(d.adbin, d.adrelid),
               case when y.typcategory = 'B' then 'false'
                    when y.typcategory = 'N' then '0'
                    when y.typcategory = 'S' then format('left(md5(s::text), %s)', coalesce(nullif(a.atttypmod, -1) - 4, 32))
                    when y.typcategory = 'D' then 'now()'
                    when y.typcategory = 'E' then format('(enum_range(null::%s))[1]', format_type(a.atttypid, null))
                    when y.typname = 'uuid' then 'gen_random_uuid()'
                    when y.typcategory = 'T' then $$interval '0'$$
                    else $$'{}'$$ end) as fill) f
          left join pg_attribute w on w.attrelid = format('pg_temp.%I', 'demo_' || $1)::regclass and w.attname = a.attname and w.attnum > 0
         where a.attrelid = format('public.%I', 'nchat_' || $1)::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') x
 where x.value is not null`

func (s step) copy(ctx context.Context, tx pgx.Tx) error {
	var insert string
	if err := tx.QueryRow(ctx, copyColumns, s.table).Scan(&insert); err != nil {
		return fmt.Errorf("reading the columns of %s: %w", s.table, err)
	}
	if _, err := tx.Exec(ctx, insert+s.where); err != nil {
		return fmt.Errorf("filling %s: %w", s.table, err)
	}
	return nil
}

// counters are nchat's own, each with what it counts of its row c: an app's triggers may have
// counted on from null, and where there are none nobody has.
var counters = []struct{ table, column, of string }{
	{"nchat_channels", "member_count", "public.nchat_channel_members m where m.channel_id = c.id"},
	{"nchat_channels", "message_count", "public.nchat_messages m where m.channel_id = c.id"},
	{"nchat_threads", "message_count", "public.nchat_messages m where m.thread_id = c.id"},
}

func count(ctx context.Context, tx pgx.Tx) error {
	for _, k := range counters {
		const q = `select exists (select from pg_attribute where attrelid = format('public.%I', $1::text)::regclass and attname = $2 and not attisdropped)`
		var there bool
		err := tx.QueryRow(ctx, q, k.table, k.column).Scan(&there)
		if err == nil && there {
			_, err = tx.Exec(ctx, fmt.Sprintf(`update public.%s c set %s = (select count(*) from %s)`, k.table, k.column, k.of))
		}
		if err != nil {
			return fmt.Errorf("counting %s of %s: %w", k.column, k.table, err)
		}
	}
	return nil
}
