// Package nchatrealtime has no code: this test holds the repository's own rules,
// the ones that nobody should have to remember.
package nchatrealtime

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nself-org/nchat-realtime"

// allowed is the dependency direction, written down: a package may import the
// packages of this module that stand here for it, and no other; "*" is any.
// Edges call domains, domains never call edges, leaves know nobody, or leaves
// smaller than they are.
var allowed = map[string]string{
	"cmd/nchat-realtime": "internal/app internal/auth internal/config internal/demo internal/devpg internal/hasura internal/postgres web",
	"cmd/nchat-conform":  "internal/conform",
	"examples/cluster":   "internal/devpg",
	"examples/go":        "",
	"internal/conform":   "",
	"internal/app":       "*",
	"internal/e2e":       "*",
	"internal/bench":     "*",
	"internal/attack":    "internal/auth",

	"graph":           "graph/generated graph/model internal/events internal/fault internal/feed internal/message internal/presence internal/push internal/receipt internal/share internal/typing internal/viewer internal/wait",
	"graph/generated": "graph/model graph/scalar internal/events internal/feed internal/message internal/presence internal/push internal/receipt internal/typing",
	"graph/model":     "internal/events internal/feed internal/message internal/presence internal/receipt internal/typing",
	"graph/scalar":    "internal/fault",

	"internal/events": "internal/fault internal/feed internal/message internal/postgres internal/presence internal/receipt internal/typing internal/viewer internal/wait",

	"internal/presence": "internal/clock internal/fault internal/hub internal/lease internal/postgres internal/sweep internal/text internal/viewer internal/wait",
	"internal/feed":     "internal/fault internal/hub internal/postgres internal/sweep internal/viewer internal/wait",
	"internal/message":  "internal/fault internal/postgres internal/sweep internal/viewer",
	"internal/announce": "internal/outcall internal/wait",
	"internal/push":     "internal/fault internal/outcall internal/postgres internal/sweep internal/text internal/viewer internal/wait",
	"internal/receipt":  "internal/fault internal/postgres internal/sweep internal/viewer",
	"internal/roster":   "internal/postgres internal/text",
	"internal/typing":   "internal/clock internal/fault internal/hub internal/postgres internal/roster internal/viewer internal/wait",

	"internal/auth":           "internal/fault internal/postgres internal/sweep internal/wait",
	"internal/bus":            "internal/wait",
	"internal/clientip":       "",
	"internal/clock":          "internal/wait",
	"internal/config":         "",
	"internal/console":        "",
	"internal/fault":          "",
	"internal/gqlhttp":        "internal/fault internal/limit",
	"internal/hasura":         "hasura",
	"internal/hasura/rolesdl": "",
	"internal/hub":            "internal/wait",
	"internal/lease":          "internal/clock internal/postgres",
	"internal/limit":          "internal/fault internal/wait",
	"internal/origin":         "",
	"internal/outcall":        "",
	"internal/postgres":       "internal/fault migrations",
	"internal/share":          "",
	"internal/sweep":          "internal/postgres internal/wait",
	"internal/text":           "",
	"internal/viewer":         "internal/fault",
	"internal/wait":           "",
	"internal/webhook":        "internal/auth internal/fault internal/message internal/postgres internal/presence internal/receipt internal/sweep internal/viewer",
	"internal/wsock":          "internal/fault internal/limit internal/share",

	"internal/door":        "internal/fault internal/limit internal/wait internal/wsock",
	"internal/door/double": "",

	"internal/demo":        "",
	"internal/mutant":      "",
	"internal/rig":         "",
	"internal/natstest":    "",
	"internal/devpg":       "internal/wait",
	"internal/pgtest":      "internal/devpg internal/postgres migrations",
	"internal/pgtest/with": "internal/devpg internal/pgtest",
	"hasura":               "",
	"migrations":           "",
	"schema":               "",
	"web":                  "",
}

