package bus

import (
	"slices"
	"testing"
)

// TestWhatDidNotGoOutGoesFirst: what was rung while it was tried comes after it.
func TestWhatDidNotGoOutGoesFirst(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	b.Ring("t/hides", "t/first")
	tried := b.pending.take()
	b.Ring("t/first", "t/then")
	b.pending.again(tried)
	if got := b.pending.take(); !slices.Equal(got, []string{"t/hides", "t/first", "t/then"}) {
		t.Error(got)
	}
}
