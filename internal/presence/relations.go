package presence

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

const readRelations = `
select k.user_id,
       exists (select from realtime.nchat_users() v where v.id = $2 and v.tenant = $1),
       exists (select from realtime.nchat_contacts() c where c.user_id = k.user_id and c.contact_user_id = $2)
         or exists (select from realtime.nchat_dm_contacts() c where c.user_id = k.user_id and c.contact_user_id = $2),
       exists (select from realtime.nchat_blocks() b where b.blocker_id = k.user_id and b.blocked_user_id = $2),
       a.n, a.last, a.sum
  from unnest($3::uuid[]) with ordinality k (user_id, ord)
  left join lateral (
    select count(*) as n, coalesce(max(x.id), 0) as last, coalesce(sum(x.id), 0)::bigint as sum
      from realtime.audience x where x.user_id = k.user_id) a on true
 order by k.ord`

// loadRelations reads what the viewer is to each target. It is to be called
// after the targets' records were read: a relation may be newer than the record
// it judges, never older.
func loadRelations(ctx context.Context, db postgres.DB, v Key, targets []uuid.UUID) ([]relation, error) {
	rows, err := db.Query(ctx, readRelations, v.Tenant, v.User, targets)
	if err != nil {
		return nil, fmt.Errorf("reading relations: %w", err)
	}
	return collectRelations(rows, v)
}

// queueRelations is loadRelations as a part of a batch, after queueRecords.
func queueRelations(b *pgx.Batch, v Key, targets []uuid.UUID, to *[]relation) {
	b.Queue(readRelations, v.Tenant, v.User, targets).Query(func(rows pgx.Rows) (err error) {
		*to, err = collectRelations(rows, v)
		return err
	})
}

func collectRelations(rows pgx.Rows, v Key) ([]relation, error) {
	rels, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (relation, error) {
		var target uuid.UUID
		var r relation
		err := row.Scan(&target, &r.viewer, &r.contact, &r.blocked, &r.at.count, &r.at.last, &r.at.sum)
		r.self = target == v.User && v.User != uuid.Nil
		r.viewer = r.viewer && v.User != uuid.Nil
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading relations: %w", err)
	}
	return rels, nil
}

const readMembers = `
select r.channel_id, m.user_id
  from unnest($2::uuid[]) k (id)
 cross join lateral (select x.channel_id from realtime.readable($1, $3) x where x.channel_id = k.id offset 0) r
  left join realtime.readers() m on m.channel_id = r.channel_id
 order by m.user_id`

// loadMembers lists those who can read each channel, if the viewer may see it.
// A channel of another tenant, unknown or closed to the viewer is left out, by
// the same statement.
func loadMembers(ctx context.Context, db postgres.DB, v Key, channels []uuid.UUID) (map[uuid.UUID][]uuid.UUID, error) {
	rows, err := db.Query(ctx, readMembers, v.Tenant, distinct(channels), v.User)
	if err != nil {
		return nil, fmt.Errorf("reading members: %w", err)
	}
	out := map[uuid.UUID][]uuid.UUID{}
	var channel uuid.UUID
	var member *uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&channel, &member}, func() error {
		list := out[channel]
		if member != nil {
			list = append(list, *member)
		}
		out[channel] = list
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading members: %w", err)
	}
	return out, nil
}

// distinct is each id once, in the order they came.
func distinct(ids []uuid.UUID) []uuid.UUID {
	set := make(map[uuid.UUID]struct{}, len(ids))
	out := make([]uuid.UUID, 0, len(ids))
	for _, id := range ids {
		if _, ok := set[id]; !ok {
			set[id] = struct{}{}
			out = append(out, id)
		}
	}
	return out
}
