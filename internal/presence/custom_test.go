package presence

import (
	"testing"
)

func TestEmoji(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"🎉", "👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "❤️", "3️⃣", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "☕", "‼️", "⚽", "▶️"} {
		if !isEmoji(ok) {
			t.Errorf("%q refused", ok)
		}
	}
	for _, bad := range []string{"", "a", "ab", "🎉🎉", "3", "#", "<b>", "é", "漢", "\u202e", "\xff", "🎉a", "\u200d", "\ufe0f", "👍" + string(make([]byte, 3))} {
		if isEmoji(bad) {
			t.Errorf("%q taken", bad)
		}
	}
}
