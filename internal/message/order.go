package message

import (
	"cmp"
	"strconv"
	"strings"
	"unicode"
)

// byUTF16 is by code points, but that what UTF-16 writes as two surrogates
// stands before U+E000 to U+FFFF: as JavaScript sorts.
func byUTF16(a, b string) int {
	x, y := []rune(a), []rune(b)
	for i := range min(len(x), len(y)) {
		if x[i] == y[i] {
			continue
		}
		if pair := x[i] > 0xffff; pair != (y[i] > 0xffff) && min(x[i], y[i]) >= 0xe000 {
			return cmp.Compare(y[i], x[i])
		}
		return cmp.Compare(x[i], y[i])
	}
	return cmp.Compare(len(x), len(y))
}

// asObject is how an object of JavaScript has keys that were put into it sorted:
// those that are an array's indices before the others, by number.
func asObject(a, b string) int {
	x, isX := index(a)
	y, isY := index(b)
	switch {
	case isX && isY:
		return cmp.Compare(x, y)
	case isX:
		return -1
	case isY:
		return 1
	}
	return byUTF16(a, b)
}

func index(s string) (uint64, bool) {
	const last = 1<<32 - 2
	n, err := strconv.ParseUint(s, 10, 32)
	return n, err == nil && n <= last && strconv.FormatUint(n, 10) == s
}

// asDarwin is how Foundation of Apple's sorts keys: digits by their number,
// letters without regard to case, and by code points what is the same by that.
func asDarwin(a, b string) int {
	x, y := []rune(a), []rune(b)
	for len(x) > 0 && len(y) > 0 {
		if n, m := digitsOf(x), digitsOf(y); n > 0 && m > 0 {
			if c := byNumber(string(x[:n]), string(y[:m])); c != 0 {
				return c
			}
			x, y = x[n:], y[m:]
			continue
		}
		if c := cmp.Compare(unicode.ToLower(x[0]), unicode.ToLower(y[0])); c != 0 {
			return c
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

func digitsOf(s []rune) (n int) {
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func byNumber(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
