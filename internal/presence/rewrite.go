package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// UpdateSettings changes some of the caller's settings. base is the UpdatedAt
// the change was made from; where they have changed since, the stricter wins.
func (e *Editor) UpdateSettings(ctx context.Context, v viewer.Viewer, c Change, base *time.Time) (Settings, error) {
	if c.empty() {
		return Settings{}, fault.Field("input", "at least one field must be given")
	}
	if !validVisibility(c.Visibility) || !validVisibility(c.TypingVisibility) {
		return Settings{}, fault.Field("input", "unknown visibility")
	}
	return e.rewrite(ctx, v, func(s Settings) Settings {
		return c.apply(s, base != nil && !equalTime(base, s.UpdatedAt))
	})
}

// SetInvisible turns invisible mode on or off.
func (e *Editor) SetInvisible(ctx context.Context, v viewer.Viewer, on bool) (Settings, error) {
	return e.rewrite(ctx, v, func(s Settings) Settings {
		s.InvisibleMode = on
		return s
	})
}

// ResetSettings goes back to the defaults.
func (e *Editor) ResetSettings(ctx context.Context, v viewer.Viewer) (Settings, error) {
	return e.rewrite(ctx, v, Settings.reset)
}

// rewrite changes the caller's settings and, in the same transaction, what
// others see where invisibility changed: turned on, they keep a frozen picture
// that ends as a disconnection does; turned off, an ordinary connection.
func (e *Editor) rewrite(ctx context.Context, v viewer.Viewer, to func(Settings) Settings) (Settings, error) {
	if err := v.Denied(); err != nil {
		return Settings{}, err
	}
	var out Settings
	err := postgres.Quietly(ctx, e.w.pool, func(tx pgx.Tx) error {
		rec, err := lockRecord(ctx, tx, v.Key)
		if err != nil {
			return err
		}
		now := e.w.now()
		out = to(rec.settings).sharing(rec.settings, now)
		unhidden := !out.InvisibleMode && rec.hiddenSince != nil
		b := &pgx.Batch{}
		switch {
		case unhidden:
			queueUnhide(b, v.Key)
		case out.InvisibleMode && rec.hiddenSince == nil:
			queueHide(b, rec, derive(rec, e.w.rules, e.w.outage(), now), now)
		}
		if out != rec.settings || out.CreatedAt == nil {
			queueSettings(b, v.Key, &out)
		}
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return fmt.Errorf("writing settings: %w", err)
		}
		if unhidden {
			return e.unhidden(ctx, tx, v.Key)
		}
		return nil
	})
	if err != nil {
		return Settings{}, err
	}
	e.w.ring(v.Key)
	return out, nil
}

// lockRecord reads a user for one writer at a time.
func lockRecord(ctx context.Context, tx pgx.Tx, k Key) (*record, error) {
	var t touched
	t.add(k, nil)
	var recs []*record
	b := &pgx.Batch{}
	t.lock(b)
	queueRecords(b, []Key{k}, &recs)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("locking presence: %w", err)
	}
	return recs[0], nil
}

func queueHide(b *pgx.Batch, rec *record, d derived, now time.Time) {
	const q = `
update realtime.presence
   set hidden_since = $3, frozen_status = $4, frozen_text = custom_text, frozen_emoji = custom_emoji,
       frozen_expires_at = custom_expires_at, updated_at = clock_timestamp(),
       last_seen_at = greatest(last_seen_at, $5)
 where tenant = $1 and user_id = $2`
	b.Queue(q, rec.key.Tenant, rec.key.User, now, string(d.status), d.seen)
}

func queueUnhide(b *pgx.Batch, k Key) {
	const q = `
update realtime.presence
   set last_seen_at = case when frozen_status <> 'offline' then greatest(last_seen_at, hidden_since) else last_seen_at end,
       hidden_since = null, frozen_status = null, frozen_text = null, frozen_emoji = null, frozen_expires_at = null,
       updated_at = clock_timestamp()
 where tenant = $1 and user_id = $2`
	b.Queue(q, k.Tenant, k.User)
}

// queueSettings stores s and fills in its times.
func queueSettings(b *pgx.Batch, k Key, s *Settings) {
	const q = `
insert into realtime.presence_settings as p (tenant, user_id, visibility, show_online_status, show_last_seen, allow_read_receipts,
       allow_delivery_receipts, invisible_mode, broadcast_typing, typing_visibility,
       status_shared_since, last_seen_shared_since, receipts_shared_since, typing_shared_since)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
on conflict (tenant, user_id) do update
   set visibility = excluded.visibility, show_online_status = excluded.show_online_status, show_last_seen = excluded.show_last_seen,
       allow_read_receipts = excluded.allow_read_receipts, allow_delivery_receipts = excluded.allow_delivery_receipts,
       invisible_mode = excluded.invisible_mode, broadcast_typing = excluded.broadcast_typing,
       typing_visibility = excluded.typing_visibility, status_shared_since = excluded.status_shared_since,
       last_seen_shared_since = excluded.last_seen_shared_since, receipts_shared_since = excluded.receipts_shared_since,
       typing_shared_since = excluded.typing_shared_since,
       updated_at = greatest(clock_timestamp(), p.updated_at + interval '1 microsecond')
returning created_at, updated_at`
	b.Queue(q, k.Tenant, k.User, s.Visibility, s.ShowOnlineStatus, s.ShowLastSeen, s.AllowReadReceipts,
		s.AllowDeliveryReceipts, s.InvisibleMode, s.BroadcastTyping, s.TypingVisibility,
		s.statusSharedSince, s.lastSeenSharedSince, s.receiptsSharedSince, s.typingSharedSince).
		QueryRow(func(row pgx.Row) error { return row.Scan(&s.CreatedAt, &s.UpdatedAt) })
}
