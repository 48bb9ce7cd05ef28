package presence

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// audience is the rule: whoever shows nobody its presence shows nobody its
// receipts; the unknown show nothing.
func audience(rec *record, contacts, blocked []uuid.UUID) viewer.Audience {
	a := viewer.Audience{HiddenFrom: blocked}
	if !rec.known {
		return a
	}
	switch rec.settings.Visibility {
	case Everyone:
	case Contacts:
		if a.ShownTo = contacts; a.ShownTo == nil {
			a.ShownTo = []uuid.UUID{}
		}
	default:
		return a
	}
	a.Read, a.Delivered = rec.settings.AllowReadReceipts, rec.settings.AllowDeliveryReceipts
	return a
}

// Audience is who may learn of a receipt that a user makes now, by one question.
// Whether it is told at once is not decided here but as it is made (see
// hold_invisible).
func (r *Reader) Audience(ctx context.Context, db postgres.DB, k Key) (viewer.Audience, error) {
	const lists = `
select coalesce((select array_agg(distinct c.id) from (
         select contact_user_id as id from realtime.nchat_contacts() where user_id = $1
         union all select contact_user_id from realtime.nchat_dm_contacts() where user_id = $1) c), '{}')
  from realtime.presence_settings s where s.tenant = $2 and s.user_id = $1 and s.visibility = 'contacts'`
	const blocks = `select coalesce(array_agg(b.blocked_user_id), '{}') from realtime.nchat_blocks() b where b.blocker_id = $1`
	var recs []*record
	var contacts, blocked []uuid.UUID
	b := &pgx.Batch{}
	queueRecords(b, []Key{k}, &recs)
	b.Queue(lists, k.User, k.Tenant).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&contacts); !errors.Is(err, pgx.ErrNoRows) { // who shows itself to others needs no list
			return err
		}
		return nil
	})
	b.Queue(blocks, k.User).QueryRow(func(row pgx.Row) error { return row.Scan(&blocked) })
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return viewer.Audience{}, fmt.Errorf("reading who may learn of receipts: %w", err)
	}
	return audience(recs[0], contacts, blocked), nil
}

// Unshared are those of users who do not share their own reading, or have not
// for long enough, and may therefore see nobody's.
func (r *Reader) Unshared(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]uuid.UUID, error) {
	if !r.w.rules.ReceiptReciprocity || len(users) == 0 {
		return nil, nil
	}
	const q = `
select k.id
  from unnest($2::uuid[]) k (id)
  left join realtime.nchat_users() u on u.id = k.id and u.tenant = $1
  left join realtime.presence_settings s on s.tenant = $1 and s.user_id = k.id
  left join realtime.nchat_switches() w on w.user_id = u.id
 where u.id is null or not coalesce(s.allow_read_receipts, w.read_receipts, true) or s.receipts_shared_since > clock_timestamp() - $3::interval`
	rows, err := db.Query(ctx, q, tenant, users, hysteresis)
	if err != nil {
		return nil, fmt.Errorf("reading who shares receipts: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading who shares receipts: %w", err)
	}
	return list, nil
}

// Absent are those of users who have no live session that counts. Nobody's but
// the operator's own push service may learn of it.
func Absent(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]uuid.UUID, error) {
	const q = `
select k.id
  from unnest($2::uuid[]) with ordinality k (id, ord)
  left join realtime.presence p on p.tenant = $1 and p.user_id = k.id
 where not coalesce(p.active, false)
 order by k.ord`
	rows, err := db.Query(ctx, q, tenant, users)
	if err != nil {
		return nil, fmt.Errorf("reading who is away: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading who is away: %w", err)
	}
	return list, nil
}
