package hub_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nself-org/nchat-realtime/internal/hub"
)

func TestManyMarksAreOneChange(t *testing.T) {
	t.Parallel()
	h := hub.New[string]()
	s := h.Subscribe("a", "b")
	for range 1000 {
		h.Mark("a")
		h.Mark("c")
	}
	if got, all, err := s.Next(t.Context()); err != nil || all || !slices.Equal(got, []string{"a"}) {
		t.Fatal(got, all, err)
	}
	h.MarkAll()
	if _, all, err := s.Next(t.Context()); err != nil || !all {
		t.Fatal(all, err)
	}
	s.Add("c")
	h.Mark("c")
	s.Remove("c")
	h.Mark("b")
	if got, _, err := s.Next(t.Context()); err != nil || !slices.Equal(got, []string{"b"}) {
		t.Fatal("what is removed is not dirty:", got, err)
	}
	s.Close()
	s.Close()
	if _, _, err := s.Next(t.Context()); !errors.Is(err, hub.ErrClosed) {
		t.Fatal(err)
	}
	s.Add("z")
	if h.Len() != 0 || h.Watched("a") {
		t.Fatal("a closed subscription is kept")
	}
}

// TestWhatIsRemovedIsDirtyNoMore, also where it is listened to again; the others are, in
// the order in which they became so.
func TestWhatIsRemovedIsDirtyNoMore(t *testing.T) {
	t.Parallel()
	h := hub.New[string]()
	s := h.Subscribe("a", "b", "c", "d")
	for _, k := range []string{"c", "a", "b", "c"} {
		h.Mark(k)
	}
	s.Remove("a")
	s.Add("a", "b")
	if got, _ := s.Take(); !slices.Equal(got, []string{"c", "b"}) {
		t.Fatal(got)
	}
	h.Mark("a")
	h.Mark("b")
	if got, _ := s.Take(); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatal(got)
	}
	h.Mark("d")
	s.Close()
	if got, all := s.Take(); len(got) > 0 || all {
		t.Fatal(got, all)
	}
}

func TestNextWaitsAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hub.New[int]()
		s := h.Subscribe(1)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() { _, _, err := s.Next(ctx); got <- err }()
		synctest.Wait()
		select {
		case err := <-got:
			t.Fatal("returned with nothing dirty:", err)
		default:
		}
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

// Whatever happens at once, the last value of every key is seen in the end.
func TestNothingMarkedIsMissed(t *testing.T) {
	t.Parallel()
	const keys, marks, readers = 50, 5000, 8
	h := hub.New[int]()
	var mu sync.Mutex
	truth := make([]int, keys)
	var readersDone, marked sync.WaitGroup
	for range readers {
		s := h.Subscribe()
		for k := range keys {
			s.Add(k)
		}
		readersDone.Go(func() {
			defer s.Close()
			seen := make([]int, keys)
			for {
				dirty, _, err := s.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, k := range dirty {
					seen[k] = truth[k]
				}
				mu.Unlock()
				if seen[0] == -1 { // the last word
					for k := 1; k < keys; k++ {
						mu.Lock()
						if seen[k] != truth[k] {
							t.Errorf("key %d: saw %d, is %d", k, seen[k], truth[k])
						}
						mu.Unlock()
					}
					return
				}
			}
		})
	}
	for range 4 {
		marked.Go(func() {
			for i := range marks {
				k := 1 + rand.IntN(keys-1)
				mu.Lock()
				truth[k] = i
				mu.Unlock()
				h.Mark(k)
			}
		})
	}
	marked.Wait()
	mu.Lock()
	truth[0] = -1
	mu.Unlock()
	h.Mark(0)
	readersDone.Wait()
	if h.Len() != 0 {
		t.Fatal("keys are left")
	}
}

func BenchmarkMark5000Subscribers(b *testing.B) {
	h := hub.New[int]()
	for range 5000 {
		h.Subscribe(1)
	}
	for b.Loop() {
		h.Mark(1)
	}
}
