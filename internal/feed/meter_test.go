package feed

import (
	"testing"
	"time"
)

func TestLoadIsWhatTheLastSecondBrought(t *testing.T) {
	t.Parallel()
	var m meter
	at := time.Unix(1000, 0)
	step := func(d time.Duration, n int, want bool) {
		t.Helper()
		at = at.Add(d)
		m.add(at, n)
		before := m.until
		if m.busy(at) != want || m.until != before {
			t.Fatalf("after %v and %d: %+v", d, n, &m)
		}
		if m.promise(at) != want || m.promised(at) != want && want {
			t.Fatalf("promised after %v and %d: %+v", d, n, &m)
		}
	}
	step(0, hotLoad-1, false)
	step(10*time.Millisecond, 1, true) // many within a second
	step(time.Second, 0, true)         // it is still what the last second brought
	step(time.Second, 0, false)
	step(time.Minute, hotLoad/2, false) // few, after long
	step(time.Second, hotLoad/2, false) // and few again
	step(time.Second/2, hotLoad/2, true)
	if m.busy(at.Add(time.Hour)) || m.promise(at.Add(time.Hour)) {
		t.Error("busy for ever")
	}
}

// The sequencer takes a fifth of a connection's time at most, until that would
// keep readers waiting.
func TestASlowDatabaseIsLeftToItsWriters(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]time.Duration{
		0:                     pace,
		time.Millisecond:      pace,
		5 * time.Millisecond:  20 * time.Millisecond,
		40 * time.Millisecond: slowest,
		time.Minute:           slowest,
	} {
		if got := rest(took); got != want {
			t.Errorf("after %v: %v; want %v", took, got, want)
		}
	}
}
