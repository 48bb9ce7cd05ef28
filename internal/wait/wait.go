// Package wait is what goroutines wait with: a flag that another raises, and
// time that passes unless the context ends first.
package wait

import (
	"context"
	"time"
)

// Flag tells one goroutine that there is something to do. However often it is
// raised, whoever receives from it is woken once and then looks at everything.
type Flag chan struct{}

// NewFlag is a flag that is down.
func NewFlag() Flag { return make(Flag, 1) }

// Raise never blocks.
func (f Flag) Raise() {
	select {
	case f <- struct{}{}:
	default:
	}
}

// For waits; false: ctx ended first.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
