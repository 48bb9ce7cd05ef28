package presence

import (
	"testing"
)

func TestQualityInWords(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int]Quality{0: Excellent, 99: Excellent, 100: Good, 299: Good, 300: Fair, 599: Fair, 600: Poor} {
		if got := (Session{LatencyMs: &ms}).ConnectionQuality(); got != want {
			t.Errorf("%d ms: %s, want %s", ms, got, want)
		}
	}
	if (Session{}).ConnectionQuality() != Unmeasured {
		t.Error("no sample is no quality")
	}
}
