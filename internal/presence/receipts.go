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
	var version string
	b := &pgx.Batch{}
	b.Queue(`select realtime.audience_version($1, $2)`, k.Tenant, k.User). // before all that it is to stand for
										QueryRow(func(row pgx.Row) error { return row.Scan(&version) })
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
	a := audience(recs[0], contacts, blocked)
	a.Version = version
	return a, nil
}

// Unshared are those of users who do not share their own reading, or have not
// for long enough, and may therefore see nobody's.
func (r *Reader) Unshared(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]uuid.UUID, error) {
	if !r.w.rules.ReceiptReciprocity || len(users) == 0 {
		return nil, nil
	}
	const q = `
select k.user_id, u.id is not null,` + settingsColumns + `
  from (select $1 as tenant, x.* from unnest($2::uuid[]) with ordinality x (user_id, ord)) k` + settingsJoins + `
 order by k.ord`
	now := r.w.now()
	list, err := whoever(ctx, db, q, tenant, users, func(row pgx.CollectableRow, rec *record) error {
		var s settingsRow
		err := row.Scan(append([]any{&rec.key.User, &rec.known}, s.columns()...)...)
		rec.settings = s.of(rec.key.User)
		return err
	}, func(rec *record) bool { return !sharesReading(rec, now) })
	if err != nil {
		return nil, fmt.Errorf("reading who shares receipts: %w", err)
	}
	return list, nil
}

// whoever is those of users of whom a rule holds, in the order asked; of their
// records scan reads as much as the rule asks for.
func whoever(ctx context.Context, db postgres.DB, q, tenant string, users []uuid.UUID,
	scan func(pgx.CollectableRow, *record) error, rule func(*record) bool) ([]uuid.UUID, error) {
	rows, err := db.Query(ctx, q, tenant, users)
	if err != nil {
		return nil, err
	}
	recs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*record, error) {
		rec := &record{}
		return rec, scan(row, rec)
	})
	var list []uuid.UUID
	for _, rec := range recs {
		if rule(rec) {
			list = append(list, rec.key.User)
		}
	}
	return list, err
}
