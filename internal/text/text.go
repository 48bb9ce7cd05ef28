// Package text judges what people write in one line, as phones and other apps
// copy it: by how it is shown, not by its bytes.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Line is a text as one line: without space around it, its breaks and tabs a
// space. false: it is not UTF-8, has control characters, or turns the direction
// of what stands around it: an override, or an embedding or an isolate that does
// not end in it. Direction marks, and what begins and ends, stay as they are.
func Line(s string) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	var b strings.Builder
	broken := false
	for _, r := range strings.TrimSpace(s) {
		if isBreak(r) {
			broken = true
			continue
		}
		if unicode.IsControl(r) {
			return "", false
		}
		if broken && r == ' ' {
			continue
		}
		if broken {
			broken = false
			if !strings.HasSuffix(b.String(), " ") {
				b.WriteByte(' ')
			}
		}
		b.WriteRune(r)
	}
	return b.String(), balanced(b.String())
}

func isBreak(r rune) bool {
	return r >= '\t' && r <= '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029'
}

// The characters that turn directions until their end; Unicode Standard Annex #9.
const (
	embedLTR, embedRTL, endEmbedding               = '\u202a', '\u202b', '\u202c'
	overrideLTR, overrideRTL                       = '\u202d', '\u202e'
	isolateLTR, isolateRTL, isolateAny, endIsolate = '\u2066', '\u2067', '\u2068', '\u2069'
)

func balanced(s string) bool {
	var open []rune // what ends each that is open
	for _, r := range s {
		switch r {
		case overrideLTR, overrideRTL:
			return false
		case embedLTR, embedRTL:
			open = append(open, endEmbedding)
		case isolateLTR, isolateRTL, isolateAny:
			open = append(open, endIsolate)
		case endEmbedding, endIsolate:
			if len(open) == 0 || open[len(open)-1] != r {
				return false
			}
			open = open[:len(open)-1]
		}
	}
	return len(open) == 0
}

// Blank reports whether nothing of a text can be seen.
func Blank(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !invisible(r) })
}

func invisible(r rune) bool {
	const brailleBlank, nullNotehead = '\u2800', '\U0001d159'
	return unicode.IsSpace(r) || r == brailleBlank || r == nullNotehead ||
		unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// maxEmojiRunes: the longest family or flag sequence in Unicode has fewer.
const maxEmojiRunes = 16

// Emoji reports whether s is one emoji, alone. Those of a Unicode to come are
// some too: it has set aside where they will be.
func Emoji(s string) bool {
	runes := []rune(s)
	if !utf8.ValidString(s) || len(runes) == 0 || len(runes) > maxEmojiRunes || uniseg.GraphemeClusterCount(s) != 1 {
		return false
	}
	const keycap = '\u20e3'
	switch first := runes[0]; {
	case strings.ContainsRune("0123456789#*", first):
		return runes[len(runes)-1] == keycap && (len(runes) == 2 || len(runes) == 3 && runes[1] == '\ufe0f')
	case regional(first):
		return len(runes) == 2 && regional(runes[1])
	case !pictographic(first) && !skinTone(first):
		return false
	}
	for _, r := range runes[1:] {
		joins := r == '\u200d' || r == '\ufe0e' || r == '\ufe0f' || r >= 0xe0020 && r <= 0xe007f
		if !joins && !skinTone(r) && !pictographic(r) {
			return false
		}
	}
	return true
}

func regional(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

func skinTone(r rune) bool { return r >= 0x1f3fb && r <= 0x1f3ff }

// pictographic is Unicode's Extended_Pictographic: of all characters, a joiner
// joins these alone to a heart (UAX #29, GB11).
func pictographic(r rune) bool {
	return uniseg.GraphemeClusterCount(string(r)+"\u200d\u2764") == 1
}
