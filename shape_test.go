package nchatrealtime

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The shape that code keeps. Where one of these is reached, there are two
// things in one.
const (
	mostLines    = 400 // of a file that is shipped; in tests mostTestLines
	mostOfTenth  = 250 // nine files of ten have no more
	mostTests    = 500
	mostFunction = 80 // lines, in Go and in SQL
	mostMethods  = 20 // of one type
)

// shipped reports whether a file is part of what is shipped, and not of how it
// is tested or measured.
func shipped(path string) bool {
	for _, dir := range []string{"examples/", "internal/e2e/", "internal/bench/", "internal/attack/", "internal/pgtest/", "internal/door/double/", "web/client/test/", "web/demo/test/"} {
		if strings.HasPrefix(filepath.ToSlash(path), dir) {
			return false
		}
	}
	return !strings.HasSuffix(path, "_test.go")
}

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	var sizes []int
	files(t, func(path string, text []byte) {
		ext, most, n := filepath.Ext(path), mostTests, bytes.Count(text, []byte("\n"))
		if !slices.Contains([]string{".go", ".sql", ".ts", ".tsx", ".mjs", ".js"}, ext) || generated.Match(text) {
			return
		}
		if shipped(path) {
			most, sizes = mostLines, append(sizes, n)
		}
		if n > most {
			t.Errorf("%s has %d lines; past %d it is two files", path, n, most)
		}
	})
	slices.Sort(sizes)
	if p90 := sizes[len(sizes)*9/10]; p90 > mostOfTenth {
		t.Errorf("of %d files a tenth has %d lines or more; %d is the most", len(sizes), p90, mostOfTenth)
	}
}

// A test that is one table may be long.
func TestFunctionsAndTypesAreSmall(t *testing.T) {
	t.Parallel()
	methods := map[string]int{}
	files(t, func(path string, text []byte) {
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || generated.Match(text) {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > mostFunction {
				t.Errorf("%s: %s has %d lines; past %d it is two functions", path, fn.Name.Name, n, mostFunction)
			}
			if fn.Recv != nil && !strings.HasSuffix(path, ".resolvers.go") { // those have the schema's fields
				methods[filepath.Dir(path)+"."+receiver(fn.Recv.List[0].Type)]++
			}
		}
	})
	for of, n := range methods {
		if n > mostMethods {
			t.Errorf("%s has %d methods; past %d it is two types", of, n, mostMethods)
		}
	}
}

// receiver is the type's name in *T, T[P] and the like.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return "?"
}

var (
	function = regexp.MustCompile(`(?im)^\s*create\s+(?:or\s+replace\s+)?(?:function|procedure)\s+([\w.]+)`)
	block    = regexp.MustCompile(`(?im)^\s*do\s+\$`)
	quote    = regexp.MustCompile(`\$\w*\$`)
)

// TestSQLFunctionsAreShort: a body is what stands between its dollar quotes.
func TestSQLFunctionsAreShort(t *testing.T) {
	t.Parallel()
	files(t, func(path string, text []byte) {
		if filepath.Ext(path) != ".sql" {
			return
		}
		for _, at := range append(function.FindAllSubmatchIndex(text, -1), block.FindAllIndex(text, -1)...) {
			name := "do"
			if len(at) > 2 {
				name = string(text[at[2]:at[3]])
			}
			open := quote.FindIndex(text[at[0]:])
			if open == nil {
				continue // its body is a string, or another statement's
			}
			mark := text[at[0]+open[0] : at[0]+open[1]]
			body, _, closed := bytes.Cut(text[at[0]+open[1]:], mark)
			if n := bytes.Count(body, []byte("\n")) + 1; closed && n > mostFunction {
				t.Errorf("%s: %s has %d lines", path, name, n)
			}
		}
	})
}

// TestEveryGoroutineHasAnOwner: docs/architecture.md lists every function that
// begins a goroutine or a timer, with what ends it, and no other.
func TestEveryGoroutineHasAnOwner(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(doc), "## Goroutines and timers\n")
	if !found {
		t.Fatal("docs/architecture.md has no such table")
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([\\w.]+)` \\|").FindAllStringSubmatch(table, -1) {
		listed[m[1]] = true
	}
	began := map[string]bool{}
	files(t, func(path string, text []byte) {
		if filepath.Ext(path) != ".go" || !shipped(path) || generated.Match(text) {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && begins(fn) {
				name := f.Name.Name + "."
				if fn.Recv != nil {
					name += receiver(fn.Recv.List[0].Type) + "."
				}
				began[name+fn.Name.Name] = true
			}
		}
	})
	for name := range began {
		if !listed[name] {
			t.Errorf("%s begins a goroutine or a timer: say in docs/architecture.md what ends it", name)
		}
	}
	for name := range listed {
		if !began[name] {
			t.Errorf("docs/architecture.md: %s begins none", name)
		}
	}
}

// begins reports whether a function begins a goroutine or a timer of its own.
func begins(fn *ast.FuncDecl) (yes bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			yes = true
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Go" || s.Sel.Name == "AfterFunc") {
				yes = true
			}
		}
		return true
	})
	return yes
}
