package receipt

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// The pace of the old columns: a channel at most every few seconds, and one of
// many members as much more seldom.
const (
	legacyEvery  = 2 * time.Second
	legacyAtOnce = 20                   // channels in one round
	perMember    = 5 * time.Millisecond // a channel rests so long for each of its members
	legacyLimit  = 10 * time.Second
	lockLegacy   = 7_249_331_607_003
)

// Run keeps the old columns of unread messages in step, until ctx ends. One
// node does it at a time.
func (s *Service) Run(ctx context.Context) {
	if !s.o.Legacy {
		return
	}
	t := time.NewTicker(legacyEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := s.legacyOnce(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.DebugContext(ctx, "keeping old read columns", "error", err)
		}
	}
}

// legacyOnce counts anew in channels that have new messages.
func (s *Service) legacyOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, legacyLimit)
	defer cancel()
	return postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(lockLegacy)).Scan(&mine); err != nil || !mine {
			return err
		}
		if _, err := tx.Exec(ctx, "set local realtime.quiet = on"); err != nil {
			return err
		}
		const due = `
select c.channel_id, c.seq
  from realtime.channels c
  left join realtime.legacy l on l.channel_id = c.channel_id
 where c.seq > coalesce(l.seq, 0) and (l.at is null or l.at < clock_timestamp() - c.members * $1::interval)
 order by l.at nulls first limit $2`
		rows, err := tx.Query(ctx, due, perMember, legacyAtOnce)
		if err != nil {
			return fmt.Errorf("looking for new messages: %w", err)
		}
		type channel struct {
			ID  uuid.UUID
			Seq int64
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[channel])
		if err != nil {
			return fmt.Errorf("looking for new messages: %w", err)
		}
		for _, c := range list {
			const q = `
insert into realtime.legacy as l (channel_id, seq) values ($1, $2)
on conflict (channel_id) do update set seq = excluded.seq, at = clock_timestamp()`
			if _, err := tx.Exec(ctx, `select realtime.legacy_count($1)`, c.ID); err != nil {
				return fmt.Errorf("counting for the old columns: %w", err)
			}
			if _, err := tx.Exec(ctx, q, c.ID, c.Seq); err != nil {
				return fmt.Errorf("counting for the old columns: %w", err)
			}
		}
		return nil
	})
}
