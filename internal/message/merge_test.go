package message

import (
	"fmt"
	"strings"
	"testing"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ base, one, other, want string }{
		{"a b c", "a b c", "a b c", "a b c"},
		{"one two three", "ONE two three", "one two THREE", "ONE two THREE"},
		{"see you at 5 tomorrow, bring the slides", "see you at 6 tomorrow, bring the slides", "see you at 5 tomorrow, bring the slides please", "see you at 6 tomorrow, bring the slides please"},
		{"abc", "abc!", "xabc", "xabc!"},
		{"the quick fox", "the fox", "the quick fox jumps", "the fox jumps"},
		{"héllo wörld", "hello wörld", "héllo world", "hello world"},
		{"👍 ok 👍", "👎 ok 👍", "👍 ok 👎", "👎 ok 👎"},
		{"same", "other", "other", "other"},
	} {
		for _, pair := range [][2]string{{c.one, c.other}, {c.other, c.one}} {
			if got, ok := Merge(c.base, pair[0], pair[1]); !ok || got != c.want {
				t.Errorf("%q, %q, %q: %q %v, want %q", c.base, pair[0], pair[1], got, ok, c.want)
			}
		}
	}
	for _, c := range []struct{ base, one, other string }{
		{"at five", "at six", "at ten"},
		{"abc", "abcx", "abcy"},         // both at the end: either order may be meant
		{"abc", "", "abcd"},             // all deleted, and something added
		{"a b c d", "a x d", "a b y d"}, // the one deletes what the other changes
	} {
		for _, pair := range [][2]string{{c.one, c.other}, {c.other, c.one}} {
			if got, ok := Merge(c.base, pair[0], pair[1]); ok {
				t.Errorf("%q, %q, %q overlap, and became %q", c.base, pair[0], pair[1], got)
			}
		}
	}
}

// TestAChangeEverywhereIsOfTheWhole: what is in too many pieces to be tidied up in no time
// is one.
func TestAChangeEverywhereIsOfTheWhole(t *testing.T) {
	t.Parallel()
	var was, is strings.Builder
	for i := range 300 {
		fmt.Fprintf(&was, "%x ", i*7919)
		fmt.Fprintf(&is, "%x_", i*7919)
	}
	base, changed := was.String(), is.String()
	if list := changes(base, changed); len(list) > mostDiffs/2 {
		t.Errorf("%d changes are laid over another's", len(list))
	}
	if got, ok := Merge(base, base, changed); !ok || got != changed {
		t.Error("with no change it is not the change")
	}
}

// FuzzMerge: a merge with no change is the other's change, with itself is
// itself, and does not depend on who is named first.
func FuzzMerge(f *testing.F) {
	f.Add("one two three", "ONE two three", "one two THREE")
	f.Add("", "a", "b")
	f.Add("aaa", "aa", "aaaa")
	f.Fuzz(func(t *testing.T, base, one, other string) {
		valid := func(s string) string { return string([]rune(s)) }
		base, one, other = valid(base), valid(one), valid(other)
		for _, x := range []string{one, other} {
			if got, ok := Merge(base, base, x); !ok || got != x {
				t.Fatalf("with no change: %q %v, want %q", got, ok, x)
			}
			if got, ok := Merge(base, x, x); !ok || got != x {
				t.Fatalf("with itself: %q %v, want %q", got, ok, x)
			}
		}
		a, okA := Merge(base, one, other)
		if b, okB := Merge(base, other, one); a != b || okA != okB {
			t.Fatalf("%q %v against %q %v", a, okA, b, okB)
		}
	})
}
