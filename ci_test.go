package nchatrealtime

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestCIAndTheDeskCheckTheSame: the workflow runs .ci/run and no check of its own (but
// more of one there is, make soak), that runs make test, and what make test checks is each at one pinned version.
func TestCIAndTheDeskCheckTheSame(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	workflow, run, makefile := read(".github/workflows/ci.yml"), read(".ci/run"), read("Makefile")
	if strings.Count(workflow, "- run: .ci/run\n") != 1 || regexp.MustCompile(`golangci|govulncheck|go (test|vet|run)`).MatchString(workflow) {
		t.Error("the workflow checks something else than .ci/run does")
	}
	if !strings.HasSuffix(strings.TrimSpace(run), "exec make --no-print-directory test </dev/null") {
		t.Error(".ci/run does not end in make test")
	}
	if !strings.Contains(makefile, "\ntest: check ") {
		t.Error("make test does not check")
	}
	_, check, _ := strings.Cut(makefile, "\ncheck:\n")
	check, _, _ = strings.Cut(check, "\n\n")
	for name, tool := range map[string]string{"GOLANGCI": "golangci-lint", "VULNCHECK": "govulncheck"} {
		if pinned := regexp.MustCompile(`(?m)^` + name + ` +:= \S+/` + tool + `@v\d+\.\d+\.\d+$`); !pinned.MatchString(makefile) || strings.Count(makefile, tool+"@") != 1 {
			t.Errorf("%s is not pinned in one place", tool)
		}
		if !strings.Contains(check, "go run $("+name+")") || !strings.Contains(check, "$$GITHUB_ACTIONS") {
			t.Errorf("make check does not run %s", tool)
		}
	}
	for _, plain := range []string{"gofmt -l", "go vet ./...", "gqlgen generate"} {
		if !strings.Contains(check, plain) {
			t.Errorf("make check does without %s", plain)
		}
	}
}
