package limit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestCapsAreOfTheWholeOperation: each is let in up to it and refused past it, summed
// over its fields under whatever names; and so are the messages of a minute.
func TestCapsAreOfTheWholeOperation(t *testing.T) {
	t.Parallel()
	var each Weight
	run := func(c *Cost, fields int) *fault.Error {
		t.Helper()
		_, errs := newExecutor(c).CreateOperationContext(graphql.StartOperationTrace(t.Context()), &graphql.RawParams{Query: "{" + repeat(fields, "x#:a ") + "}"})
		if len(errs) == 0 {
			return nil
		}
		f, ok := errors.AsType[*fault.Error](errs[0])
		if !ok {
			t.Fatal(errs)
		}
		return f
	}
	cost := func(l *Limiter) *Cost {
		return &Cost{Weigh: func(string, map[string]any) Weight { return each }, Caps: Caps{IDs: 6, Rooms: 6, Messages: 6}, Unjoined: 6,
			Accounts: func(context.Context) []Account { return nil }, Sending: func(context.Context) (Account, bool) { return Account{l, "x"}, true }}
	}
	for what, w := range map[string]Weight{"ids": {IDs: 2, Batched: true}, "rooms": {Rooms: 2, Batched: true}, "messages": {Messages: 2, Batched: true}} {
		each = w
		if f := run(cost(New(1000)), 3); f != nil {
			t.Errorf("%s at the limit: %v", what, f)
		}
		if f := run(cost(New(1000)), 4); f == nil || f.Code != fault.Invalid || !strings.Contains(f.Message, fmt.Sprintf("more than 6 %s", what)) {
			t.Errorf("%s past it: %v", what, f)
		}
	}
	each = Weight{}
	if a, b := run(cost(New(1000)), 6), run(cost(New(1000)), 7); a != nil || b == nil || b.Code != fault.Invalid {
		t.Errorf("root fields: %v, %v", a, b)
	}
	synctest.Test(t, func(t *testing.T) {
		each = Weight{Messages: 1, Sent: 2}
		c := cost(New(7))
		for i, want := range []bool{true, true, true, false} {
			if f := Pay(t.Context(), each, c.Accounts, c.Sending); (f == nil) != want || f != nil && (f.Code != fault.RateLimited || !f.Retryable || f.RetryAfter <= 0) {
				t.Errorf("messages %d: %v", i, f)
			}
		}
	})
}
