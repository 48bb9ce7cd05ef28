package feed

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// ChannelState is a channel as a member sees it.
type ChannelState struct {
	ChannelID  uuid.UUID
	Name       string
	Type       string
	IsArchived bool
	IsReadonly bool
	Role       string
	CanWrite   bool
	LastNumber int64
	Members    int        // who may read it as members, as the log counts them
	Level      string     // what the viewer wants to hear of it: all, mentions or none
	MutedUntil *time.Time // nothing of it until then; nil: it is not muted
}

// ID is the cache key: the channel's id.
func (c ChannelState) ID() string { return c.ChannelID.String() }

// MemberCount is how many members it has: those who may read it.
func (c ChannelState) MemberCount() int { return c.Members }

// LastSeq is the number of its newest message, in decimal.
func (c ChannelState) LastSeq() string { return strconv.FormatInt(c.LastNumber, 10) }

// Channels are channels as the viewer, a member of each, sees them; others are
// left out.
func (s *Service) Channels(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) ([]ChannelState, error) {
	return loadStates(ctx, s.o.Pool, v, ids)
}

func loadStates(ctx context.Context, db postgres.DB, v viewer.Viewer, ids []uuid.UUID) ([]ChannelState, error) {
	const q = `
select r.channel_id, coalesce(r.name, ''), coalesce(r.type, ''), r.archived, r.readonly, r.role, realtime.write_role($1, $3, k.id, null) is not null,
       coalesce(x.seq, 0), coalesce(x.members, 0), coalesce(n.level, 'all'), n.muted_until
  from unnest($2::uuid[]) with ordinality k (id, ord)
 cross join lateral (select * from realtime.readable($1, $3) y where y.channel_id = k.id and y.member offset 0) r
  left join realtime.channels x on x.channel_id = k.id
  left join lateral realtime.notifications_of(k.id, $3) n on true
 order by k.ord`
	rows, err := db.Query(ctx, q, v.Tenant, ids, v.User)
	if err != nil {
		return nil, fmt.Errorf("reading channels: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ChannelState])
	if err != nil {
		return nil, fmt.Errorf("reading channels: %w", err)
	}
	return list, nil
}
