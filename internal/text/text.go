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
// space, and without what turns directions and has no end in it, or no beginning,
// as a part that is copied has it. Direction marks, and what begins and ends, stay
// as they are. false: it is not UTF-8, or has control characters or an override.
func Line(s string) (string, bool) {
	if !utf8.ValidString(s) || strings.ContainsAny(s, overrides) {
		return "", false
	}
	var b strings.Builder
	broken := false
	for _, r := range strings.TrimSpace(matched(s)) {
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
	return b.String(), true
}

func isBreak(r rune) bool {
	return r >= '\t' && r <= '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029'
}

// The characters that turn directions until their end; Unicode Standard Annex #9.
const (
	embedLTR, embedRTL, endEmbedding               = '\u202a', '\u202b', '\u202c'
	isolateLTR, isolateRTL, isolateAny, endIsolate = '\u2066', '\u2067', '\u2068', '\u2069'
	overrides                                      = "\u202d\u202e"
)

// matched is a text without embeddings and isolates that do not end in it, and
// without ends of none: by the rules BD9 to BD11 the end of an isolate ends the
// embeddings within, and the end of an embedding never an isolate.
func matched(s string) string {
	runes := []rune(s)
	var open []int // places of those that are open
	drop := map[int]bool{}
	for i, r := range runes {
		switch r {
		case embedLTR, embedRTL, isolateLTR, isolateRTL, isolateAny:
			open = append(open, i)
			drop[i] = true // until it ends
		case endEmbedding, endIsolate:
			at := len(open) - 1
			for r == endIsolate && at >= 0 && embeds(runes[open[at]]) {
				at--
			}
			if at < 0 || embeds(runes[open[at]]) != (r == endEmbedding) {
				drop[i] = true
				continue
			}
			delete(drop, open[at])
			open = open[:at]
		}
	}
	if len(drop) == 0 {
		return s
	}
	kept := make([]rune, 0, len(runes))
	for i, r := range runes {
		if !drop[i] {
			kept = append(kept, r)
		}
	}
	return string(kept)
}

func embeds(r rune) bool { return r == embedLTR || r == embedRTL }

// Blank reports whether nothing of a text can be seen.
func Blank(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !invisible(r) })
}

// Name is what somebody is called; nil: there is none, or nothing of it can be seen.
func Name(s *string) *string {
	if s == nil || Blank(*s) {
		return nil
	}
	return s
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
