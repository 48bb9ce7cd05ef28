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
       s.created_at, s.updated_at, s.status_shared_since, s.last_seen_shared_since, s.receipts_shared_since, s.typing_shared_since`
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
		&t.CreatedAt, &t.UpdatedAt, &t.statusSharedSince, &t.lastSeenSharedSince, &t.receiptsSharedSince, &t.typingSharedSince}
}

func (r *settingsRow) of(user uuid.UUID) Settings {
	r.times.UserID = user
	return r.chosen.apply(r.times.reset(), false)
}

// One statement of one shape for every id, known or not: nobody can tell an
// unknown id by the time the answer takes.
const readRecords = recordsHead + `
 cross join lateral (select k.user_id as who offset 0) may` + recordsRest + `may.who` + recordsEnd

// readSeen is readRecords for one viewer ($3), without what it may not see anyway:
// of the blocked, the unknown and those hidden from it nothing is read but their
// settings, and of the invisible no sessions, so that what they do costs no time
// either; in its place nobody is looked up, which finds nothing in the same time.
// It decides nothing: what is read is judged by the rules all the same.
const readSeen = recordsHead + `
 cross join lateral (
    select exists (select from realtime.nchat_users() v where v.id = $3 and v.tenant = k.tenant) as viewer,
           exists (select from realtime.nchat_blocks() b where b.blocker_id = k.user_id and b.blocked_user_id = $3) as blocked offset 0) rel
 cross join lateral (
    select case when k.user_id = $3
                  or u.id is not null and rel.viewer and not rel.blocked
                     and case coalesce(s.visibility, 'everyone')
                           when 'everyone' then true
                           when 'contacts' then exists (select from realtime.nchat_contacts() c where c.user_id = k.user_id and c.contact_user_id = $3)
                                             or exists (select from realtime.nchat_dm_contacts() c where c.user_id = k.user_id and c.contact_user_id = $3)
                           else false end
                then k.user_id else ` + nobody + ` end as who offset 0) may` + recordsRest + `
                  case when k.user_id = $3 or p.hidden_since is null and s.invisible_mode is not true then may.who else ` + nobody + ` end` + recordsEnd

const nobody = `'00000000-0000-0000-0000-000000000000'::uuid`

const recordsHead = `
select k.tenant, k.user_id, u.id is not null,
       coalesce(p.active, false), coalesce(p.manual_status, ''), p.manual_until,
       p.custom_text, p.custom_emoji, p.custom_expires_at, p.last_seen_at,
       p.hidden_since, coalesce(p.frozen_status, ''), p.frozen_text, p.frozen_emoji, p.frozen_expires_at, p.updated_at,
       live.sessions, a.n, a.last, a.sum, a.at,` + settingsColumns + `
  from unnest($1::text[], $2::uuid[]) with ordinality k (tenant, user_id, ord)` + settingsJoins

const recordsRest = `
  left join realtime.presence p on p.tenant = k.tenant and p.user_id = may.who
  left join lateral (
    select jsonb_agg(to_jsonb(x) order by x.connected_at, x.id) as sessions
      from realtime.sessions x
     where x.tenant = k.tenant and x.user_id = `

const recordsEnd = `) live on true
  left join lateral (
    select count(*) as n, coalesce(max(x.id), 0) as last, coalesce(sum(x.id), 0)::bigint as sum, max(x.at) as at
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

// queueSeen is queueRecords for what one viewer may see of them.
func queueSeen(b *pgx.Batch, keys []Key, viewer uuid.UUID, to *[]*record) {
	tenants, users := keyColumns(keys)
	b.Queue(readSeen, tenants, users, viewer).Query(func(rows pgx.Rows) (err error) {
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
		&live, &r.audience.count, &r.audience.last, &r.audience.sum, &r.audienceAt}, s.columns()...)...)
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
