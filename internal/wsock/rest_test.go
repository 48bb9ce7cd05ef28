package wsock

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestWhatComesOfAClosingSocketIsReadNoFaster: whoever goes on sending past the end of its
// socket is read by the same pace as before it, and never rests for longer than a second.
func TestWhatComesOfAClosingSocketIsReadNoFaster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, began := &reader{c: &Conn{pace: paceOf(50)}}, time.Now()
		const frames, burst = 20, 8 // of 60 KiB
		for n := range frames {
			was := time.Now()
			if r.rest(make([]byte, 60<<10)); time.Since(was) > restMost {
				t.Errorf("the reader rests for %v after frame %d", time.Since(was), n)
			}
		}
		if took := time.Since(began); took < (frames-burst-1)*restMost {
			t.Errorf("%d frames are read in %v", frames, took)
		}
	})
}
