package nchatrealtime

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/vektah/gqlparser/v2"
	gql "github.com/vektah/gqlparser/v2/ast"
)

var update = flag.Bool("update", false, "write docs/api.md anew")

var (
	fenced   = regexp.MustCompile("(?ms)^ *```.*?^ *```[^\n]*$")
	coded    = regexp.MustCompile("`[^`\n]*`")
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	linked   = regexp.MustCompile(`\]\(<?([^)\s>]+)>?\)|(?m:^\[[^\]]+\]: +(\S+))|(?:src|srcset|href)="([^"]+)"`)
	linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	byHand   = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// onGitHub is where this repository's own files are for whoever reads elsewhere.
const onGitHub = "https://github.com/nself-org/nchat-realtime/blob/main/"

// anchors are the places of a document that a link may name, as GitHub makes them.
func anchors(text string) map[string]bool {
	text = fenced.ReplaceAllString(text, "")
	all, times := map[string]bool{}, map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, linkText.ReplaceAllString(m[1], "$1"))
		if n := times[slug]; n > 0 {
			all[fmt.Sprintf("%s-%d", slug, n)] = true
		} else {
			all[slug] = true
		}
		times[slug]++
	}
	for _, m := range byHand.FindAllStringSubmatch(text, -1) {
		all[m[1]] = true
	}
	return all
}

// TestLinksLeadSomewhere: each link of a document to a file of this repository,
// and to a heading of a document, is to one that is there.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	documents, places := map[string]string{}, map[string]map[string]bool{}
	files(t, func(name string, text []byte) {
		if filepath.Ext(name) == ".md" {
			documents[filepath.ToSlash(name)] = string(text)
			places[filepath.ToSlash(name)] = anchors(string(text))
		}
	})
	count := 0
	for name, text := range documents {
		for _, m := range linked.FindAllStringSubmatch(coded.ReplaceAllString(fenced.ReplaceAllString(text, ""), ""), -1) {
			to := m[1] + m[2] + m[3]
			target, place, _ := strings.Cut(to, "#")
			if own, ok := strings.CutPrefix(target, onGitHub); ok {
				target = own
			} else if strings.Contains(target, ":") {
				continue // elsewhere
			} else if target = path.Join(path.Dir(name), target); strings.HasPrefix(to, "#") {
				target = name
			}
			count++
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", name, to)
			} else if place != "" && path.Ext(target) == ".md" && !places[target][place] {
				t.Errorf("%s links to %s, which has no such heading", name, to)
			}
		}
	}
	if count < 50 {
		t.Errorf("only %d links were found", count)
	}
}

// TestAPIReference: docs/api.md is the schema's own, with the codes of package fault.
func TestAPIReference(t *testing.T) {
	t.Parallel()
	const name = "docs/api.md"
	want := reference(t)
	if have, err := os.ReadFile(name); err == nil && string(have) == want {
		return
	}
	if !*update {
		t.Fatal(name + " is not the schema's: go test . -run TestAPIReference -update")
	}
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}

const apiBegins = `# API

Every operation and type, as the descriptions in [schema/](../schema) say it. Written by ` + "`go test . -run TestAPIReference -update`" + `.

` + "`/graphql`" + ` and ` + "`/v1/graphql`" + ` take POST, WebSocket (` + "`graphql-transport-ws`, `graphql-ws`" + `) and, for subscriptions, POST with ` +
	"`Accept: text/event-stream`" + `. A type followed by ` + "`!`" + ` is never null. How it is meant: [concepts](concepts.md), [messages, receipts and sync](sync.md).

## Errors

An error has ` + "`extensions.code`, `retryable`" + `, and where known ` + "`retryAfterMs`, `field`" + ` (the input's path) and ` + "`index`" + ` (its place in a list).
Every operation may answer ` + "`validation-failed`, `rate-limited` and `unexpected`" + `; further ones stand with it.

| code | meaning |
|---|---|
`

// domains are the files of the schema, in the order in which they are read.
var domains = [][2]string{
	{"schema", "Session and server"},
	{"presence", "Presence"},
	{"typing", "Typing"},
	{"messages", "Messages and receipts"},
	{"notifications", "Notifications"},
	{"sync", "Sync and events"},
}

func reference(t *testing.T) string {
	t.Helper()
	var sources []*gql.Source
	found, err := filepath.Glob("schema/*.graphqls")
	if err != nil || len(found) != len(domains) {
		t.Fatalf("%d files in schema/, %d in domains: %v", len(found), len(domains), err)
	}
	for _, d := range domains {
		text, err := os.ReadFile("schema/" + d[0] + ".graphqls")
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, &gql.Source{Name: d[0], Input: string(text)})
	}
	s, err := gqlparser.LoadSchema(sources...)
	if err != nil {
		t.Fatal(err)
	}
	r := &referenceWriter{schema: s}
	r.WriteString(apiBegins + faults(t))
	for _, d := range domains {
		fmt.Fprintf(r, "\n## %s\n", d[1])
		for _, root := range []*gql.Definition{s.Query, s.Mutation, s.Subscription} {
			for _, f := range root.Fields {
				if f.Position != nil && f.Position.Src.Name == d[0] {
					r.operation(strings.ToLower(root.Name), f)
				}
			}
		}
		var names []string
		for n, def := range s.Types {
			if def.Position.Src.Name == d[0] && !slices.Contains([]*gql.Definition{s.Query, s.Mutation, s.Subscription}, def) {
				names = append(names, n)
			}
		}
		slices.SortFunc(names, func(a, b string) int { return s.Types[a].Position.Line - s.Types[b].Position.Line })
		for _, n := range names {
			r.definition(s.Types[n])
		}
	}
	return r.String()
}

