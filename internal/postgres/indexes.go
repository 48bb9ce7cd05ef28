package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Unindexed are the indexes that the app's own tables lack, as statements that make
// them while the app writes. Tables that our migrations made have them; one of the
// app's is left as it is, and looked through whole without.
func Unindexed(ctx context.Context, db DB) ([]string, error) {
	// An index of a partitioned table cannot be made without its lock: first each partition's.
	const q = `
select format(case c.relkind when 'r' then 'create index concurrently on public.%I (%s)'
                             else 'create index on public.%I (%s), after the same concurrently on each partition' end, w.tbl, array_to_string(w.cols, ', '))
  from (values ('nchat_channel_members', array['channel_id']), ('nchat_channel_members', array['user_id']),
               ('nchat_messages', array['channel_id', 'created_at']), ('nchat_messages', array['channel_id', 'user_id', 'created_at'])) w (tbl, cols)
  join pg_class c on c.relnamespace = 'public'::regnamespace and c.relname = w.tbl and c.relkind in ('r', 'p')
 where not exists (
         select from pg_index i
           join pg_class x on x.oid = i.indexrelid
           join pg_am a on a.oid = x.relam and a.amname = 'btree'
          where i.indrelid = c.oid and i.indisvalid and i.indpred is null
            and w.cols = (select array_agg(t.attname::text order by k.ord)
                            from unnest(i.indkey::int2[]) with ordinality k (num, ord)
                            join pg_attribute t on t.attrelid = c.oid and t.attnum = k.num
                           where k.ord <= least(cardinality(w.cols), i.indnkeyatts)))
 order by 1`
	rows, err := db.Query(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("looking for indexes: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("looking for indexes: %w", err)
	}
	return list, nil
}
