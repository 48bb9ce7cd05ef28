package receipt

import (
	"context"
	"fmt"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Totals is how much a viewer has to read in all of its channels but those it has
// muted; Threads are those it follows that have something unread.
type Totals struct{ Channels, Messages, Mentions, Threads int }

// A level of notification that is none is as good as muted.
const unreadTotals = `
select count(*) filter (where u.n > 0), coalesce(sum(u.n), 0)::bigint, coalesce(sum(u.mentioned), 0)::bigint, realtime.unread_threads($1, $2)
  from realtime.stints s
 cross join lateral (select from realtime.readers() x
                      where x.tenant = $1 and x.user_id = $2 and x.channel_id = s.channel_id and x.notify <> 'none' offset 0) k
 cross join lateral realtime.unread(s.channel_id, $2) u
 where s.user_id = $2 and s.to_seq is null`

// CurrentTotals is Totals with everything that was committed before the call.
func (s *Service) CurrentTotals(ctx context.Context, v viewer.Viewer) (Totals, error) {
	if err := v.Denied(); err != nil {
		return Totals{}, err
	}
	if err := s.o.toRead(ctx); err != nil {
		return Totals{}, err
	}
	return s.Totals(ctx, v)
}

// Totals is how much a viewer has to read, by what is in the log.
func (s *Service) Totals(ctx context.Context, v viewer.Viewer) (t Totals, err error) {
	if err := v.Denied(); err != nil {
		return t, err
	}
	if err := s.o.Pool.QueryRow(ctx, unreadTotals, v.Tenant, v.User).Scan(&t.Channels, &t.Messages, &t.Mentions, &t.Threads); err != nil {
		return t, fmt.Errorf("reading unread totals: %w", err)
	}
	s.o.Counted(ctx, t.Messages)
	return t, nil
}
