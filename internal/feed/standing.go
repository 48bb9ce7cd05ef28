package feed

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Standing is how far the log is, for an operator.
type Standing struct {
	Pos   int64 // the last position given
	Here  int64 // as far as this node has read
	Inbox int   // notes that wait for theirs, mostInbox at most
}

// mostInbox bounds what is counted of the inbox.
const mostInbox = 10000

// StandingOf reads how far the log is.
func StandingOf(ctx context.Context, s *Service) (Standing, error) {
	var is Standing
	is.Here, _ = s.tail.end()
	const q = `select realtime.last_pos(), (select count(*) from (select from realtime.inbox limit $1) x)`
	if err := s.o.Pool.QueryRow(ctx, q, mostInbox).Scan(&is.Pos, &is.Inbox); err != nil {
		return is, fmt.Errorf("reading how far the log is: %w", err)
	}
	is.Here = min(is.Here, is.Pos) // another batch may have been read meanwhile
	return is, nil
}

// Room is a channel as an operator may see it: how large it is. Its name is its
// members' matter.
type Room struct {
	ID       uuid.UUID
	Members  int
	Messages int64 // numbered since the installation
}

// Rooms are the largest channels over all tenants, most at most. Direct ones are
// left out: who writes when to whom is theirs.
func Rooms(ctx context.Context, db postgres.DB, most int) ([]Room, error) {
	const q = `select channel_id, members, seq from realtime.channels where not direct order by members desc, seq desc, channel_id limit $1`
	rows, err := db.Query(ctx, q, most)
	if err != nil {
		return nil, fmt.Errorf("reading the largest channels: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Room])
	if err != nil {
		return nil, fmt.Errorf("reading the largest channels: %w", err)
	}
	return all, nil
}
