package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Attention is where a user's attention is. Nobody's but the operator's own push
// service may learn of it.
type Attention struct {
	Looking   bool       // at a device that is shown and was used a moment ago
	Busy      bool       // chosen by hand
	BusyUntil *time.Time // nil: until changed
}

// Attention is that of users, in the order asked.
func (r *Reader) Attention(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]Attention, error) {
	const q = `
select coalesce(p.manual_status, ''), p.manual_until,
       exists (select from realtime.sessions s
                where s.user_id = k.user_id and s.tenant = $1 and s.looking_until > $3 and s.ended_at is null and realtime.counts(s))
  from unnest($2::uuid[]) with ordinality k (user_id, ord)
  left join realtime.presence p on p.tenant = $1 and p.user_id = k.user_id
 order by k.ord`
	now := r.w.now()
	rows, err := db.Query(ctx, q, tenant, users, now)
	if err != nil {
		return nil, fmt.Errorf("reading where attention is: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Attention, error) {
		var rec record
		var looks bool
		err := row.Scan(&rec.manual, &rec.manualUntil, &looks)
		return attend(&rec, looks, now), err
	})
	if err != nil {
		return nil, fmt.Errorf("reading where attention is: %w", err)
	}
	return list, nil
}
