package config

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

const self = "github.com/nself-org/nchat-realtime/internal/config"

// TestEveryVariableIsUsed: a variable may be offered only if the server reads
// the field that it sets. What is read is told by the type checker, in every
// package that the command is made of.
func TestEveryVariableIsUsed(t *testing.T) {
	t.Parallel()
	used := fieldsRead(t)
	plain, err := Load(env(), Dev)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range variables {
		c, _ := Load(env(name, v.right, "PUSH_WEBHOOK_SECRET", "sixteen letters.", "PRESENCE_WEBHOOK_SECRET", "sixteen letters."), Dev)
		if name != "PUSH_WEBHOOK_SECRET" {
			c.PushWebhookSecret = plain.PushWebhookSecret
		}
		if name != "PRESENCE_WEBHOOK_SECRET" {
			c.PresenceWebhookSecret = plain.PresenceWebhookSecret
		}
		set := append(differing("Config", reflect.ValueOf(plain), reflect.ValueOf(c)), differing("Limits", reflect.ValueOf(plain.Limits), reflect.ValueOf(c.Limits))...)
		if !slices.ContainsFunc(set, func(f string) bool { return f != "Config.Limits" && used[f] }) {
			t.Errorf("%s sets %v, which nothing reads", name, set)
		}
	}
	for _, of := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Limits]()} {
		for f := range of.Fields() {
			if field := of.Name() + "." + f.Name; !used[field] {
				t.Errorf("nothing reads %s", field)
			}
		}
	}
}

// differing are the fields in which two structs are not the same.
func differing(of string, a, b reflect.Value) (out []string) {
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			out = append(out, of+"."+a.Type().Field(i).Name)
		}
	}
	return out
}

type listed struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
}

// fieldsRead are the fields of this package's structs that others read.
func fieldsRead(t *testing.T) map[string]bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-buildvcs=false", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Imports", "./cmd/nchat-realtime")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exports, users := map[string]string{}, []listed(nil)
	for dec := json.NewDecoder(out); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if slices.Contains(p.Imports, self) {
			users = append(users, p)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(users) < 2 {
		t.Fatalf("%d packages read the configuration", len(users))
	}
	used := map[string]bool{}
	for _, p := range users {
		read(t, p, exports, used)
	}
	return used
}

// read notes which fields a package reads; to set one is not to read it.
func read(t *testing.T, p listed, exports map[string]string, used map[string]bool) {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	if _, err := (&types.Config{Importer: importer.ForCompiler(fset, "gc", open)}).Check(p.ImportPath, fset, files, info); err != nil {
		t.Fatal(err)
	}
	written := map[ast.Expr]bool{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok {
				for _, x := range a.Lhs {
					written[x] = true
				}
			}
			return true
		})
	}
	for x, s := range info.Selections {
		if v, ok := s.Obj().(*types.Var); ok && v.IsField() && v.Pkg().Path() == self && !written[x] {
			of := s.Recv()
			if ptr, is := of.(*types.Pointer); is {
				of = ptr.Elem()
			}
			if named, is := of.(*types.Named); is {
				used[named.Obj().Name()+"."+v.Name()] = true
			}
		}
	}
}
