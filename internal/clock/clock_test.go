package clock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nself-org/nchat-realtime/internal/clock"
)

// off is how far the clock is from local time.
func off(c *clock.Clock) time.Duration { return time.Until(c.Now()).Round(time.Millisecond) }

func TestTheShortestRoundTripCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		if off(c) != 0 {
			t.Fatal("not local time before the first observation")
		}
		observe := func(ahead, trip time.Duration) {
			now := time.Now()
			c.Observe(now.Add(-trip), now, now.Add(ahead-trip/2))
		}
		observe(time.Hour, 40*time.Millisecond)
		if off(c) != time.Hour {
			t.Fatalf("an hour ahead reads as %v", off(c))
		}
		observe(time.Hour+30*time.Millisecond, 200*time.Millisecond) // jitter is no step
		if off(c) != time.Hour {
			t.Fatalf("jitter moved the clock to %v", off(c))
		}
		observe(time.Hour+2*time.Millisecond, time.Millisecond)
		if off(c) != time.Hour+2*time.Millisecond {
			t.Fatalf("a better sample is not believed: %v", off(c))
		}
		observe(-time.Minute, time.Millisecond) // a step is, at once
		if off(c) != -time.Minute {
			t.Fatalf("a step was followed to %v", off(c))
		}
		observe(-time.Minute, -time.Second)
		if off(c) != -time.Minute {
			t.Fatal("a round trip into the past was believed")
		}
	})
}

// TestABetterEstimateTakesNothingBack: what is noted after something else on one
// node is never before it by this clock, whatever is learned meanwhile of the
// database's time; only a step is followed.
func TestABetterEstimateTakesNothingBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		observe := func(ahead, trip time.Duration) {
			now := time.Now()
			c.Observe(now.Add(-trip), now, now.Add(ahead-trip/2))
		}
		observe(150*time.Millisecond, 400*time.Millisecond) // a busy machine: wrong by what the round trip allows
		before := c.Now()
		observe(0, time.Millisecond)
		if c.Now().Before(before) {
			t.Errorf("it went back by %v", before.Sub(c.Now()))
		}
		<-time.After(100 * time.Millisecond)
		if !c.Now().Equal(before) {
			t.Errorf("it did not wait for the estimate, and is %v on", c.Now().Sub(before))
		}
		<-time.After(time.Second)
		if off(c) != 0 {
			t.Errorf("it stays %v off", off(c))
		}
		observe(-time.Hour, time.Millisecond)
		if off(c) != -time.Hour {
			t.Errorf("a step was followed to %v", off(c))
		}
	})
}

func TestAlarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		fired := map[int]time.Duration{}
		began := time.Now()
		a := clock.NewAlarm(c, func(due []int) {
			for _, k := range due {
				fired[k] = time.Since(began)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		for k := range 1000 {
			a.Set(k, began.Add(time.Duration(1000-k)*time.Second))
		}
		a.Set(0, began.Add(2500*time.Millisecond)) // moved forward
		a.Set(999, began.Add(time.Hour))           // and back
		a.Clear(998)
		a.Set(5000, began.Add(-time.Second)) // past: at once
		<-time.After(2 * time.Hour)
		synctest.Wait()
		cancel()
		<-done
		if len(fired) != 1000 || a.Len() != 0 {
			t.Fatalf("%d fired, %d left", len(fired), a.Len())
		}
		for k, want := range map[int]time.Duration{0: 2500 * time.Millisecond, 999: time.Hour, 5000: 0, 500: 500 * time.Second} {
			if fired[k] != want {
				t.Errorf("%d fired after %v, want %v", k, fired[k], want)
			}
		}
		if _, ok := fired[998]; ok {
			t.Error("a cleared one fired")
		}
	})
}

func TestAStepOfTheClockReachesSetAlarms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		fired := make(chan time.Duration, 1)
		began := time.Now()
		a := clock.NewAlarm(c, func([]string) { fired <- time.Since(began) })
		go a.Run(t.Context())
		a.Set("x", began.Add(time.Hour))
		now := time.Now()
		c.Observe(now, now, now.Add(59*time.Minute))
		if d := <-fired; d < time.Minute || d > time.Minute+time.Second {
			t.Fatalf("fired after %v", d)
		}
	})
}
