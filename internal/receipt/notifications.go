package receipt

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/sweep"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Level is what of a channel a member wants to hear of.
type Level string

// The levels.
const (
	LevelAll      Level = "all"
	LevelMentions Level = "mentions"
	LevelNone     Level = "none"
)

// MaxMute is how far ahead a mute may end. Without an end it is LevelNone.
const MaxMute = 366 * 24 * time.Hour

// Notifications is what a member wants to hear of a channel: nothing while it is
// muted, and else by its level.
type Notifications struct {
	ChannelID  uuid.UUID
	Level      Level
	MutedUntil *time.Time // nil: it is not muted
}

// ID is the cache key: the channel's id.
func (n Notifications) ID() string { return n.ChannelID.String() }

// Choice is a partial change of notifications.
type Choice struct {
	Level *Level // nil stays
	Mutes bool   // Until is given
	Until *time.Time
}

// NotifierOptions are what a Notifier stands on.
type NotifierOptions struct {
	Pool      *pgxpool.Pool
	Now       func() time.Time // the database's
	Committed func()           // called after each commit that wrote
	Log       *slog.Logger
}

// Notifier knows what members want to hear of their channels.
type Notifier struct{ o NotifierOptions }

// NewNotifier builds one.
func NewNotifier(o NotifierOptions) *Notifier { return &Notifier{o} }

// Of is what the viewer wants to hear of a channel. Errors: access-denied where
// it is no member.
func (n *Notifier) Of(ctx context.Context, v viewer.Viewer, channel uuid.UUID) (Notifications, error) {
	if err := v.Denied(); err != nil {
		return Notifications{}, err
	}
	return notificationsOf(ctx, n.o.Pool, v, channel)
}

func notificationsOf(ctx context.Context, db postgres.DB, v viewer.Viewer, channel uuid.UUID) (Notifications, error) {
	const q = `
select n.level, n.muted_until
  from realtime.notifications_of($3, $2) n
 where exists (select from realtime.readers() r where r.tenant = $1 and r.channel_id = $3 and r.user_id = $2)`
	out := Notifications{ChannelID: channel}
	rows, err := db.Query(ctx, q, v.Tenant, v.User, channel)
	if err != nil {
		return out, fmt.Errorf("reading notifications: %w", err)
	}
	found := false
	if _, err := pgx.ForEachRow(rows, []any{&out.Level, &out.MutedUntil}, func() error { found = true; return nil }); err != nil {
		return out, fmt.Errorf("reading notifications: %w", err)
	}
	if !found {
		return out, fault.Access()
	}
	return out, nil
}

// Set changes what the viewer wants to hear of a channel, and answers what that
// is then; its other devices hear of it by the log. Errors: access-denied where
// it is no member, validation-failed for an end that is not ahead, or further
// than MaxMute.
func (n *Notifier) Set(ctx context.Context, v viewer.Viewer, channel uuid.UUID, c Choice) (out Notifications, err error) {
	if err := v.Denied(); err != nil {
		return out, err
	}
	if c.Level == nil && !c.Mutes {
		return out, fault.Field("input", "input names nothing to change")
	}
	if c.Until != nil {
		if now := n.o.Now(); !c.Until.After(now) || c.Until.After(now.Add(MaxMute)) {
			return out, fault.Field("input.mutedUntil", "mutedUntil must be ahead, and at most a year; for longer there is level: none")
		}
	}
	err = postgres.Quietly(ctx, n.o.Pool, func(tx pgx.Tx) error {
		var member bool
		const q = `select realtime.set_notifications($1, $2, $3, $4, $5, $6)`
		if err := tx.QueryRow(ctx, q, v.Tenant, channel, v.User, c.Level, c.Mutes, c.Until).Scan(&member); err != nil {
			return fmt.Errorf("writing notifications: %w", err)
		}
		if !member {
			return fault.Access()
		}
		out, err = notificationsOf(ctx, tx, v, channel)
		return err
	})
	if err == nil {
		n.o.Committed()
	}
	return out, err
}

const (
	unmuteEvery = time.Second
	unmuteMost  = 500
	unmuteLimit = 10 * time.Second
)

// Run ends mutes whose time is over, until ctx ends: one look at an index a
// second and node, however many users there are. Any number of nodes may run it.
func (n *Notifier) Run(ctx context.Context) {
	t := time.NewTicker(unmuteEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for {
			done, err := n.unmute(ctx)
			if err != nil && ctx.Err() == nil {
				n.o.Log.DebugContext(ctx, "ending mutes", "error", err)
			}
			if done < unmuteMost {
				break
			}
		}
	}
}

// unmute ends mutes that are over: how many it ended.
func (n *Notifier) unmute(ctx context.Context) (done int, err error) {
	ctx, cancel := context.WithTimeout(ctx, unmuteLimit)
	defer cancel()
	err = postgres.Quietly(ctx, n.o.Pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select realtime.unmute($1)`, unmuteMost).Scan(&done)
	})
	if err != nil {
		return 0, fmt.Errorf("ending mutes: %w", err)
	}
	if done > 0 {
		n.o.Committed()
	}
	return done, nil
}

// Sweeps forget what members chose who are none any more, where nobody said so:
// their table was emptied.
func (n *Notifier) Sweeps() []sweep.Task {
	const q = `
delete from realtime.notifications n where n.ctid = any (array(
  select o.ctid from realtime.notifications o
   where not exists (select from public.nchat_channel_members m where m.channel_id = o.channel_id and m.user_id = o.user_id) limit $1))`
	return []sweep.Task{{Of: "notifications", Batch: sweep.Rows(n.o.Pool, q)}}
}
