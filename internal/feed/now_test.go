package feed

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// eitherWay is the next batch, by Next or by Now and Look: all that is tested of
// the one is of the other.
func eitherWay(ctx context.Context, x *Stream) (Batch, error) {
	if rand.IntN(2) == 0 { //nolint:gosec // a test's dice
		return x.Next(ctx)
	}
	return asked(ctx, x)
}

// asked is Next as one reads who has no goroutine for it: Now until it has nothing,
// Look where Now says so, and else nothing until it wakes.
func asked(ctx context.Context, x *Stream) (Batch, error) {
	woken := wait.NewFlag()
	x.Woken(woken.Raise)
	defer x.Woken(nil)
	for {
		items, ok := x.Now()
		if !ok {
			b, err := x.Look(ctx)
			if err != nil || b.Reset != "" || b.Live || len(b.Items) > 0 {
				return b, err
			}
			continue
		}
		if len(items) > 0 {
			b := Batch{}
			for _, it := range items {
				b.Items = append(b.Items, *it)
			}
			return b, nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// TestWhatIsInMemoryNeedsNobodyToWait: a stream that is told by Now alone, once it
// has caught up, and asks to be looked at where something changed its rights.
func TestWhatIsInMemoryNeedsNobodyToWait(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	x, err := s.Open(t.Context(), v, "", channels[:1])
	if err != nil {
		t.Fatal(err)
	}
	woken := wait.NewFlag()
	x.Woken(woken.Raise)
	for caught := false; !caught; {
		b, err := x.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		caught = b.Live
	}
	for range 3 {
		id := say(t, pool, channels[0])
		var got []uuid.UUID
		for len(got) == 0 {
			<-woken
			items, ok := x.Now()
			if !ok {
				t.Fatal("a message in memory has to be waited for")
			}
			for _, it := range items {
				got = append(got, it.Message)
			}
		}
		if len(got) != 1 || got[0] != id {
			t.Fatalf("%v, want %s", got, id)
		}
	}
	mustExec(t, pool, `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, channels[0], v.User)
	for ok := true; ok; {
		<-woken
		_, ok = x.Now() // what says that the viewer has left may be told, and what comes after is not
		if ok {
			continue
		}
		if _, err = x.Look(t.Context()); err == nil {
			ok = true
		}
	}
	x.Close()
	if _, ok := x.Now(); ok {
		t.Error("a stream that is closed has nothing more to look at")
	}
	if _, err := x.Look(t.Context()); !errors.Is(err, hub.ErrClosed) {
		t.Error(err)
	}
}
