package limit

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestWhatRunsHoldsItsDocument: a caller's documents together are bounded, each for as
// long as something of it runs and once however many do; another's, and a small one of what
// is no subscription, are not counted.
func TestWhatRunsHoldsItsDocument(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type who struct{}
		const each = 100
		text := func(n int) string { return "subscription { " + strings.Repeat("s ", each-3-n) + "}" }
		most := 3 * Parsed(text(0))
		r := &Running{Held: NewHeld(most, "bytes"), Key: func(ctx context.Context) (string, bool) {
			key, _ := ctx.Value(who{}).(string)
			return key, key == ""
		}}
		e := newExecutor(r)
		cache := NewCache(2*each*3, func(key string, _ *ast.QueryDocument) int { return len(key) })
		e.SetQueryCache(cache)
		begin := func(key, text string) (end context.CancelFunc, ok bool) {
			t.Helper()
			ctx, cancel := context.WithCancel(context.WithValue(graphql.StartOperationTrace(t.Context()), who{}, key))
			_, errs := e.CreateOperationContext(ctx, &graphql.RawParams{Query: text})
			for _, err := range errs {
				if f := fault.From(err); f.Code != fault.RateLimited {
					t.Fatal(err)
				}
			}
			return func() { cancel(); synctest.Wait() }, len(errs) == 0
		}
		var ends []context.CancelFunc
		for n, want := range []bool{true, true, true, false} {
			end, ok := begin("ann", text(n))
			if ok != want {
				t.Fatalf("document %d of %d bytes: %v, of %d %d are held", n, Parsed(text(n)), ok, most, r.Held.Of("ann"))
			}
			ends = append(ends, end)
		}
		for _, c := range [][2]string{{"bo", text(3)}, {"", text(3)}, {"ann", "{ a }"}, {"ann", text(2)}} {
			end, ok := begin(c[0], c[1])
			if !ok {
				t.Errorf("refused: %q, %.40s", c[0], c[1])
			}
			ends = append(ends, end)
		}
		if _, ok := begin("ann", "{ a }"+strings.Repeat(" ", littleText)); ok {
			t.Error("a large query is not counted")
		}
		if ends[0](); r.Held.Of("ann") > most*2/3 {
			t.Error("one has ended, and is held")
		}
		again, ok := begin("ann", text(3))
		if !ok {
			t.Error("one has ended, and there is no room")
		}
		if ends[2](); r.Held.Of("ann") < most*5/6 {
			t.Error("one of two of a document has ended, and it is not held")
		}
		again()
		for _, end := range ends[1:] {
			end()
		}
		if n := r.Held.Len(); n+len(r.of) != 0 {
			t.Errorf("all have ended, and of %d something is held: %v", n, r.of)
		}
	})
}
