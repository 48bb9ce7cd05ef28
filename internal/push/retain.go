package push

import (
	"context"
	"fmt"
	"time"
)

const (
	sweepBatch = 5000
	toldKept   = 7 * 24 * time.Hour // then nobody has it on a screen any more
	queueMost  = 20_000             // jobs that may wait; of more the oldest are dropped
)

// Sweep drops what nobody wants to be told any more, in small batches: jobs a day
// old, those beyond queueMost, and what was put off where nothing is pushed any more;
// and what was told a week ago.
func (s *Service) Sweep(ctx context.Context) error {
	for _, q := range []struct {
		what, sql string
		arg       any
	}{
		{"old jobs", `delete from realtime.push_jobs j where j.id in (
		   select o.id from realtime.push_jobs o where o.created_at < clock_timestamp() - $1::interval limit $2)`, givenUp},
		{"jobs too many", `delete from realtime.push_jobs j where j.id in (
		   select o.id from realtime.push_jobs o order by o.created_at desc offset $1 limit $2)`, queueMost},
		{"what was told", `delete from realtime.push_told t where t.ctid = any (array(
		   select o.ctid from realtime.push_told o where o.at < clock_timestamp() - $1::interval limit $2))`, toldKept},
		{"what was held", `delete from realtime.push_held h where h.ctid = any (array(
		   select o.ctid from realtime.push_held o where o.until < clock_timestamp() - $1::interval limit $2))`, givenUp},
		{"second looks", `delete from realtime.push_again a where a.ctid = any (array(
		   select o.ctid from realtime.push_again o where o.at < clock_timestamp() - $1::interval limit $2))`, givenUp},
	} {
		for {
			tag, err := s.o.Pool.Exec(ctx, q.sql, q.arg, sweepBatch)
			if err != nil {
				return fmt.Errorf("forgetting pushes: %w", err)
			}
			if tag.RowsAffected() > 0 && q.arg == any(queueMost) {
				s.o.Log.WarnContext(ctx, "the push webhook does not keep up: the oldest messages are dropped", "dropped", tag.RowsAffected())
			}
			if tag.RowsAffected() < sweepBatch {
				break
			}
		}
	}
	return nil
}
