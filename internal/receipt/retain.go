package receipt

import (
	"context"
	"fmt"

	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// Sweeps fold moves that are past the log's retention, and forget the moves and
// marks of channels that the log does not know any more. What senders are told of
// how many have received their messages rests on folded moves.
func (s *Service) Sweeps() []sweep.Task {
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
	}
}
