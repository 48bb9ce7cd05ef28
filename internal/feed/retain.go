package feed

import (
	"context"
	"fmt"
)

const sweepBatch = 5000

// Sweep forgets entries older than the retention, and what messages said
// before they were changed then. Cursors before them are answered with a reset.
func (s *Service) Sweep(ctx context.Context) error {
	if err := s.sweepVersions(ctx); err != nil {
		return err
	}
	if err := s.sweepVoid(ctx); err != nil {
		return err
	}
	const q = `
with old as (select l.pos from realtime.log l where l.pos > (select floor from realtime.head) and l.at < clock_timestamp() - $1::interval order by l.pos limit $2),
     gone as (delete from realtime.log l using old where l.pos = old.pos returning l.pos, l.mark),
     top as (select count(*) as n, max(pos) as pos, (array_agg(mark order by pos desc))[1] as mark from gone),
     head as (update realtime.head h set floor = top.pos, mark = top.mark from top where top.pos > h.floor returning 1)
select n from top`
	for {
		var n int
		if err := s.o.Pool.QueryRow(ctx, q, s.o.Retention, sweepBatch).Scan(&n); err != nil {
			return fmt.Errorf("forgetting old entries: %w", err)
		}
		if n < sweepBatch {
			return nil
		}
	}
}

func (s *Service) sweepVersions(ctx context.Context) error {
	const q = `
delete from realtime.message_versions v
 where v.ctid = any (array(select o.ctid from realtime.message_versions o where o.at < clock_timestamp() - $1::interval limit $2))`
	for {
		tag, err := s.o.Pool.Exec(ctx, q, s.o.Retention, sweepBatch)
		if err != nil {
			return fmt.Errorf("forgetting old versions: %w", err)
		}
		if tag.RowsAffected() < sweepBatch {
			return nil
		}
	}
}

// sweepVoid ends what an emptied channel leaves, and forgets what one leaves
// that is no more, once the log has forgotten it too: nothing refers to it then.
func (s *Service) sweepVoid(ctx context.Context) error {
	for {
		var n int
		if err := s.o.Pool.QueryRow(ctx, `select realtime.sweep_void($1)`, sweepBatch).Scan(&n); err != nil {
			return fmt.Errorf("forgetting what channels left: %w", err)
		}
		if n < sweepBatch {
			return nil
		}
	}
}
