package receipt

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// State is how far the viewer is in a channel. Unread counts what others wrote
// to the channel itself after the mark, but not what is deleted or the system's.
type State struct {
	ChannelID              uuid.UUID
	LastReadMessageID      *uuid.UUID
	LastReadAt             *time.Time
	LastDeliveredMessageID *uuid.UUID
	UnreadCount            int
	MentionCount           int
}

// Same reports whether two states tell the same.
func (s State) Same(o State) bool {
	return s.ChannelID == o.ChannelID && s.UnreadCount == o.UnreadCount && s.MentionCount == o.MentionCount &&
		same(s.LastReadAt, o.LastReadAt) && same(s.LastReadMessageID, o.LastReadMessageID) && same(s.LastDeliveredMessageID, o.LastDeliveredMessageID)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// Key is the channel's id.
func (s State) Key() uuid.UUID { return s.ChannelID }

// ID is the cache key: the channel's id.
func (s State) ID() string { return s.ChannelID.String() }

// Current is States with everything that was committed before the call.
func (s *Service) Current(ctx context.Context, v viewer.Viewer, channels []uuid.UUID) ([]State, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	if err := s.o.toRead(ctx); err != nil {
		return nil, err
	}
	return states(ctx, s.o, v, channels)
}

// States is how far the viewer is in channels, by what is in the log, in one statement. Those it is no
// member of are left out; nil: all of its channels.
func (s *Service) States(ctx context.Context, v viewer.Viewer, channels []uuid.UUID) ([]State, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	return states(ctx, s.o, v, channels)
}

const readStates = `
select s.channel_id, case when m.read_at is not null then r.message_id end, m.read_at,
       case when m.delivered_at is not null then d.message_id end, u.n, u.mentioned
  from realtime.stints s
  join realtime.channels c on c.channel_id = s.channel_id
 cross join lateral (select from realtime.readable($1, $2) x where x.channel_id = s.channel_id and x.member offset 0) k
  left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
  left join lateral (select x.message_id from realtime.messages x
                      where x.channel_id = s.channel_id and x.seq <= m.read_seq and x.seq > c.void and not x.gone order by x.seq desc limit 1) r on true
  left join lateral (select x.message_id from realtime.messages x
                      where x.channel_id = s.channel_id and x.seq <= m.delivered_seq and x.seq > c.void and not x.gone order by x.seq desc limit 1) d on true
 cross join lateral realtime.unread(s.channel_id, $2) u
 where s.user_id = $2 and s.to_seq is null and ($3::uuid[] is null or s.channel_id = any ($3))
 order by s.channel_id`

func states(ctx context.Context, o Options, v viewer.Viewer, channels []uuid.UUID) ([]State, error) {
	rows, err := o.Pool.Query(ctx, readStates, v.Tenant, v.User, channels)
	if err != nil {
		return nil, fmt.Errorf("reading read states: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[State])
	if err != nil {
		return nil, fmt.Errorf("reading read states: %w", err)
	}
	o.counted(ctx, list)
	return list, nil
}

func (o Options) counted(ctx context.Context, list []State) {
	n := 0
	for _, st := range list {
		n += st.UnreadCount
	}
	o.Counted(ctx, n)
}
