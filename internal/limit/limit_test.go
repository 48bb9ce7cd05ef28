package limit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

func spend(l *Limiter, key string, most int) (taken int) {
	for range most {
		if ok, _ := l.Allow(key); !ok {
			return taken
		}
		taken++
	}
	return taken
}

func TestAMinutesWorthAtOnceThenEvenly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(600)
		if n := spend(l, "a", 1000); n != 600 {
			t.Fatalf("%d at once", n)
		}
		if n := spend(l, "b", 1000); n != 600 {
			t.Errorf("another key has %d", n)
		}
		ok, after := l.Allow("a")
		if ok || after != 100*time.Millisecond {
			t.Fatalf("refused %v, come back in %v", !ok, after)
		}
		<-time.After(after - time.Millisecond)
		if ok, left := l.Allow("a"); ok || left != time.Millisecond {
			t.Errorf("a millisecond early: taken %v, come back in %v", ok, left)
		}
		<-time.After(time.Millisecond)
		if ok, _ := l.Allow("a"); !ok {
			t.Error("refused at the moment it was told to come back")
		}
		if ok, _ := l.Allow("a"); ok {
			t.Error("refusals and waiting gave more than one")
		}
		<-time.After(time.Minute)
		if n := spend(l, "a", 1000); n != 600 {
			t.Errorf("%d after a minute of rest", n)
		}
	})
}

// A bucket in use is never replaced by a fresh one, however long it is used.
func TestNoMoreThanTheRateInTheLongRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, taken := New(60), 0
		for range 600 { // ten minutes
			taken += spend(l, "a", 10)
			<-time.After(time.Second)
		}
		if taken > 60+600 {
			t.Errorf("%d in ten minutes", taken)
		}
	})
}

func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(60)
		for _, c := range []struct {
			n    int
			ok   bool
			wait time.Duration
		}{{40, true, 0}, {30, false, 10 * time.Second}, {20, true, 0}, {0, true, 0}, {1, false, time.Second}, {1000, false, time.Minute}} {
			if ok, wait := l.AllowN("a", c.n); ok != c.ok || wait != c.wait {
				t.Errorf("%d: %v, %v", c.n, ok, wait)
			}
		}
	})
}

// What is charged is always taken, and is waited for by whatever comes next: a minute
// at most until there is one again.
func TestACharge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(60)
		for i, c := range []struct {
			charge int
			ok     bool
			wait   time.Duration
		}{{0, true, 0}, {58, true, 0}, {0, false, time.Second}, {10, false, 11 * time.Second}, {1_000_000, false, time.Minute + time.Second}, {5, false, time.Minute + time.Second}} {
			l.Charge("a", c.charge)
			if ok, wait := l.Allow("a"); ok != c.ok || wait != c.wait {
				t.Errorf("%d: %v, %v", i, ok, wait)
			}
		}
		if ok, _ := l.Allow("b"); !ok {
			t.Error("another pays for it")
		}
		<-time.After(time.Minute + time.Second)
		if ok, _ := l.Allow("a"); !ok {
			t.Error("it is never forgiven")
		}
		l.Charge("fresh", 1_000_000)
		if ok, wait := l.Allow("fresh"); ok || wait != time.Minute+time.Second {
			t.Errorf("who had nothing owes: %v, %v", ok, wait)
		}
	})
}

// What a refusal tells is in whole milliseconds and never too early.
func TestRetryAfterIsRoundedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(70_001)
		spend(l, "a", 70_001)
		_, after := l.Allow("a")
		if after%time.Millisecond != 0 || after <= 0 {
			t.Fatalf("come back in %v", after)
		}
		<-time.After(after)
		if ok, _ := l.Allow("a"); !ok {
			t.Error("too early")
		}
	})
}

