package wait_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

func TestAFlagIsRaisedOnceHoweverOften(t *testing.T) {
	t.Parallel()
	f := wait.NewFlag()
	f.Raise()
	f.Raise() // does not block
	<-f
	select {
	case <-f:
		t.Error("one look is asked for twice")
	default:
	}
	f.Raise()
	<-f // and again later
}

func TestForEndsWithItsTimeOrItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !wait.For(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("a minute took %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if began = time.Now(); wait.For(ctx, time.Hour) || time.Since(began) != time.Second {
			t.Errorf("with its context it ends after %v", time.Since(began))
		}
	})
}
