package receipt

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// MarkUnread has the viewer not have read from a message on: in its thread where it is
// in one, else in its channel. What its senders were told of reading stays, and is not
// told again. Answered is the channel's state. Error: access-denied for a message that
// the viewer may not mark.
func (s *Service) MarkUnread(ctx context.Context, v viewer.Viewer, message uuid.UUID) (State, error) {
	if err := v.Denied(); err != nil {
		return State{}, err
	}
	if err := s.o.Settle(ctx); err != nil {
		return State{}, err
	}
	var outcome string
	var channel, thread *uuid.UUID
	err := postgres.QuietBatch(ctx, s.o.Pool, func(b *pgx.Batch) {
		b.Queue(`select * from realtime.mark_unread($1, $2, $3)`, v.Tenant, v.User, message).
			QueryRow(func(row pgx.Row) error { return row.Scan(&outcome, &channel, &thread) })
	})
	if err != nil {
		return State{}, fmt.Errorf("marking a message unread: %w", err)
	}
	if outcome != "moved" {
		refused, _ := refusals([]string{outcome}, []uuid.UUID{uuid.Nil})
		return State{}, refused[0]
	}
	s.o.Committed()
	if s.o.Legacy {
		s.legacyRead(ctx, v, []uuid.UUID{*channel})
	}
	list, err := s.States(ctx, v, []uuid.UUID{*channel})
	if err == nil && len(list) == 0 {
		err = fault.Access()
	}
	if err != nil {
		return State{}, err
	}
	return list[0], nil
}
