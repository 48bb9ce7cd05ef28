package wsock

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestEveryWakeIsSeen: whatever is set before a task is woken it sees when it runs
// next, it never runs twice at a time, and when all is done nobody works.
func TestEveryWakeIsSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r runner
		const tasks, wakes = 50, 200
		set, seen, busy := make([]atomic.Int64, tasks), make([]int64, tasks), make([]atomic.Bool, tasks)
		list := make([]*task, tasks)
		for i := range list {
			x := &task{r: &r}
			x.do = func() {
				if !busy[i].CompareAndSwap(false, true) {
					t.Error("it runs twice at a time")
				}
				for {
					seen[i] = set[i].Load()
					busy[i].Store(false)
					if x.rest() {
						return
					}
					busy[i].Store(true)
				}
			}
			list[i] = x
			r.step(x) // it begins owned
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range tasks * wakes / 4 {
					i := rand.IntN(tasks) //nolint:gosec // a test's dice
					set[i].Add(1)
					list[i].wake()
					if rand.IntN(8) == 0 { //nolint:gosec // a test's dice
						runtime.Gosched()
					}
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		for i := range list {
			if seen[i] != set[i].Load() {
				t.Errorf("task %d has seen %d of %d", i, seen[i], set[i].Load())
			}
		}
		if r.workers != 0 || len(r.steps.list) != 0 {
			t.Errorf("%d workers, %d tasks are left", r.workers, len(r.steps.list))
		}
	})
}

// TestARingKeepsItsOrder and not its memory.
func TestARingKeepsItsOrder(t *testing.T) {
	t.Parallel()
	var q ring[int]
	next, want := 0, 0
	for range 20000 {
		for range 3 {
			q.push(next)
			next++
		}
		for _, x := range q.take(nil, 3) {
			if x != want {
				t.Fatalf("%d, want %d", x, want)
			}
			want++
		}
	}
	for range 5000 {
		q.push(next)
		next++
	}
	if len(q.list) > 3*5000 {
		t.Errorf("it holds %d for %d", len(q.list), len(q.list)-q.at)
	}
	if got := q.take(nil, next); len(got) != next-want || !slices.IsSorted(got) || q.list != nil {
		t.Errorf("%d of %d", len(got), next-want)
	}
}

// TestWhoHasNoRoomIsWoken once there is some, and takes none meanwhile.
func TestWhoHasNoRoomIsWoken(t *testing.T) {
	t.Parallel()
	var r runner
	q, ran := newQueue(2, 1000), make(chan struct{}, 10)
	x := &task{r: &r, do: func() { ran <- struct{}{} }}
	for range 2 {
		if !q.space(x) {
			t.Fatal("there is room")
		}
		q.add(frame{data: []byte("x")})
	}
	gone, after := &task{r: &r}, &task{r: &r, do: func() { ran <- struct{}{} }}
	for _, y := range []*task{x, x, gone, after} { // who asks twice is in line once
		if q.space(y) {
			t.Fatal("there is none")
		}
	}
	if q.unwait(gone); len(q.line) != 2 || len(q.turns) != 2 {
		t.Errorf("%d wait, and one of three has gone", len(q.line))
	}
	if !x.rest() || !after.rest() {
		t.Fatal("it was woken")
	}
	if _, ok := take(q); !ok {
		t.Fatal("nothing is queued")
	}
	<-ran
	<-ran
	if len(q.line) != 0 || !q.space(x) {
		t.Error("it waits still")
	}
	q.add(frame{data: []byte("x")})
	if q.space(after) || q.space(x) || q.line[0].t != after {
		t.Error("who was woken with others and found no room is not the first any more")
	}
	q.close(nil)
	if q.add(frame{data: []byte("x")}); len(q.data) != 0 || !q.space(x) {
		t.Error("a queue that is closed takes nothing, and nobody waits for it")
	}
}