// onlyIn names who may use a library outside of tests, and who may import a
// package of ours that is not meant for all.
var onlyIn = map[string]string{
	"github.com/lib/pq":                        "internal/bus",
	"github.com/nats-io/nats.go":               "internal/bus",
	"github.com/nats-io/nats-server/v2/server": "internal/natstest",
	"github.com/gorilla/websocket":             "internal/wsock internal/door internal/door/double internal/conform internal/e2e internal/bench internal/attack",
	module + "/internal/app":                   "cmd/nchat-realtime internal/e2e internal/bench",
	module + "/internal/door":                  "internal/app",
	module + "/internal/door/double":           "internal/e2e internal/bench",
	module + "/internal/hasura/rolesdl":        "internal/e2e",
	module + "/internal/natstest":              "",
	module + "/internal/pgtest":                "internal/pgtest/with internal/e2e internal/bench",
}

type pkg struct {
	ImportPath, Doc                    string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func (p pkg) name() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-buildvcs=false", "-json=ImportPath,Doc,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(p.ImportPath, "/node_modules/") {
			all = append(all, p)
		}
	}
	if len(all) < 3 {
		t.Fatalf("go list names %d packages", len(all))
	}
	return all
}

func TestDependencyDirection(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		name := p.name()
		if name == "" {
			continue // this test
		}
		list, known := allowed[name]
		if !known {
			t.Errorf("%s: a new package: say in arch_test.go what it may import", name)
			continue
		}
		may := strings.Fields(list)
		for _, own := range may {
			if own != "*" && !slices.Contains(p.Imports, module+"/"+own) {
				t.Errorf("%s may import %s and does not: take it out of the list", name, own)
			}
		}
		for _, imp := range p.Imports {
			own, ours := strings.CutPrefix(imp, module+"/")
			if ours && list != "*" && !slices.Contains(may, own) {
				t.Errorf("%s must not import %s", name, own)
			}
			if where, limited := onlyIn[imp]; limited && !slices.Contains(strings.Fields(where), name) {
				t.Errorf("%s must not import %s: only %s may", name, imp, where)
			}
		}
		app := module + "/internal/app"
		if slices.Contains(append(p.TestImports, p.XTestImports...), app) && !slices.Contains(append(strings.Fields(onlyIn[app]), "internal/app"), name) {
			t.Errorf("the tests of %s must not import internal/app: whole-server tests live in internal/e2e", name)
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		switch name := p.name(); name {
		case "graph/generated", "graph/model":
		default:
			if len(p.GoFiles) > 0 && p.Doc == "" {
				t.Errorf("%s has no package comment", name)
			}
		}
	}
}

// files calls fn with every text file of the repository that people write.
func files(t *testing.T, fn func(path string, text []byte)) {
	t.Helper()
	skip := []string{".git", ".nchat", "bin", "node_modules", "dist"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(skip, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || d.Name() == ".git" || d.Name() == "go.sum" || d.Name() == "package-lock.json" || d.Name() == ".env" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.ContainsRune(text, 0) {
			fn(path, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// A test waits for what it waits for, never for time to pass.
func TestNoTestSleeps(t *testing.T) {
	t.Parallel()
	sleep := []byte("time." + "Sleep(")
	files(t, func(path string, text []byte) {
		if strings.HasSuffix(path, "_test.go") && bytes.Contains(text, sleep) {
			t.Errorf("%s sleeps: wait on a channel, use testing/synctest, or poll with a deadline", path)
		}
	})
}

// What is true of one machine has no place here.
func TestNoPathsOfOneMachine(t *testing.T) {
	t.Parallel()
	machine := regexp.MustCompile(`(^|[^a-z.])/(` + `work|farm)/`)
	files(t, func(path string, text []byte) {
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, len(text)+1)
		for n := 1; lines.Scan(); n++ {
			if machine.Match(lines.Bytes()) {
				t.Errorf("%s:%d names a path of one machine: %s", path, n, bytes.TrimSpace(lines.Bytes()))
			}
		}
	})
}
