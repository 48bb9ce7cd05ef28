package receipt

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// The pace of the old columns: a channel at most every few seconds, one of many
// members as much more seldom, and all of them a small part of the time.
const (
	legacyEvery  = 2 * time.Second
	legacyShare  = 20                   // rest so many times as long as the last round took
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
	t := time.NewTimer(legacyEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		began := time.Now()
		if err := s.legacyOnce(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.DebugContext(ctx, "keeping old read columns", "error", err)
		}
		t.Reset(max(legacyEvery, legacyShare*time.Since(began)))
	}
}

// legacyOnce counts anew in channels where something happened, each in a
// transaction of its own: whoever reads there waits for its own row at most.
func (s *Service) legacyOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, legacyLimit)
	defer cancel()
	var due []uuid.UUID
	mine, err := legacyTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select realtime.legacy_look()`); err != nil {
			return fmt.Errorf("looking for changes: %w", err)
		}
		const q = `
select l.channel_id
  from realtime.legacy l
  join realtime.channels c on c.channel_id = l.channel_id
 where l.due and l.at < clock_timestamp() - c.members * $1::interval
   and realtime.numbered(l.channel_id)
 order by l.at limit $2`
		rows, err := tx.Query(ctx, q, perMember, legacyAtOnce)
		if err == nil {
			due, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		}
		if err != nil {
			return fmt.Errorf("looking for changes: %w", err)
		}
		return nil
	})
	for i := 0; err == nil && mine && i < len(due); i++ {
		mine, err = legacyTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `update realtime.legacy set due = false, at = clock_timestamp() where channel_id = $1`, due[i]); err != nil {
				return fmt.Errorf("counting for the old columns: %w", err)
			}
			if _, err := tx.Exec(ctx, `select realtime.legacy_count($1)`, due[i]); err != nil {
				return fmt.Errorf("counting for the old columns: %w", err)
			}
			return nil
		})
	}
	return err
}

// legacyTx runs fn in a transaction, unless another node is at it.
func legacyTx(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) (mine bool, err error) {
	err = postgres.Quietly(ctx, pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(lockLegacy)).Scan(&mine); err != nil || !mine {
			return err
		}
		return fn(tx)
	})
	return mine, err
}

// legacyRead brings a member's old columns in step with its marks. It comes
// after the receipt, which it must not hold up: the app may hold those rows.
func (s *Service) legacyRead(ctx context.Context, v viewer.Viewer, channels []uuid.UUID) {
	err := postgres.QuietBatch(ctx, s.o.Pool, func(b *pgx.Batch) {
		b.Queue(`select realtime.legacy_read(c, $2) from unnest($1::uuid[]) c order by c`, channels, v.User)
		b.Queue(`select realtime.legacy_threads($1, $2, c) from unnest($3::uuid[]) c order by c`, v.Tenant, v.User, channels)
	})
	if err != nil {
		s.o.Log.WarnContext(ctx, "an old read column is behind, until its user reads on", "error", err)
	}
}
