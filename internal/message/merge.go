package message

import (
	"time"

	"github.com/sergi/go-diff/diffmatchpatch"
)

// diffLimit bounds the search for the smallest change: past it a change is taken
// for larger than it is, and sooner overlaps.
const diffLimit = 20 * time.Millisecond

// mostDiffs is how many pieces a change may have: what tidies them up has no limit of its
// own, and the message is locked meanwhile. What has more is a change of the whole text.
const mostDiffs = 500

// patch is one change of a text: runes from to to become text.
type patch struct {
	from, to int
	text     []rune
}

// Merge applies two changes of a base to it, if they do not overlap; ok false:
// they do. Changes of the same place to the same text are one.
func Merge(base, one, other string) (merged string, ok bool) {
	a, b := changes(base, one), changes(base, other)
	text := []rune(base)
	var out []rune
	at := 0
	for len(a) > 0 || len(b) > 0 {
		var p patch
		switch {
		case len(b) == 0 || len(a) > 0 && before(a[0], b[0]):
			p, a = a[0], a[1:]
		case len(a) == 0 || before(b[0], a[0]):
			p, b = b[0], b[1:]
		case a[0].from == b[0].from && a[0].to == b[0].to && string(a[0].text) == string(b[0].text):
			p, a, b = a[0], a[1:], b[1:]
		default:
			return "", false
		}
		out = append(append(out, text[at:p.from]...), p.text...)
		at = p.to
	}
	return string(append(out, text[at:]...)), true
}

// before: p ends before q begins, and does not touch it: who writes at one
// place at once may have meant either order.
func before(p, q patch) bool { return p.to < q.from }

// changes are those of a text, in order, apart from one another.
func changes(base, changed string) []patch {
	d := diffmatchpatch.New()
	d.DiffTimeout = diffLimit
	var out []patch
	at := 0
	open := false
	was, is := []rune(base), []rune(changed)
	pieces := d.DiffMainRunes(was, is, false)
	if len(pieces) > mostDiffs {
		return []patch{{from: 0, to: len(was), text: is}}
	}
	for _, x := range d.DiffCleanupSemantic(pieces) {
		n := len([]rune(x.Text))
		if x.Type == diffmatchpatch.DiffEqual {
			at += n
			open = false
			continue
		}
		if !open {
			out, open = append(out, patch{from: at, to: at}), true
		}
		p := &out[len(out)-1]
		if x.Type == diffmatchpatch.DiffDelete {
			at += n
			p.to = at
		} else {
			p.text = append(p.text, []rune(x.Text)...)
		}
	}
	return out
}
