// Package mutant switches every rule of privacy off, one at a time, and has the
// tests that keep the law find it out. rules.txt names the rules: it is kept with
// them, for each line must be found in its file as often as once.
//
// That the list fits is tested always; the mutants run with MUTANTS=1 (make
// mutants), a compilation each.
package mutant

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// mutant is one rule switched off.
type mutant struct{ name, file, rule, without, test, pkg string }

// list reads rules.txt: paragraphs of "name: file", "- the rule", "+ without it",
// under the line "= package test" that finds them out.
func list(t *testing.T) (all []mutant) {
	t.Helper()
	text, err := os.ReadFile("rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	var m mutant
	for line := range strings.SplitSeq(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "= "):
			pkg, test, _ := strings.Cut(line[2:], " ")
			m.pkg, m.test = pkg, test
		case strings.HasPrefix(line, "- "):
			m.rule = line[2:]
		case strings.HasPrefix(line, "+ "):
			m.without = line[2:]
			all = append(all, m)
		case line == "", strings.HasPrefix(line, "#"):
		default:
			name, file, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("not to be read: %q", line)
			}
			m.name, m.file = name, file
		}
	}
	return all
}

// source is the file with its rule switched off.
func (m mutant) source(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.rule); n != 1 || m.rule == m.without {
		t.Fatalf("%s: %q stands %d times in %s", m.name, m.rule, n, m.file)
	}
	return strings.Replace(string(text), m.rule, m.without, 1)
}

// TestEveryRuleIsStillThere: a rule that was changed is to be changed in the list too.
func TestEveryRuleIsStillThere(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, m := range list(t) {
		m.source(t)
		if names[m.name] {
			t.Errorf("twice: %s", m.name)
		}
		names[m.name] = true
	}
	if len(names) < 30 {
		t.Errorf("%d rules", len(names))
	}
}

// compiles fails where a mutant is dead before it is tested.
var broken = regexp.MustCompile(`\[build failed\]|\[setup failed\]|no tests to run|no test files|\(SQLSTATE 42`)

// TestMutants: without any one of the rules, the law is broken and it shows.
func TestMutants(t *testing.T) {
	if os.Getenv("MUTANTS") == "" {
		t.Skip("compiles once for each rule: make mutants")
	}
	only := regexp.MustCompile(os.Getenv("MUTANTS_ONLY"))
	killed, all := 0, 0
	for _, m := range list(t) {
		if !only.MatchString(m.name) {
			continue
		}
		all++
		t.Run(m.name, func(t *testing.T) {
			out, err := m.run(t.Context(), t)
			_, failed := errors.AsType[*exec.ExitError](err)
			switch {
			case broken.MatchString(out) || err != nil && !failed:
				t.Fatalf("it does not run: %v\n%s", err, out)
			case err == nil:
				t.Errorf("lives: %s, without %q", m.file, m.rule)
			case !strings.Contains(out, "--- FAIL"):
				t.Fatalf("it fails, and no test does:\n%s", out)
			default:
				killed++
			}
		})
	}
	t.Logf("killed %d of %d", killed, all)
	if all == 0 {
		t.Error("no mutant")
	}
}

func (m mutant) run(ctx context.Context, t *testing.T) (string, error) {
	t.Helper()
	dir := t.TempDir()
	abs, err := filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	other, overlay := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json")
	doc, err := json.Marshal(map[string]any{"Replace": map[string]string{abs: other}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{other: m.source(t), overlay: string(doc)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-count=1", "-failfast", "-overlay", overlay, "-run", "^("+m.test+")$", "./"+m.pkg)
	cmd.Dir = root
	cmd.Env = append(append([]string{"NONINTERFERENCE=160", "NONINTERFERENCE_RECIPROCITY=off"}, os.Environ()...), "TEST_SQL_OVERLAY="+overlay) // pgtest reads SQL from the tree
	out, err := cmd.CombinedOutput()
	return string(out), err
}
