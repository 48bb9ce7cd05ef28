package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// figures are what bystanders noticed in a while.
type figures struct {
	answers    []time.Duration // of queries and mutations
	deliveries []time.Duration // from a message's sending to each other member's frame
	due        int             // deliveries that there have to be
	offline    int             // times that one was seen offline who never went
	wrong      map[string]int  // errors that they got
}

func p99(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)*99/100, len(s)-1)]
}

// crowd are the bystanders: ordinary users, online all the time.
type crowd struct {
	world *world
	all   []*bystander
	pace  time.Duration // between two things that one of them does

	mu   sync.Mutex
	now  figures       // guarded by mu
	news chan struct{} // holds one where now has changed
}

// gather brings everybody online and waits until each sees all it watches online.
func gather(ctx context.Context, w *world, base string, pace time.Duration) (*crowd, error) {
	k := &crowd{world: w, pace: pace, now: figures{wrong: map[string]int{}}, news: make(chan struct{}, 1)}
	for i := range w.people {
		b, err := k.join(ctx, base, i)
		if err != nil {
			k.close()
			return nil, fmt.Errorf("bystander %d: %w", i, err)
		}
		k.all = append(k.all, b)
	}
	for _, b := range k.all {
		if err := b.settled(ctx); err != nil {
			k.close()
			return nil, err
		}
	}
	k.take() // they were offline before they came
	return k, nil
}

func (k *crowd) close() {
	for _, b := range k.all {
		b.leave()
	}
}

func (k *crowd) add(change func(f *figures)) {
	k.mu.Lock()
	change(&k.now)
	k.mu.Unlock()
	select {
	case k.news <- struct{}{}:
	default:
	}
}

func (k *crowd) wrong(what string) { k.add(func(f *figures) { f.wrong[what]++ }) }

// take is what has been noticed since the last time.
func (k *crowd) take() figures {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.now
	k.now = figures{wrong: map[string]int{}}
	return f
}

// live has everybody do things, each so many in a row, or until ctx ends where
// steps is 0; then it waits for what was sent to come. What did not come is an error.
func (k *crowd) live(ctx context.Context, steps int) figures {
	var all sync.WaitGroup
	for i, b := range k.all {
		all.Go(func() {
			begin := time.NewTimer(k.pace * time.Duration(i) / time.Duration(len(k.all))) // not all at once
			defer begin.Stop()
			select {
			case <-ctx.Done():
				return
			case <-begin.C:
			}
			each := time.NewTicker(k.pace)
			defer each.Stop()
			for n := 0; steps == 0 || n < steps; n++ {
				b.step(context.WithoutCancel(ctx))
				select {
				case <-ctx.Done():
					return
				case <-each.C:
				}
			}
		})
	}
	all.Wait()
	k.arrived()
	f := k.take()
	if lost := f.due - len(f.deliveries); lost > 0 {
		f.wrong["not delivered"] += lost
	}
	return f
}

// arrived waits until all that was sent is there.
func (k *crowd) arrived() {
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		k.mu.Lock()
		done := len(k.now.deliveries) >= k.now.due
		k.mu.Unlock()
		if done {
			return
		}
		select {
		case <-k.news:
		case <-end.C:
			return
		}
	}
}
