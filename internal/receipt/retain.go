package receipt

import (
	"context"
	"fmt"

	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// Sweeps fold moves that are past the log's retention, and forget the moves and
// marks of channels that the log does not know any more, the marks of threads deleted
// before that time, and what users that are no more had read or muted: not what
// others were told of it. What senders are told of
// how many have received their messages rests on folded moves.
func (s *Service) Sweeps() []sweep.Task {
	const threads = `
delete from realtime.thread_marks m
 where m.ctid = any (array(
   select o.ctid from realtime.ended_threads e join realtime.thread_marks o on o.channel_id = e.channel_id and o.thread_id = e.thread_id
    where e.at < (select clock_timestamp() - $2::interval) and not exists (select from realtime.nchat_threads() t where t.id = e.thread_id) limit $1))`
	const ended = `
delete from realtime.ended_threads e
 where e.ctid = any (array(
   select o.ctid from realtime.ended_threads o
    where o.at < (select clock_timestamp() - $2::interval)
      and (exists (select from realtime.nchat_threads() t where t.id = o.thread_id)
           or not exists (select from realtime.thread_marks m where m.channel_id = o.channel_id and m.thread_id = o.thread_id)) limit $1))`
	of := func(table string) sweep.Task {
		return sweep.Task{Of: table, Batch: sweep.Rows(s.o.Pool, `
delete from realtime.`+table+` m
 where m.ctid = any (array(select o.ctid from realtime.departed_users($2) g join realtime.`+table+` o on o.user_id = g.user_id where g.whole limit $1))`, sweep.Long)}
	}
	return []sweep.Task{
		{Of: "moves", Batch: func(ctx context.Context, most int) (n int, err error) {
			if err := s.o.Pool.QueryRow(ctx, `select realtime.fold_moves($1, $2)`, s.o.Retention, most).Scan(&n); err != nil {
				return 0, fmt.Errorf("folding moves: %w", err)
			}
			return n, nil
		}},
		{Of: "marks", Batch: func(ctx context.Context, most int) (n int, err error) {
			if err := s.o.Pool.QueryRow(ctx, `select realtime.forget_receipts($1)`, most).Scan(&n); err != nil {
				return 0, fmt.Errorf("forgetting receipts: %w", err)
			}
			return n, nil
		}},
		{Of: "thread_marks", Batch: sweep.Rows(s.o.Pool, threads, s.o.Retention)},
		{Of: "ended_threads", Batch: sweep.Rows(s.o.Pool, ended, s.o.Retention)},
		of("marks"), of("thread_marks"), of("notifications"),
	}
}
