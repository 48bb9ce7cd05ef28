package conform

import (
	"errors"
	"strings"
	"testing"
)

func TestTheReport(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := newTap(&out, 3)
	r.line("one", 0, nil, "")
	r.line("two #2", 0, errors.New("said \"no\"\nand left"), "")
	r.line("three", 0, nil, "too slow")
	want := "TAP version 14\n1..3\nok 1 - one\nnot ok 2 - two \\#2\n  ---\n  message: \"said \\\"no\\\"\\nand left\"\n  duration_ms: 0\n  ...\nok 3 - three # SKIP too slow\n"
	if out.String() != want || r.report != (Report{1, 1, 1}) {
		t.Errorf("%+v\n%s", r.report, out.String())
	}
}

// Names are what people match and keep.
func TestNamesAreTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, name := range Names() {
		if seen[name] || name != strings.TrimSpace(name) || !strings.Contains(name, ": ") {
			t.Errorf("%q", name)
		}
		seen[name] = true
	}
}
