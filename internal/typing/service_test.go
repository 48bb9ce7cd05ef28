package typing

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

func TestThePaceOfSignals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Service{paces: newCache[pace, *rate.Limiter]()}
		m := typistKey{room, ann}
		taken := 0
		// Twenty signals a second for ten seconds: one a second is taken after the
		// burst, and asking too often does not starve whoever asks.
		for range 200 {
			if s.tooSoon(m) == 0 {
				taken++
			}
			<-time.After(50 * time.Millisecond)
		}
		if taken < 10 || taken > 12 {
			t.Fatalf("%d taken in ten seconds", taken)
		}
		s.tooSoon(m)
		s.tooSoon(m)
		if wait := s.tooSoon(m); wait <= 0 || wait > time.Second {
			t.Fatalf("wait %v", wait)
		}
		if s.tooSoon(typistKey{room, bo}) != 0 {
			t.Fatal("one pays for another")
		}
	})
}
