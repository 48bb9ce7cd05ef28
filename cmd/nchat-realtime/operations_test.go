package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/app"
)

var update = flag.Bool("update", false, "write the reference of metrics anew")

const (
	operations = "../../docs/operations.md"
	monitoring = "../../examples/monitoring/"
	begins     = "<!-- metrics: written by go test ./cmd/nchat-realtime -run TestMetricsReference -update -->\n"
	ends       = "<!-- end of metrics -->\n"
)

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMetricsReference: the table of the documentation is the server's own.
func TestMetricsReference(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	want.WriteString("| metric | kind | label | meaning |\n|---|---|---|---|\n")
	for _, m := range app.Metrics() {
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, m.Label, m.Meaning)
	}
	doc := text(t, operations)
	before, rest, ok := strings.Cut(doc, begins)
	have, after, closed := strings.Cut(rest, ends)
	if !ok || !closed {
		t.Fatal("the marks of the table are gone")
	}
	if have == want.String() {
		return
	}
	if !*update {
		t.Fatal("the table is not the server's: go test ./cmd/nchat-realtime -run TestMetricsReference -update")
	}
	if err := os.WriteFile(operations, []byte(before+begins+want.String()+ends+after), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}

var (
	series = regexp.MustCompile(`\brealtime_[a-z_]+`)
	part   = regexp.MustCompile(`_(bucket|sum|count)$`) // of a histogram
)

// TestMetricsThatAreNamedExist: in documentation, alert rules, dashboard and the
// operators' page; and the dashboard shows each there is.
func TestMetricsThatAreNamedExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, m := range app.Metrics() {
		known[m.Name] = true
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../README.md", monitoring+"README.md", monitoring+"alerts.yml", monitoring+"alerts_test.yml", monitoring+"dashboard.json",
		"../../internal/console/page/console.js", "../../internal/console/state.go")
	for _, path := range files {
		for _, name := range series.FindAllString(text(t, path), -1) {
			if !known[name] && !known[part.ReplaceAllString(name, "")] {
				t.Errorf("%s names %s, which there is not", path, name)
			}
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text(t, monitoring+"dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	shown := ""
	for _, p := range board.Panels {
		for _, x := range p.Targets {
			shown += x.Expr + "\n"
		}
	}
	for name := range known {
		if !regexp.MustCompile(`\b` + name + `(_bucket)?\b`).MatchString(shown) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// TestAlertsFire, each when it should and not before, by Prometheus' own tool.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	rules, tests := text(t, monitoring+"alerts.yml"), text(t, monitoring+"alerts_test.yml")
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		if !regexp.MustCompile(`alertname: ` + m[1] + `\n\s+exp_alerts:`).MatchString(tests) {
			t.Errorf("no test has %s fire", m[1])
		}
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool; .ci/setup installs it where it may")
	}
	if out, err := exec.CommandContext(t.Context(), tool, "test", "rules", monitoring+"alerts_test.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
