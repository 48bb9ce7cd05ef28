package presence

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// A user's settings, null where it never chose: then what defaultSettings says.
const (
	settingsColumns = `
       s.visibility, s.show_online_status, s.show_last_seen, s.allow_read_receipts, s.allow_delivery_receipts,
       s.invisible_mode, s.broadcast_typing, s.typing_visibility,
       s.created_at, s.updated_at, s.status_shared_since, s.last_seen_shared_since, s.receipts_shared_since`
	settingsJoins = `
  left join realtime.nchat_users() u on u.id = k.user_id and u.tenant = k.tenant
  left join realtime.presence_settings s on s.tenant = k.tenant and s.user_id = k.user_id`
)

// settingsRow is where settingsColumns are scanned into.
type settingsRow struct {
	chosen Change
	times  Settings
}

func (r *settingsRow) columns() []any {
	c, t := &r.chosen, &r.times
	return []any{&c.Visibility, &c.ShowOnlineStatus, &c.ShowLastSeen, &c.AllowReadReceipts, &c.AllowDeliveryReceipts,
		&c.InvisibleMode, &c.BroadcastTyping, &c.TypingVisibility,
		&t.CreatedAt, &t.UpdatedAt, &t.statusSharedSince, &t.lastSeenSharedSince, &t.receiptsSharedSince}
}

func (r *settingsRow) of(user uuid.UUID) Settings {
	r.times.UserID = user
	return r.chosen.apply(r.times.reset(), false)
}

// One statement of one shape for every id, known or not: nobody can tell an
// unknown id by the time the answer takes.
const readRecords = `
select k.tenant, k.user_id, u.id is not null,
       coalesce(p.active, false), coalesce(p.manual_status, ''), p.manual_until,
       p.custom_text, p.custom_emoji, p.custom_expires_at, p.last_seen_at,
       p.hidden_since, coalesce(p.frozen_status, ''), p.frozen_text, p.frozen_emoji, p.frozen_expires_at, p.updated_at,
       live.sessions, a.n, a.last, a.sum,` + settingsColumns + `
  from unnest($1::text[], $2::uuid[]) with ordinality k (tenant, user_id, ord)` + settingsJoins + `
  left join realtime.presence p on p.tenant = k.tenant and p.user_id = k.user_id
  left join lateral (
    select jsonb_agg(to_jsonb(x) order by x.connected_at, x.id) as sessions
      from realtime.sessions x
     where x.user_id = k.user_id and x.tenant = k.tenant) live on true
  left join lateral (
    select count(*) as n, coalesce(max(x.id), 0) as last, coalesce(sum(x.id), 0)::bigint as sum
      from realtime.audience x where x.user_id = k.user_id) a on true
 order by k.ord`

// loadRecords reads users in the order asked, each key once.
func loadRecords(ctx context.Context, db postgres.DB, keys []Key) ([]*record, error) {
	tenants, users := keyColumns(keys)
	rows, err := db.Query(ctx, readRecords, tenants, users)
	if err != nil {
		return nil, fmt.Errorf("reading presence: %w", err)
	}
	return collectRecords(rows)
}

// queueRecords is loadRecords as a part of a batch.
func queueRecords(b *pgx.Batch, keys []Key, to *[]*record) {
	tenants, users := keyColumns(keys)
	b.Queue(readRecords, tenants, users).Query(func(rows pgx.Rows) (err error) {
		*to, err = collectRecords(rows)
		return err
	})
}

func keyColumns(keys []Key) (tenants []string, users []uuid.UUID) {
	tenants, users = make([]string, len(keys)), make([]uuid.UUID, len(keys))
	for i, k := range keys {
		tenants[i], users[i] = k.Tenant, k.User
	}
	return tenants, users
}

func collectRecords(rows pgx.Rows) ([]*record, error) {
	recs, err := pgx.CollectRows(rows, scanRecord)
	if err != nil {
		return nil, fmt.Errorf("reading presence: %w", err)
	}
	return recs, nil
}

func scanRecord(row pgx.CollectableRow) (*record, error) {
	r := &record{}
	var live []byte
	var s settingsRow
	err := row.Scan(append([]any{&r.key.Tenant, &r.key.User, &r.known,
		&r.active, &r.manual, &r.manualUntil,
		&r.custom.Text, &r.custom.Emoji, &r.custom.ExpiresAt, &r.lastSeen,
		&r.hiddenSince, &r.frozen, &r.frozenLine.Text, &r.frozenLine.Emoji, &r.frozenLine.ExpiresAt, &r.updatedAt,
		&live, &r.audience.count, &r.audience.last, &r.audience.sum}, s.columns()...)...)
	if err != nil {
		return nil, err
	}
	r.settings = s.of(r.key.User)
	if live != nil {
		if err := json.Unmarshal(live, &r.sessions); err != nil {
			return nil, fmt.Errorf("reading sessions: %w", err)
		}
	}
	return r, nil
}

func loadRecord(ctx context.Context, db postgres.DB, k Key) (*record, error) {
	recs, err := loadRecords(ctx, db, []Key{k})
	if err != nil {
		return nil, err
	}
	return recs[0], nil
}
