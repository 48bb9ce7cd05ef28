package feed

import (
	"context"
	"fmt"
	"time"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// Each is a sweep.Rows. An empty stint tells of no message: whoever came and went while nothing was said.
const (
	forgetVersions = `
delete from realtime.message_versions v
 where v.ctid = any (array(select o.ctid from realtime.message_versions o where o.at < (select clock_timestamp() - $2::interval) order by o.at limit $1))`
	forgetStints = `
delete from realtime.stints s
 where s.ctid = any (array(select o.ctid from realtime.stints o
                            where o.from_seq = o.to_seq and o.ended_at < (select clock_timestamp() - $2::interval) order by o.ended_at limit $1))`
)

// Sweeps forget entries older than the retention, what messages said before
// they were changed then, what messages leave that are no more and what channels leave, and look once more at rights that
// were changed while others were. Cursors before what is kept are answered with a reset.
func (s *Service) Sweeps() []sweep.Task {
	return []sweep.Task{
		{Of: "message_versions", Batch: sweep.Rows(s.o.Pool, forgetVersions, s.o.Retention)},
		{Of: "stints", Batch: sweep.Rows(s.o.Pool, forgetStints, s.o.Retention)},
		{Of: "messages", Batch: s.sweepVoid},
		{Of: "messages", Batch: sweepGone(s.o.Pool, max(s.o.Retention, sweep.Long))},
		{Of: "log", Batch: s.sweepLog},
		{Of: "rechecks", Batch: recheck(s.o.Pool)},
	}
}

// Old are those of the first ones that are: to look for most of them would be, where there are
// fewer, to look at all.
const forgetLog = `
with old as (select x.row from (select l.ctid as row, l.at from realtime.log l where l.pos > (select floor from realtime.head) order by l.pos limit $2) x
              where x.at < clock_timestamp() - $1::interval),
     gone as (delete from realtime.log l where l.ctid = any (array(select o.row from old o)) returning l.pos, l.mark),
     top as (select count(*) as n, max(pos) as pos, (array_agg(mark order by pos desc))[1] as mark from gone),
     head as (update realtime.head h set floor = top.pos, mark = top.mark from top where top.pos > h.floor returning 1)
select n from top`

func (s *Service) sweepLog(ctx context.Context, most int) (n int, err error) {
	if err := s.o.Pool.QueryRow(ctx, forgetLog, s.o.Retention, most).Scan(&n); err != nil {
		return 0, fmt.Errorf("forgetting old entries: %w", err)
	}
	return n, nil
}

// recheck looks once more at rights whose change may have met another that was under
// way, each in a transaction of its own.
func recheck(db postgres.DB) func(ctx context.Context, most int) (int, error) {
	return func(ctx context.Context, most int) (n int, err error) {
		for ; n < most; n++ {
			var more bool
			if err := db.QueryRow(ctx, `select realtime.recheck()`).Scan(&more); err != nil {
				return n, fmt.Errorf("looking at rights once more: %w", err)
			}
			if !more {
				break
			}
		}
		return n, nil
	}
}

// sweepVoid ends what an emptied channel leaves, and forgets what one leaves
// that is no more, once the log has forgotten it too: nothing refers to it then.
func (s *Service) sweepVoid(ctx context.Context, most int) (n int, err error) {
	if err := s.o.Pool.QueryRow(ctx, `select realtime.sweep_void($1)`, most).Scan(&n); err != nil {
		return 0, fmt.Errorf("forgetting what channels left: %w", err)
	}
	return n, nil
}

// sweepGone forgets messages that are no more, once no cursor and no client's key can
// lead to them.
func sweepGone(db postgres.DB, kept time.Duration) func(ctx context.Context, most int) (int, error) {
	return func(ctx context.Context, most int) (n int, err error) {
		if err := db.QueryRow(ctx, `select realtime.sweep_gone($1, $2)`, kept, most).Scan(&n); err != nil {
			return 0, fmt.Errorf("forgetting messages that are no more: %w", err)
		}
		return n, nil
	}
}
