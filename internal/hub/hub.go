// Package hub fans out that something changed, and never what. A subscriber is
// told which of its keys are dirty and reads their present state itself: what
// changes many times before it looks is one change to it, and whoever marks
// never waits for anybody. For state only; it keeps no history.
package hub

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// ErrClosed: the subscription was closed.
var ErrClosed = errors.New("hub: subscription closed")

// Doorbell tells the hubs of every node, this one's included, to look at
// something. Ring never blocks and never loses a topic.
type Doorbell interface{ Ring(topics ...string) }

// Hub holds subscriptions by key. Its methods never block on a subscriber.
type Hub[K comparable] struct {
	mu   sync.Mutex
	keys map[K]map[*Sub[K]]struct{} // guarded by mu
	subs map[*Sub[K]]struct{}       // guarded by mu
}

// New is a hub nobody listens to.
func New[K comparable]() *Hub[K] {
	return &Hub[K]{keys: map[K]map[*Sub[K]]struct{}{}, subs: map[*Sub[K]]struct{}{}}
}

// Sub is one subscription. Its memory is bounded by its keys.
type Sub[K comparable] struct {
	hub    *Hub[K]
	wake   wait.Flag
	closed chan struct{}

	// Guarded by hub.mu.
	keys  map[K]bool // true: it is dirty
	dirty []K
	all   bool
	poked bool
	woken func() // nil: nobody asks
}

// raise says that there is news. The hub's mu is held.
func (s *Sub[K]) raise() {
	s.wake.Raise()
	if s.woken != nil {
		s.woken()
	}
}

// Woken has f called whenever Next or Take may have more, beside what wakes a
// Next that waits. f must not block nor call the hub; nil: nothing is called.
func (s *Sub[K]) Woken(f func()) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.woken = f
}

// Subscribe listens to keys. Nothing is dirty at first.
func (h *Hub[K]) Subscribe(keys ...K) *Sub[K] {
	s := &Sub[K]{hub: h, wake: wait.NewFlag(), closed: make(chan struct{}),
		keys: map[K]bool{}}
	h.mu.Lock()
	h.subs[s] = struct{}{}
	h.mu.Unlock()
	s.Add(keys...)
	return s
}

// Mark says that k changed.
func (h *Hub[K]) Mark(k K) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.keys[k] {
		if !s.keys[k] {
			s.keys[k] = true
			s.dirty = append(s.dirty, k)
		}
		s.raise()
	}
}

// Poke has a subscription's Next return, with or without news; false: it is closed.
func (s *Sub[K]) Poke() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	_, open := s.hub.subs[s]
	s.poked = open
	s.raise()
	return open
}

// MarkAll says that anything may have changed.
func (h *Hub[K]) MarkAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.all = true
		s.raise()
	}
}

// Watched reports whether anybody listens to k.
func (h *Hub[K]) Watched(k K) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.keys[k]) > 0
}

// Len is the number of keys listened to.
func (h *Hub[K]) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.keys)
}

// Add listens to more keys.
func (s *Sub[K]) Add(keys ...K) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if _, open := s.hub.subs[s]; !open {
		return
	}
	for _, k := range keys {
		if _, has := s.keys[k]; !has {
			s.keys[k] = false
		}
		set, ok := s.hub.keys[k]
		if !ok {
			set = map[*Sub[K]]struct{}{}
			s.hub.keys[k] = set
		}
		set[s] = struct{}{}
	}
}

// Remove stops listening to keys, and forgets that they were dirty.
func (s *Sub[K]) Remove(keys ...K) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for _, k := range keys {
		s.remove(k)
	}
	s.dirty = slices.DeleteFunc(s.dirty, func(k K) bool { return !s.keys[k] })
}

func (s *Sub[K]) remove(k K) {
	delete(s.keys, k)
	delete(s.hub.keys[k], s)
	if len(s.hub.keys[k]) == 0 {
		delete(s.hub.keys, k)
	}
}

// Next waits until something is dirty and takes all of it. all: anything may
// be, whatever dirty says. Errors: ctx's, or ErrClosed.
func (s *Sub[K]) Next(ctx context.Context) (dirty []K, all bool, err error) {
	for {
		var poked bool
		if dirty, all, poked = s.take(); len(dirty) > 0 || all || poked {
			return dirty, all, nil
		}
		select {
		case <-s.wake:
		case <-s.closed:
			return nil, false, ErrClosed
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// Take is Next without waiting: what is dirty now, if anything is.
func (s *Sub[K]) Take() (dirty []K, all bool) {
	dirty, all, _ = s.take()
	return dirty, all
}

// Now is Next without waiting. asked: it was poked or closed, of which Open tells
// which; nothing was taken.
func (s *Sub[K]) Now() (dirty []K, all, asked bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if _, open := s.hub.subs[s]; s.poked || !open {
		return nil, false, true
	}
	dirty, all, _ = s.takeLocked()
	return dirty, all, false
}

// Open reports whether it is not closed yet.
func (s *Sub[K]) Open() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	_, open := s.hub.subs[s]
	return open
}

func (s *Sub[K]) take() (dirty []K, all, poked bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.takeLocked()
}

func (s *Sub[K]) takeLocked() (dirty []K, all, poked bool) {
	dirty, all, poked = s.dirty, s.all, s.poked
	s.dirty, s.all, s.poked = nil, false, false
	for _, k := range dirty {
		s.keys[k] = false
	}
	return dirty, all, poked
}

// Close ends the subscription; a waiting Next returns ErrClosed.
func (s *Sub[K]) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if _, open := s.hub.subs[s]; !open {
		return
	}
	delete(s.hub.subs, s)
	for k := range s.keys {
		s.remove(k)
	}
	s.dirty = nil
	close(s.closed)
	if s.woken != nil {
		s.woken()
	}
}
