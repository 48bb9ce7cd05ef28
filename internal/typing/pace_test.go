package typing

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestThePaceOfSignals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPaces()
		m := typistKey{room, ann}
		taken := 0
		// Twenty signals a second for ten seconds: one a second is taken after the
		// burst, and asking too often does not starve whoever asks.
		for range 200 {
			if p.take(m) == 0 {
				taken++
			}
			<-time.After(50 * time.Millisecond)
		}
		if taken < 10 || taken > 12 {
			t.Fatalf("%d taken in ten seconds", taken)
		}
		p.take(m)
		p.take(m)
		if early := p.take(m); early <= 0 || early > time.Second {
			t.Fatalf("to wait %v", early)
		}
		if p.take(typistKey{room, bo}) != 0 {
			t.Fatal("one pays for another")
		}
	})
}
