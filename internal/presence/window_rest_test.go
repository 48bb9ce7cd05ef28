package presence

import (
	"testing"
	"time"
)

// TestAWindowRests: of a large channel where something changes all the time a window
// takes a tenth of a processor, and never rests for more than a second.
func TestAWindowRests(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]time.Duration{0: 0, time.Millisecond: 9 * time.Millisecond, 50 * time.Millisecond: 450 * time.Millisecond, time.Minute: time.Second} {
		if got := restAfter(took); got != want {
			t.Errorf("%v after %v, want %v", got, took, want)
		}
	}
}
