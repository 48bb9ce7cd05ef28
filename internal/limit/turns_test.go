package limit

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestTurnsAreTakenOneCallerAfterAnother: whatever one has queued, another waits
// for no more than what runs just then; and nobody has more than its few.
func TestTurnsAreTakenOneCallerAfterAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(3, 2)
		var mu sync.Mutex
		order, running, most := "", 0, 0
		next := make(chan struct{})
		var all sync.WaitGroup
		work := func(key string) {
			all.Go(func() {
				done, err := turns.Take(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order += key
				running++
				most = max(most, running)
				mu.Unlock()
				<-next
				mu.Lock()
				running--
				mu.Unlock()
				done()
				done() // twice is once
			})
		}
		for range 10 {
			work("a")
		}
		synctest.Wait()
		if order != "aa" {
			t.Fatalf("a alone runs %q", order)
		}
		for range 3 {
			work("b")
			synctest.Wait()
		}
		if order != "aab" {
			t.Fatalf("then %q", order)
		}
		next <- struct{}{}
		synctest.Wait()
		next <- struct{}{}
		synctest.Wait()
		if len(order) != 5 || most != 3 {
			t.Errorf("%q, at most %d at a time", order, most)
		}
		for range 11 {
			next <- struct{}{}
			synctest.Wait()
		}
		all.Wait()
		if len(order) != 13 || len(turns.callers) != 0 || turns.free != 3 || len(turns.ring) != 0 {
			t.Errorf("%q; %d callers, %d free, %d in the ring", order, len(turns.callers), turns.free, len(turns.ring))
		}
		if last := order[len(order)-3:]; last != "aaa" {
			t.Errorf("b waited behind all of a: %q", order)
		}
	})
}

// TestWhoGivesUpLeavesTheQueue, and the next has its turn.
func TestWhoGivesUpLeavesTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, 1)
		done, err := turns.Take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gave := make(chan error, 1)
		go func() { _, err := turns.Take(ctx, "b"); gave <- err }()
		synctest.Wait()
		cancel()
		if err := <-gave; err == nil {
			t.Error("it has a turn")
		}
		done()
		again, err := turns.Take(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		again()
		if len(turns.callers) != 0 || turns.free != 1 {
			t.Errorf("%d callers, %d free", len(turns.callers), turns.free)
		}
	})
}

// TestWhatBeganFirstGoesFirst: of one caller's operations the older one is done
// before the next begins, in whatever order their fields come.
func TestWhatBeganFirstGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, 1)
		done, err := turns.Take(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		first, second, third := turns.operation(t.Context()), turns.operation(t.Context()), turns.operation(t.Context())
		ctx := map[byte]context.Context{'1': first, '2': second, '3': third}
		var went []string
		for _, field := range []string{"2a", "3a", "1a", "2b", "1b", "3b", "1c"} {
			go func() {
				done, err := turns.Take(ctx[field[0]], "x")
				if err != nil {
					t.Error(err)
					return
				}
				went = append(went, field)
				done()
			}()
			synctest.Wait()
		}
		done()
		synctest.Wait()
		if want := []string{"1a", "1b", "1c", "2a", "2b", "3a", "3b"}; !slices.Equal(went, want) {
			t.Errorf("%q", went)
		}
	})
}

// TestWhatIsRefusedCostsNothing: not from the accounts that could have paid either.
func TestWhatIsRefusedCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rich, poor := New(100), New(10)
		c := &Cost{Accounts: func(context.Context) []Account { return []Account{{rich, "x"}, {poor, "x"}} }}
		if f := Pay(t.Context(), Weight{Points: 8}, c.Accounts, c.Sending); f != nil {
			t.Fatal(f)
		}
		f := Pay(t.Context(), Weight{Points: 8}, c.Accounts, c.Sending)
		if f == nil || !f.Retryable || f.RetryAfter <= 0 {
			t.Fatalf("%+v", f)
		}
		if n := spend(rich, "x", 1000); n != 92 {
			t.Errorf("%d are left where there was enough", n)
		}
	})
}
