package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// One statement of one shape for every id, known or not: nobody can tell an
// unknown id by the time the answer takes.
const readRecords = `
select k.tenant, k.user_id, u.id is not null,
       coalesce(p.active, false), coalesce(p.manual_status, ''), p.manual_until,
       p.custom_text, p.custom_emoji, p.custom_expires_at, p.last_seen_at,
       p.hidden_since, coalesce(p.frozen_status, ''), p.frozen_text, p.frozen_emoji, p.frozen_expires_at, p.updated_at,
       coalesce(s.visibility, 'everyone'),
       coalesce(s.show_online_status, sw.show_online_status, true),
       coalesce(s.show_last_seen, true),
       coalesce(s.allow_read_receipts, sw.read_receipts, true),
       coalesce(s.allow_delivery_receipts, true),
       coalesce(s.invisible_mode, false),
       coalesce(s.broadcast_typing, sw.show_typing_indicator, true),
       coalesce(s.typing_visibility, 'everyone'),
       s.created_at, s.updated_at, s.status_shared_since, s.last_seen_shared_since, s.receipts_shared_since,
       live.sessions, a.n, a.last, a.sum
  from unnest($1::text[], $2::uuid[]) with ordinality k (tenant, user_id, ord)
  left join realtime.nchat_users() u on u.id = k.user_id and u.tenant = k.tenant
  left join realtime.presence p on p.tenant = k.tenant and p.user_id = k.user_id
  left join realtime.presence_settings s on s.tenant = k.tenant and s.user_id = k.user_id
  left join realtime.nchat_switches() sw on sw.user_id = k.user_id and u.id is not null
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
	s := &r.settings
	var live []byte
	err := row.Scan(&r.key.Tenant, &r.key.User, &r.known,
		&r.active, &r.manual, &r.manualUntil,
		&r.custom.Text, &r.custom.Emoji, &r.custom.ExpiresAt, &r.lastSeen,
		&r.hiddenSince, &r.frozen, &r.frozenLine.Text, &r.frozenLine.Emoji, &r.frozenLine.ExpiresAt, &r.updatedAt,
		&s.Visibility, &s.ShowOnlineStatus, &s.ShowLastSeen, &s.AllowReadReceipts, &s.AllowDeliveryReceipts,
		&s.InvisibleMode, &s.BroadcastTyping, &s.TypingVisibility,
		&s.CreatedAt, &s.UpdatedAt, &s.statusSharedSince, &s.lastSeenSharedSince, &s.receiptsSharedSince,
		&live, &r.audience.count, &r.audience.last, &r.audience.sum)
	if err != nil {
		return nil, err
	}
	s.UserID = r.key.User
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

// hysteresis is how long after sharing again a viewer must wait to see what it
// shares: turning a setting on for a glance shows nothing.
const hysteresis = 24 * time.Hour

// share fills in what the viewer shares itself. A viewer unknown shares nothing.
func (rel *relation) share(viewer *record, now time.Time) {
	since := func(t *time.Time) bool { return t == nil || !now.Before(t.Add(hysteresis)) }
	rel.sharesStatus, rel.sharesLastSeen = false, false
	if viewer != nil && viewer.known {
		rel.sharesStatus = viewer.settings.ShowOnlineStatus && since(viewer.settings.statusSharedSince)
		rel.sharesLastSeen = viewer.settings.ShowLastSeen && since(viewer.settings.lastSeenSharedSince)
	}
}

const readMembers = `
select r.channel_id, m.user_id
  from realtime.readable($1, $3) r
  left join realtime.readers() m on m.channel_id = r.channel_id
 where r.channel_id = any ($2)
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
