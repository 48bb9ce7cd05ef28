package clock

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// recheck bounds a sleep, so that a step of the clock is noticed.
const recheck = time.Second

// Alarm calls back when instants set under keys have come. One goroutine and
// one timer, however many keys.
type Alarm[K comparable] struct {
	clock *Clock
	fire  func(due []K)
	wake  wait.Flag

	mu    sync.Mutex
	queue queue[K]       // guarded by mu
	items map[K]*item[K] // guarded by mu
}

type item[K comparable] struct {
	key   K
	at    time.Time
	index int
}

// NewAlarm is an alarm by c. fire gets all keys due at once, each already
// cleared; it is called from Run's goroutine with no lock held.
func NewAlarm[K comparable](c *Clock, fire func(due []K)) *Alarm[K] {
	return &Alarm[K]{clock: c, fire: fire, wake: wait.NewFlag(), items: map[K]*item[K]{}}
}

// Set moves k's instant; an instant in the past is due at once.
func (a *Alarm[K]) Set(k K, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if it, ok := a.items[k]; ok {
		if it.at.Equal(at) {
			return
		}
		it.at = at
		heap.Fix(&a.queue, it.index)
	} else {
		it = &item[K]{key: k, at: at}
		a.items[k] = it
		heap.Push(&a.queue, it)
	}
	if a.queue[0].key == k {
		a.wake.Raise()
	}
}

// Clear forgets k.
func (a *Alarm[K]) Clear(k K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if it, ok := a.items[k]; ok {
		heap.Remove(&a.queue, it.index)
		delete(a.items, k)
	}
}

// Len is how many keys are set.
func (a *Alarm[K]) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue)
}

// Run calls back until ctx ends.
func (a *Alarm[K]) Run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for ctx.Err() == nil {
		due, wait := a.due()
		if len(due) > 0 {
			a.fire(due)
			continue
		}
		t.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-t.C:
		}
	}
}

// due takes what has come, and how long to sleep for the rest.
func (a *Alarm[K]) due() ([]K, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	var due []K
	for len(a.queue) > 0 && !a.queue[0].at.After(now) {
		it := heap.Pop(&a.queue).(*item[K])
		delete(a.items, it.key)
		due = append(due, it.key)
	}
	if len(a.queue) == 0 {
		return due, time.Hour
	}
	return due, min(a.queue[0].at.Sub(now), recheck)
}

// queue is container/heap's interface, soonest first.
type queue[K comparable] []*item[K]

func (q queue[K]) Len() int           { return len(q) }
func (q queue[K]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue[K]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue[K]) Push(x any) {
	it := x.(*item[K])
	it.index = len(*q)
	*q = append(*q, it)
}

func (q *queue[K]) Pop() any {
	old := *q
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return it
}
