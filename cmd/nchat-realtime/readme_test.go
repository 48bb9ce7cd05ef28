package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/config"
)

// The table in the README is the one the server reads.
func TestReadmeHasEveryVariable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range config.Table() {
		def := r.Default
		if def == "" {
			def = "unset"
		}
		if row := "| `" + r.Name + "` | " + def + " | " + r.Meaning + " |"; !strings.Contains(string(text), row) {
			t.Errorf("README lacks: %s", row)
		}
	}
}

// standIn takes the program's place: it writes down what it is called with, and
// what of its environment is missing. It serves until it is killed, and is ready
// once it does.
const standIn = `#!/bin/sh
echo "$@" >> called
for name in DATABASE_URL HASURA_UPSTREAM_URL HASURA_WEBHOOK_SECRET HASURA_GRAPHQL_ADMIN_SECRET HASURA_GRAPHQL_JWT_SECRET; do
  eval "[ -n \"\$$name\" ]" || echo "$name is missing" >> called
done
case "$*" in
serve) : > serving; exec sleep 600 ;;
"doctor --ready") until [ -e serving ]; do sleep 0.01; done ;;
esac
`

// TestTheReadmesBlockRuns from its first line to its last, as it is pasted: with the
// program where it is looked for, and what each command needs before it.
func TestTheReadmesBlockRuns(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(text(t, "../../README.md"), "\n## Beside your Hasura\n")
	_, section, _ = strings.Cut(section, "```sh\n")
	block, _, ok := strings.Cut(section, "```")
	if !ok {
		t.Fatal("there is no block")
	}
	dir := t.TempDir()
	for path, script := range map[string]string{"bin/nchat-realtime": standIn, "tools/make": "#!/bin/sh\ntest \"$*\" = build\n"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(script), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-c", block+"kill $!\nwait || true\n")
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, []string{"PATH=" + filepath.Join(dir, "tools") + ":" + os.Getenv("PATH")}, time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	called := strings.Split(strings.TrimSpace(text(t, filepath.Join(dir, "called"))), "\n")
	if len(called) < 3 {
		t.Fatalf("called %q", called)
	}
	slices.Sort(called[1:3]) // what serves, and who asks whether it does, begin together
	if want := []string{"migrate", "doctor --ready", "serve", "hasura apply --dry-run", "hasura apply", "doctor"}; !slices.Equal(called, want) {
		t.Errorf("called %q", called)
	}
	for _, args := range called {
		c, rest, err := root().Find(strings.Fields(args))
		if err != nil || c.ParseFlags(rest) != nil || len(c.Flags().Args()) > 0 {
			t.Errorf("nchat-realtime %s is no command: %v", args, err)
		}
	}
	if doc := text(t, "../../docs/hasura.md"); strings.Contains(doc, "image: nchat-realtime") && !strings.Contains(doc, "\ndocker build -t nchat-realtime ") {
		t.Error("docs/hasura.md has an image of which it does not say who makes it")
	}
}
