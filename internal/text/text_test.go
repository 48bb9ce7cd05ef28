package text_test

import (
	"testing"

	"github.com/nself-org/nchat-realtime/internal/text"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Lunch":                                 "Lunch",
		"  Lunch \n":                            "Lunch",
		"Lunch\nback at 2":                      "Lunch back at 2",
		"Lunch\r\n\r\n  back at 2":              "Lunch back at 2",
		"Lunch \u2028back\u2029at\t2":           "Lunch back at 2",
		"a\u0085b\vc\fd":                        "a b c d",
		"two  spaces stay":                      "two  spaces stay",
		"\u2068Noa\u2069 covers for me":         "\u2068Noa\u2069 covers for me",
		"Call \u202a+1 555 010 0199\u202c":      "Call \u202a+1 555 010 0199\u202c",
		"\u200fשלום\u200e \u061c":               "\u200fשלום\u200e \u061c",
		"\u2067\u202b\u2066a\u2069\u202c\u2069": "\u2067\u202b\u2066a\u2069\u202c\u2069",
		"👨\u200d👩\u200d👧 zero\u200bwidth soft\u00adhyphen": "👨\u200d👩\u200d👧 zero\u200bwidth soft\u00adhyphen",
		// Of what was copied, a part.
		"\u202a+1 555":                     "+1 555",
		"\u202a +1 555":                    "+1 555",
		"x\u202c":                          "x",
		"x \u202c":                         "x",
		"\u2068Noa":                        "Noa",
		"Noa\u2069":                        "Noa",
		"open \u202a":                      "open",
		"\u202bclose\u202b \u2069":         "close",
		"\u2066\u202aa\u2069\u202c":        "\u2066a\u2069",
		"\u202a\u2066a\u202c\u2069":        "\u2066a\u2069",
		"\u202aa\u2069b\u202c":             "\u202aab\u202c",
		"\u2067a\u2068b\u2069":             "a\u2068b\u2069",
		"\u202aa\u202bb\u202c\u202c\u202c": "\u202aa\u202bb\u202c\u202c",
		"a\n\u2069\nb\u200f":               "a b\u200f",
		"\u202a":                           "",
		"\u2069 \u202c":                    "",
		"":                                 "",
		"\n":                               "",
	} {
		if got, ok := text.Line(in); !ok || got != want {
			t.Errorf("%q: %q %v", in, got, ok)
		}
	}
	for _, in := range []string{
		"abc\u202edef", "abc\u202edef\u202c", "\u202d1\u202c", "\u202eabc", "\u2068a\u202eb\u2069", "\u202e",
		"a\x00b", "a\x1bb", "a\x7f", "a\u0090b", "\xff",
	} {
		if got, ok := text.Line(in); ok {
			t.Errorf("%q was taken as %q", in, got)
		}
	}
}

func TestBlank(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", " ", "\t\n", "\u00a0\u2003\u3000", "\u200b\u200c\u200d\ufeff", "\u2060\u00ad", "\u3164", "\uffa0\u115f\u1160", "\u2800", "\u034f\u180e\u17b4",
		"\u200e\u200f\u2068\u2069\u202e", "\ufe0f\U000e0100", "\U000e0041", "\x00"} {
		if !text.Blank(s) {
			t.Errorf("%q can be seen", s)
		}
	}
	for _, s := range []string{"a", " a ", ".", "\u200b1", "漢", "🎉", "ا", "_"} {
		if text.Blank(s) {
			t.Errorf("%q cannot be seen", s)
		}
	}
}

func TestEmoji(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"🎉", "👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "❤️", "❤", "3️⃣", "#⃣", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "☕", "‼️", "⚽", "▶️", "↔️", "〰️", "㊗️", "©️", "🏽", "🧑🏽‍🤝‍🧑🏿", "🏳️‍🌈", "☎︎",
		"\U0001fae8", "\U0001fae9", "\U0001fadf", "\U0001f6d8", "\U0001facd", "🧑‍🧑‍🧒‍🧒", "🙂‍↔️", "⛓️‍💥"} { // of Unicode 15, 16 and 17 as well
		if !text.Emoji(ok) {
			t.Errorf("%q refused", ok)
		}
	}
	for _, bad := range []string{"", "a", "ab", "🎉🎉", "3", "#", "3️", "<b>", "é", "漢", "\u202e", "\xff", "🎉a", "\u200d", "\ufe0f", "👍" + string(make([]byte, 3)), "∑", "+", "$", "^", "🇩", "🇩🇪🇫🇷", " ", "e\u20e3", "🎉\u0301"} {
		if text.Emoji(bad) {
			t.Errorf("%q taken", bad)
		}
	}
}
