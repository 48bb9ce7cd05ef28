package receipt

import (
	"context"
	"fmt"
)

const sweepBatch = 5000

// Sweep forgets moves that nobody may ever learn of, and the moves and marks of
// channels that the log does not know any more. A move that somebody may learn
// of stays as long as its channel: what its messages' senders are told of how
// many have received them rests on it.
func (s *Service) Sweep(ctx context.Context) error {
	for _, q := range []string{`
delete from realtime.moves v where v.id = any (array(
  select o.id from realtime.moves o where not o.held and not o.read_public and not o.delivered_public order by o.id limit $1))`, `
delete from realtime.moves v where v.ctid = any (array(
  select o.ctid from realtime.forgotten() f join realtime.moves o on o.channel_id = f.channel_id limit $1))`, `
delete from realtime.marks m where m.ctid = any (array(
  select o.ctid from realtime.forgotten() f join realtime.marks o on o.channel_id = f.channel_id limit $1))`, `
delete from realtime.thread_marks m where m.ctid = any (array(
  select o.ctid from realtime.forgotten() f join realtime.thread_marks o on o.channel_id = f.channel_id limit $1))`,
	} {
		for {
			tag, err := s.o.Pool.Exec(ctx, q, sweepBatch)
			if err != nil {
				return fmt.Errorf("forgetting moves of marks: %w", err)
			}
			if tag.RowsAffected() < sweepBatch {
				break
			}
		}
	}
	return nil
}
