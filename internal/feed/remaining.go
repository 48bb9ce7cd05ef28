package feed

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// remaining is how many messages are still to come after this page, of the
// next ten thousand changes; where it takes too long to pass what lies between these, they
// are not counted.
func (b *builder) remaining(ctx context.Context) (int, error) {
	const q = `
select count(distinct y.message_id) from (
  select l.message_id from unnest($1::uuid[]) c (id)
   cross join lateral (
     select x.message_id from realtime.log x
      where x.channel_id = c.id and x.pos > $2 and x.pos <= $3 and x.message_id is not null limit 10000) l limit 10000) y`
	var n int
	if _, err := postgres.Briefly(ctx, b.db, b.s.look.counts, q, []any{b.gs.readable(), b.at.pos, b.st.pos}, &n); err != nil {
		return 0, fmt.Errorf("counting what remains: %w", err)
	}
	if b.at.mode == inFresh {
		rest, err := b.unsent(ctx)
		n += rest
		if err != nil {
			return 0, err
		}
	}
	if b.at.mode == atEntry {
		return n, nil
	}
	const here = `
select count(*) from (
  select from realtime.channels c join realtime.messages x on x.channel_id = c.channel_id and x.seq > c.void
   where c.channel_id = $1 and x.seq < $2 and not x.gone and not x.deleted limit $3) y`
	var left int
	if err := b.db.QueryRow(ctx, here, b.at.channel, b.at.seq, int(b.at.left)).Scan(&left); err != nil {
		return 0, fmt.Errorf("counting what remains: %w", err)
	}
	return n + left, nil
}

// unsent is how many messages a fresh start has for channels after this one.
func (b *builder) unsent(ctx context.Context) (n int, err error) {
	todo := b.members()
	from, found := slices.BinarySearchFunc(todo, b.at.channel, func(id, at uuid.UUID) int { return slices.Compare(id[:], at[:]) })
	if found {
		from++
	}
	const q = `
select coalesce(sum(m.n), 0)
  from unnest($1::uuid[]) k (id)
  join realtime.channels c on c.channel_id = k.id
 cross join lateral (select count(*) as n from (
   select from realtime.messages x where x.channel_id = k.id and x.seq > c.void and not x.gone and not x.deleted limit $2) y) m`
	if err := b.db.QueryRow(ctx, q, todo[from:], Newest).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting what remains: %w", err)
	}
	return n, nil
}
