package receipt

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// mine is one of the viewer's own messages.
type mine struct {
	id, channel uuid.UUID
	thread      uuid.UUID // uuid.Nil: none
	seq         int64
	total       int
}

// Reach is how many of the messages a mark passes are told of as it moves; how
// far older ones are is known to whoever asks.
const Reach = 1000

// reached are messages (x) that a move (v) passed, as far as it is told of.
var reached = fmt.Sprintf(`
  x.channel_id = v.channel_id and x.seq <= v.to_seq and x.seq > greatest(v.to_seq - %d, least(v.from_seq, v.delivered_from))`, Reach)

// loadMine reads the viewer's own messages, in the order asked.
func loadMine(ctx context.Context, db postgres.DB, v viewer.Viewer, ids []uuid.UUID) ([]mine, error) {
	const q = `
select m.message_id, m.channel_id, coalesce(m.thread, $4), m.seq,
       m.members - (select count(*) from realtime.stints s
                     where s.channel_id = m.channel_id and s.user_id = $2 and s.from_seq < m.seq and (s.to_seq is null or m.seq <= s.to_seq))::int
  from unnest($3::uuid[]) with ordinality k (id, ord)
  join realtime.messages m on m.message_id = k.id and m.sender = $2 and not m.gone
  join realtime.readable($1, $2) r on r.channel_id = m.channel_id
 order by k.ord`
	rows, err := db.Query(ctx, q, v.Tenant, v.User, distinct(ids), uuid.Nil)
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m mine, err error) {
		err = row.Scan(&m.id, &m.channel, &m.thread, &m.seq, &m.total)
		m.total = max(m.total, 0)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return list, nil
}

// sendersAtOnce is how many moves one statement of Senders looks at.
const sendersAtOnce = 200

// Senders is who may learn of each of some moves: the senders of messages it
// passed, by the part of it that each may see. A move nobody may learn of is
// left out.
func Senders(ctx context.Context, db postgres.DB, moves []int64) (map[int64][]uuid.UUID, error) {
	q := `
select v.id, array_agg(distinct x.sender)
  from realtime.moves v
  join realtime.messages x on ` + reached + `
 where v.id = any ($1) and realtime.shown(v, x.sender)
   and (realtime.reading_shown(v, x.sender) and x.seq > v.from_seq and x.thread is not distinct from v.thread or v.delivered_public and x.seq > v.delivered_from)
 group by v.id`
	out := map[int64][]uuid.UUID{}
	for part := range slices.Chunk(moves, sendersAtOnce) {
		rows, err := db.Query(ctx, q, part)
		if err != nil {
			return nil, fmt.Errorf("reading who learns of receipts: %w", err)
		}
		var id int64
		var users []uuid.UUID
		_, err = pgx.ForEachRow(rows, []any{&id, &users}, func() error {
			out[id] = slices.Clone(users)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading who learns of receipts: %w", err)
		}
	}
	return out, nil
}

// Passed are the viewer's own messages that moves passed, by the part of each
// that it may see, oldest first; of each move the newest Reach.
func (s *Service) Passed(ctx context.Context, v viewer.Viewer, moves []int64) ([]uuid.UUID, error) {
	if len(moves) == 0 {
		return nil, nil
	}
	shares, err := s.shares(ctx, v)
	if err != nil {
		return nil, err
	}
	q := `
select x.message_id
  from realtime.moves v
  join realtime.messages x on x.sender = $1 and not x.gone and ` + reached + `
 where v.id = any ($3) and realtime.shown(v, $1)
   and ($2 and realtime.reading_shown(v, $1) and x.seq > v.from_seq and x.thread is not distinct from v.thread
        or v.delivered_public and x.seq > v.delivered_from)
 group by x.message_id, x.channel_id, x.seq order by x.channel_id, x.seq`
	rows, err := s.o.Pool.Query(ctx, q, v.User, shares, moves)
	if err != nil {
		return nil, fmt.Errorf("reading messages received: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading messages received: %w", err)
	}
	return ids, nil
}
