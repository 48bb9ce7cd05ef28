package push

import (
	"context"
	"fmt"
	"time"

	"github.com/nself-org/nchat-realtime/internal/sweep"
)

const (
	toldKept  = 7 * 24 * time.Hour // then nobody has it on a screen any more
	queueMost = 20_000             // jobs that may wait; of more the oldest are dropped
)

// Sweeps drop what nobody wants to be told any more: jobs a day old, those beyond
// queueMost, and what was put off where nothing is pushed any more; what was
// told a week ago; and the quiet hours of users that are no more.
func (s *Service) Sweeps() []sweep.Task {
	const (
		jobs = `
delete from realtime.push_jobs j where j.id in (
  select o.id from realtime.push_jobs o where o.created_at < (select clock_timestamp() - $2::interval) limit $1)`
		told = `
delete from realtime.push_told t where t.ctid = any (array(
  select o.ctid from realtime.push_told o where o.at < (select clock_timestamp() - $2::interval) limit $1))`
		held = `
delete from realtime.push_held h where h.ctid = any (array(
  select o.ctid from realtime.push_held o where o.until < (select clock_timestamp() - $2::interval) limit $1))`
		again = `
delete from realtime.push_again a where a.ctid = any (array(
  select o.ctid from realtime.push_again o where o.at < (select clock_timestamp() - $2::interval) limit $1))`
		quiet = `
delete from realtime.quiet_hours q where q.ctid = any (array(
  select o.ctid from realtime.departed_users($2) g join realtime.quiet_hours o on o.tenant = g.tenant and o.user_id = g.user_id limit $1))`
	)
	return []sweep.Task{
		{Of: "push_jobs", Batch: sweep.Rows(s.o.Pool, jobs, givenUp)},
		{Of: "push_jobs", Batch: s.dropJobs},
		{Of: "push_told", Batch: sweep.Rows(s.o.Pool, told, toldKept)},
		{Of: "push_held", Batch: sweep.Rows(s.o.Pool, held, givenUp)},
		{Of: "push_again", Batch: sweep.Rows(s.o.Pool, again, givenUp)},
		{Of: "quiet_hours", Batch: sweep.Rows(s.o.Pool, quiet, sweep.Long)},
	}
}

// dropJobs drops the oldest jobs beyond queueMost, and says so.
func (s *Service) dropJobs(ctx context.Context, most int) (int, error) {
	const q = `
delete from realtime.push_jobs j where j.id in (
  select o.id from realtime.push_jobs o order by o.created_at desc offset $1 limit $2)`
	tag, err := s.o.Pool.Exec(ctx, q, queueMost, most)
	if err != nil {
		return 0, fmt.Errorf("dropping jobs: %w", err)
	}
	if n := tag.RowsAffected(); n > 0 {
		s.o.Log.WarnContext(ctx, "the push webhook does not keep up: the oldest messages are dropped", "dropped", n)
	}
	return int(tag.RowsAffected()), nil
}
