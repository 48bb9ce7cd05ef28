package wait_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// TestWorkIsDoneInATurn, which is given back whatever comes of it, and not without one.
func TestWorkIsDoneInATurn(t *testing.T) {
	t.Parallel()
	held, bad := 0, errors.New("bad")
	turn := wait.Turn(func(ctx context.Context) (func(), error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		held++
		return func() { held-- }, nil
	})
	err := turn.Do(t.Context(), func() error {
		if held != 1 {
			t.Errorf("%d turns are held", held)
		}
		return bad
	})
	if !errors.Is(err, bad) || held != 0 {
		t.Errorf("%v, and %d are held", err, held)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := turn.Do(ctx, func() error { return bad }); !errors.Is(err, context.Canceled) {
		t.Errorf("without a turn: %v", err)
	}
	if err := wait.Turn(nil).Do(ctx, func() error { return bad }); !errors.Is(err, bad) {
		t.Errorf("where everybody may: %v", err)
	}
}
