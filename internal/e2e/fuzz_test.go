package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// silence is how long a subscription may say nothing.
const silence = 100 * time.Millisecond

func quoted(s string) string {
	b, _ := json.Marshal(s) //nolint:errchkjson // a string
	return string(b)
}

// complaints are what a server logged as its own errors.
type complaints struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (c *complaints) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (c *complaints) WithAttrs([]slog.Attr) slog.Handler           { return c }
func (c *complaints) WithGroup(string) slog.Handler                { return c }
func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%.600v", a.Key, a.Value); return true })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, b.String())
	return nil
}

func (c *complaints) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// asker asks a whole server whatever a client can, and looks for answers that
// are no client's fault.
type asker struct {
	phrases
	*node
	log    *complaints
	header http.Header
}

func newAsker(t testing.TB) *asker {
	t.Helper()
	a := &asker{log: &complaints{}}
	a.node = insideLogged(t, database(t), map[string]string{"OPERATIONS_PER_MINUTE": "1000000"}, a.log)
	a.schema = generated.NewExecutableSchema(generated.Config{}).Schema()
	a.message = uuid.MustParse(a.says(demo.Alice, demo.Team, "fuzz", "hello"))
	a.header = bearer(token(t, demo.Alice))
	return a
}

// ask sends one operation; a subscription until it tells something.
func (a *asker) ask(kind, body string) (answer string) {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/graphql", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header = a.header.Clone()
	req.Header.Set("Content-Type", "application/json")
	if kind == "subscription" {
		req.Header.Set("Accept", "text/event-stream")
		end := time.AfterFunc(silence, cancel) // nothing to tell is an answer
		defer end.Stop()
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if kind == "subscription" && ctx.Err() != nil {
			return ""
		}
		return `no answer, "unexpected": ` + err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewReaderSize(res.Body, 1<<20)
	var out strings.Builder
	for {
		line, err := lines.ReadString('\n')
		out.WriteString(line)
		if err != nil || kind == "subscription" && strings.HasPrefix(line, "data:") {
			return out.String()
		}
	}
}

// wrong is what is wrong with an answer; "": nothing.
func (a *asker) wrong(kind, body string) string {
	_, wrong := a.answers(kind, body)
	return wrong
}

func (a *asker) answers(kind, body string) (answer, wrong string) {
	answer = a.ask(kind, body)
	complaints := a.log.take()
	if strings.Contains(answer, `"unexpected"`) || strings.Contains(answer, "SQLSTATE") || len(complaints) > 0 {
		return answer, fmt.Sprintf("%.500s\n answered: %.500s\n logged: %.1500q", body, answer, complaints)
	}
	return answer, ""
}

// unnamed are errors of values that do not say which, or that are to be tried again.
func unnamed(answer string, of *ast.FieldDefinition) string {
	answer = strings.TrimPrefix(strings.TrimSpace(answer[max(0, strings.Index(answer, "{")):]), "data:")
	var r struct {
		Errors []struct {
			Message    string
			Extensions struct {
				Code, Field string
				Retryable   bool
			}
		}
	}
	if json.NewDecoder(strings.NewReader(answer)).Decode(&r) != nil {
		return ""
	}
	for _, e := range r.Errors {
		if e.Extensions.Code != "validation-failed" {
			continue
		}
		named := strings.HasSuffix(e.Message, " at "+of.Name) // of a cap, which is the operation's
		for _, arg := range of.Arguments {
			named = named || regexp.MustCompile(`^`+arg.Name+`\b`).MatchString(e.Extensions.Field) || strings.Contains(e.Message, arg.Name)
		}
		if e.Extensions.Retryable || !named {
			return fmt.Sprintf("%+v", e)
		}
	}
	return ""
}

// fields are the root fields of the schema, in its order, and after them those
// with arguments within what queries answer, each by a way on which it is answered.
func (a *asker) fields(t testing.TB) (out []asked) {
	t.Helper()
	for _, def := range []*ast.Definition{a.schema.Query, a.schema.Mutation, a.schema.Subscription} {
		for _, f := range def.Fields {
			if !strings.HasPrefix(f.Name, "__") {
				out = append(out, asked{kind: strings.ToLower(def.Name), field: f})
			}
		}
	}
	ways := a.ways(3)
	for _, name := range slices.Sorted(maps.Keys(ways)) {
		i := slices.IndexFunc(ways[name], func(r asked) bool {
			return strings.Contains(a.ask(r.kind, a.operation(r, a.required(r.field, ""), false)), `"`+r.field.Name+`":`)
		})
		if i < 0 {
			t.Errorf("%s is answered on no way of %d", name, len(ways[name]))
			continue
		}
		out = append(out, ways[name][i])
	}
	return out
}

// TestEveryArgumentOfEveryField: whatever value a client gives it, the answer is
// the value's or the client's error and never ours, and nothing panics.
func TestEveryArgumentOfEveryField(t *testing.T) {
	whole(t)
	a := newAsker(t)
	var tried atomic.Int64
	var all sync.WaitGroup
	todo := make(chan func() int64)
	for range 8 {
		all.Go(func() {
			for try := range todo {
				tried.Add(try())
			}
		})
	}
	for _, r := range a.fields(t) {
		for _, arg := range r.field.Arguments {
			todo <- func() int64 { return a.argument(t, r, arg) }
		}
	}
	close(todo)
	all.Wait()
	a.header = http.Header{"X-Hasura-Admin-Secret": {admin}}
	revoke := a.schema.Mutation.Fields.ForName("revokeSessions")
	for _, arg := range revoke.Arguments {
		tried.Add(a.argument(t, asked{kind: "mutation", field: revoke}, arg))
	}
	t.Log(tried.Load(), "operations")
	if tried.Load() < 2000 {
		t.Error("few of them")
	}
}

// argument tries every odd value of one argument, the others good.
func (a *asker) argument(t *testing.T, r asked, arg *ast.ArgumentDefinition) (tried int64) {
	for _, x := range a.odd(arg.Type, arg.Name, 2) {
		for _, variables := range []bool{true, false} {
			args := append(a.required(r.field, arg.Name), namedValue{arg.Name, x})
			body := a.operation(r, args, variables)
			answer, wrong := a.answers(r.kind, body)
			if wrong != "" {
				t.Errorf("%s(%s): %s", r.field.Name, arg.Name, wrong)
			} else if wrong := unnamed(answer, r.field); wrong != "" && variables { // a literal has a line and a column
				t.Errorf("%s(%s): %.500s\n answered: %s", r.field.Name, arg.Name, body, wrong)
			}
			tried++
		}
	}
	return tried
}

// FuzzArguments is TestEveryArgumentOfEveryField with several odd values in one
// operation. What it has found stands in testdata.
func FuzzArguments(f *testing.F) {
	if testing.Short() {
		f.Skip("starts a whole server")
	}
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte("every argument of every field"))
	a := newAsker(f)
	fields := a.fields(f)
	f.Fuzz(func(t *testing.T, choices []byte) {
		next := func(n int) int {
			if len(choices) == 0 || n == 0 {
				return 0
			}
			c := int(choices[0])
			if choices = choices[1:]; n > 256 && len(choices) > 0 {
				c, choices = c<<8|int(choices[0]), choices[1:]
			}
			return c % n
		}
		r := fields[next(len(fields))]
		variables := next(2) == 0
		var args []namedValue
		for _, x := range r.field.Arguments {
			if odd := a.odd(x.Type, x.Name, 2); next(4) > 0 {
				args = append(args, namedValue{x.Name, odd[next(len(odd))]})
			} else if x.Type.NonNull {
				args = append(args, namedValue{x.Name, a.good(x.Type, x.Name)})
			}
		}
		if wrong := a.wrong(r.kind, a.operation(r, args, variables)); wrong != "" {
			t.Error(wrong)
		}
	})
}