// Somebody with as many keys as they like does not get rid of what they owe:
// memory is bounded, and the one who owes most is never forgotten.
func TestManyKeysBuyNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(10)
		l.most = 100
		if spend(l, "heavy", 20) != 10 {
			t.Fatal("the limit is another")
		}
		for i := range 1000 {
			l.Allow(fmt.Sprint("key ", i))
		}
		if len(l.keys) != 100 || len(l.due) != 100 {
			t.Errorf("%d keys, %d debts remembered", len(l.keys), len(l.due))
		}
		if ok, _ := l.Allow("heavy"); ok {
			t.Error("pushed out and fresh again")
		}
		// A thousand newcomers took a hundred places: on the whole they had no
		// more than those places have.
		total := 0
		for i := range 5000 {
			total += spend(l, fmt.Sprint("more ", i), 10)
		}
		if total > 100*10 {
			t.Errorf("%d operations out of 100 buckets of 10", total)
		}
		// An hour later everything is paid, and forgotten as it is asked for.
		<-time.After(time.Hour)
		for i := range 20 {
			if ok, _ := l.Allow(fmt.Sprint("late ", i)); !ok {
				t.Error("an old debt is held against a newcomer")
			}
		}
		if len(l.keys) > 40 {
			t.Errorf("%d keys still remembered", len(l.keys))
		}
	})
}

// Rest fills a bucket and no more, whether or not it has been forgotten yet.
func TestRestIsNotSaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(10)
		for i := range 100 {
			l.Allow(fmt.Sprint(i))
			<-time.After(time.Millisecond) // the last is the last to be forgotten
		}
		<-time.After(time.Hour)
		if n := spend(l, "99", 100); n != 10 {
			t.Errorf("%d after an hour", n)
		}
	})
}

func TestTheHeapAndTheMapAgree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(5)
		l.most = 20
		r := rand.New(rand.NewPCG(1, 2))
		for range 5000 {
			l.AllowN(fmt.Sprint(r.IntN(50)), r.IntN(4))
			<-time.After(time.Duration(r.IntN(3000)) * time.Millisecond)
			if len(l.keys) != len(l.due) || len(l.keys) > l.most {
				t.Fatalf("%d keys, %d debts", len(l.keys), len(l.due))
			}
			for i, d := range l.due {
				if d.at != i || l.keys[d.key] != d || i > 0 && d.full.Before(l.due[(i-1)/2].full) {
					t.Fatal("out of order")
				}
			}
		}
	})
}

func TestConcurrentCallersShareABucket(t *testing.T) {
	t.Parallel()
	l := New(1) // a minute for the next one: no refill while this runs
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 32 {
		wg.Go(func() {
			for range 100 {
				if ok, _ := l.Allow("a"); ok {
					mu.Lock()
					taken++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if taken != 1 {
		t.Errorf("%d taken", taken)
	}
}

type callerKey struct{}

func TestOperations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := Operations{Limiter: New(2), Key: func(ctx context.Context) (string, bool) {
			key, _ := ctx.Value(callerKey{}).(string)
			return key, key == "exempt"
		}}
		exec := newExecutor(o)
		ask := func(who, query string) *fault.Error {
			ctx := context.WithValue(t.Context(), callerKey{}, who)
			_, errs := exec.CreateOperationContext(graphql.StartOperationTrace(ctx), &graphql.RawParams{Query: query})
			for _, e := range errs {
				if f := fault.From(e); f.Code == fault.RateLimited {
					return f
				}
			}
			return nil
		}
		for _, query := range []string{"{a}", "{not parsed"} { // what fails costs too
			if f := ask("alice", query); f != nil {
				t.Fatalf("%s: %v", query, f)
			}
		}
		f := ask("alice", "{a}")
		if f == nil || f.RetryAfter != 30*time.Second || !f.Retryable || f.Message != "more than 2 operations a minute" {
			t.Fatalf("the third: %+v", f)
		}
		if ask("bob", "{a}") != nil {
			t.Error("one caller's operations are counted against another")
		}
		for range 10 {
			if ask("exempt", "{a}") != nil {
				t.Fatal("who is exempt was refused")
			}
		}
		<-time.After(f.RetryAfter)
		if ask("alice", "{a}") != nil {
			t.Error("refused after the time it was told to wait")
		}
	})
}