// faults is the table of codes, by the comments beside them.
func faults(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "internal/fault/fault.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	table := ""
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || v.Comment == nil {
			return true
		}
		if value, ok := v.Values[0].(*ast.BasicLit); ok {
			table += "| `" + strings.Trim(value.Value, `"`) + "` | " + strings.TrimSpace(v.Comment.Text()) + " |\n"
		}
		return true
	})
	if strings.Count(table, "\n") < 10 {
		t.Fatalf("the codes of package fault: %s", table)
	}
	return table
}

type referenceWriter struct {
	strings.Builder
	schema *gql.Schema
}

func kind(d *gql.Definition) string {
	if d.Kind == gql.InputObject {
		return "input"
	}
	return strings.ToLower(strings.Replace(string(d.Kind), "OBJECT", "type", 1))
}

// link is a type with a link to where it is described.
func (r *referenceWriter) link(of *gql.Type) string {
	d := r.schema.Types[of.Name()]
	if d.BuiltIn {
		return "`" + of.String() + "`"
	}
	return fmt.Sprintf("[`%s`](#%s-%s)", of, kind(d), strings.ToLower(d.Name))
}

func sentence(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "|", `\|`)), " ")
}

func (r *referenceWriter) operation(kind string, f *gql.FieldDefinition) {
	says, errs, _ := strings.Cut(sentence(f.Description), "Errors: ")
	fmt.Fprintf(r, "\n### %s `%s`\n\n%s Answers %s.\n", kind, f.Name, strings.TrimSpace(says), r.link(f.Type))
	if errs != "" {
		fmt.Fprintf(r, "\n**Errors:** %s\n", errs)
	}
	if len(f.Arguments) > 0 {
		r.WriteString("\n| argument | type | meaning |\n|---|---|---|\n")
		for _, a := range f.Arguments {
			r.row(a.Name, a.Type, a.Description)
		}
	}
}

func (r *referenceWriter) row(name string, of *gql.Type, text string) {
	fmt.Fprintf(r, "| `%s` | %s | %s |\n", name, r.link(of), sentence(text))
}

func (r *referenceWriter) definition(d *gql.Definition) {
	fmt.Fprintf(r, "\n### %s `%s`\n\n%s\n", kind(d), d.Name, sentence(d.Description))
	switch d.Kind {
	case gql.Enum:
		r.WriteString("\n| value | meaning |\n|---|---|\n")
		for _, v := range d.EnumValues {
			fmt.Fprintf(r, "| `%s` | %s |\n", v.Name, sentence(v.Description))
		}
	case gql.Union:
		r.WriteString("\nOne of")
		for _, name := range d.Types {
			r.WriteString(" " + r.link(&gql.Type{NamedType: name}))
		}
		r.WriteString(".\n")
	case gql.Object, gql.InputObject:
		r.WriteString("\n| field | type | meaning |\n|---|---|---|\n")
		for _, f := range d.Fields {
			args := make([]string, 0, len(f.Arguments))
			for _, a := range f.Arguments {
				args = append(args, fmt.Sprintf(" `%s: %s`: %s", a.Name, a.Type, sentence(a.Description)))
			}
			r.row(f.Name, f.Type, f.Description+strings.Join(args, ""))
		}
	case gql.Scalar, gql.Interface:
	}
}

// TestMigrationNamesWhatThereIs: what stands in its first column the client still
// takes, and what stands in its last one is in the schema.
func TestMigrationNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	read := func(names ...string) (all string) {
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all += string(text)
		}
		return all
	}
	taken := read("web/client/src/services.ts", "web/client/src/legacy.ts")
	api := read("docs/api.md") + " `connection_init` `headers.Authorization` `autoDeliver`"
	rows := 0
	for line := range strings.SplitSeq(read("docs/migration.md"), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		rows++
		for _, old := range coded.FindAllString(cells[1], -1) {
			old = strings.TrimPrefix(strings.Trim(old, "`"), "realtimeClient.")
			kind, _, event := strings.Cut(old, ":")
			if event && (kind == "sync" || kind == "queue") {
				old = kind + ":"
			}
			if !regexp.MustCompile(`\b` + old).MatchString(taken) {
				t.Errorf("the client takes no %s", old)
			}
		}
		for _, name := range coded.FindAllString(cells[3], -1) {
			if !strings.Contains(api, name) {
				t.Errorf("the schema has no %s", name)
			}
		}
	}
	if rows < 30 {
		t.Errorf("only %d rows", rows)
	}
}
