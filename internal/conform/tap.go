package conform

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// tap writes the Test Anything Protocol, version 14.
type tap struct {
	out    io.Writer
	n      int
	report Report
	err    error // the first in writing
}

func newTap(out io.Writer, n int) *tap {
	t := &tap{out: out}
	t.printf("TAP version 14\n1..%d\n", n)
	return t
}

func (t *tap) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(t.out, format, args...); err != nil && t.err == nil {
		t.err = fmt.Errorf("writing the report: %w", err)
	}
}

// line is a check's. What is unknown of a skipped one is why.
func (t *tap) line(name string, took time.Duration, err error, why string) {
	t.n++
	name = strings.ReplaceAll(strings.ReplaceAll(name, `\`, `\\`), "#", `\#`)
	switch {
	case err != nil:
		t.report.Failed++
		t.printf("not ok %d - %s\n  ---\n  message: %s\n  duration_ms: %d\n  ...\n", t.n, name, quoted(err.Error()), took.Milliseconds())
	case why != "":
		t.report.Skipped++
		t.printf("ok %d - %s # SKIP %s\n", t.n, name, strings.ReplaceAll(why, "\n", " "))
	default:
		t.report.OK++
		t.printf("ok %d - %s\n", t.n, name)
	}
}

// diagnose tells of what belongs to no check; it counts as a failure.
func (t *tap) diagnose(err error) {
	t.report.Failed++
	t.printf("# %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
}

// quoted is a text as YAML reads it, which reads JSON.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}
