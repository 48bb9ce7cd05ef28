package wsock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

const sdl = `
type Query { hello: String!  gated: String!  big(kb: Int!): String!  half: String  echo(v: Float!): String!  socket: String!  boom: String!  garbled: String! }
type Mutation { set(v: String!): String!  swell(kb: Int!): String! }
type Subscription { ticks(n: Int!): Int!  forever: Int!  gatedTicks: Int!  panics: Int!  marshalPanics: Int!  ends: Int!  flood(kb: Int!): String!  state: String!  deferred: Int! }
`

// schema is an executable schema by hand: gqlgen's engine calls it where it
// would call generated code.
type schema struct {
	parsed *ast.Schema
	gate   chan struct{} // one value lets one gated response go
	live   atomic.Int64  // streams whose context has not ended
	made   atomic.Int64  // responses made by flood and state
	state  atomic.Int64  // what state shows
	over   atomic.Int64  // single responses whose operation asked for more
	ran    atomic.Int64  // mutations
}

func newSchema() *schema {
	return &schema{parsed: gqlparser.MustLoadSchema(&ast.Source{Input: sdl}), gate: make(chan struct{})}
}

func (s *schema) Schema() *ast.Schema { return s.parsed }

func (s *schema) Complexity(context.Context, string, string, int, map[string]any) (int, bool) {
	return 0, false
}

func (s *schema) Exec(ctx context.Context) graphql.ResponseHandler {
	oc := graphql.GetOperationContext(ctx)
	f, ok := oc.Operation.SelectionSet[0].(*ast.Field)
	if !ok {
		return graphql.OneShot(graphql.ErrorResponse(ctx, "one plain field only"))
	}
	args := f.ArgumentMap(oc.Variables)
	if oc.Operation.Operation == ast.Subscription {
		s.live.Add(1)
		context.AfterFunc(ctx, func() { s.live.Add(-1) })
		return s.stream(ctx, f.Name, args)
	}
	return s.single(ctx, f.Name, args)
}

func data(name, text string) *graphql.Response {
	return &graphql.Response{Data: fmt.Appendf(nil, `{%q:%q}`, name, text)}
}

func (s *schema) single(ctx context.Context, name string, args map[string]any) graphql.ResponseHandler {
	switch name {
	case "hello":
		answer := graphql.OneShot(data(name, "world"))
		return func(ctx context.Context) *graphql.Response {
			r := answer(ctx)
			if r == nil {
				s.over.Add(1)
			}
			return r
		}
	case "set":
		s.ran.Add(1)
		return graphql.OneShot(data(name, fmt.Sprint(args["v"])))
	case "echo":
		return graphql.OneShot(data(name, fmt.Sprint(args["v"])))
	case "socket":
		c, ok := wsock.FromContext(ctx)
		if !ok {
			return graphql.OneShot(data(name, "none"))
		}
		return graphql.OneShot(data(name, c.ID().String()))
	case "swell":
		s.ran.Add(1)
		return graphql.OneShot(data(name, strings.Repeat("x", number(args["kb"])*1024)))
	case "big":
		return graphql.OneShot(data(name, strings.Repeat("x", number(args["kb"])*1024)))
	case "garbled":
		return graphql.OneShot(&graphql.Response{Data: []byte("{\"garbled\":\"a\xffb\"}")})
	case "half":
		return graphql.OneShot(&graphql.Response{Data: []byte(`null`), Errors: gqlerror.List{{Message: "no half"}}})
	case "boom":
		panic("a resolver's")
	}
	// gated: as gqlgen, it answers with an error once its context has ended
	return once(func() *graphql.Response {
		select {
		case <-s.gate:
			return data(name, "open")
		case <-ctx.Done():
			return &graphql.Response{Data: []byte(`null`), Errors: gqlerror.List{{Message: ctx.Err().Error()}}}
		}
	})
}

func once(f func() *graphql.Response) graphql.ResponseHandler {
	done := false
	return func(context.Context) *graphql.Response {
		if done {
			return nil
		}
		done = true
		return f()
	}
}

func number(v any) int {
	n, err := strconv.Atoi(fmt.Sprint(v))
	if err != nil {
		panic(err)
	}
	return n
}

func (s *schema) stream(ctx context.Context, name string, args map[string]any) graphql.ResponseHandler {
	n, limit := 0, 0
	if args["n"] != nil {
		limit = number(args["n"])
	}
	var buf bytes.Buffer // one for all responses, as gqlgen's
	tick := func() *graphql.Response {
		n++
		buf.Reset()
		fmt.Fprintf(&buf, `{%q:%d}`, name, n)
		return &graphql.Response{Data: buf.Bytes()}
	}
	switch name {
	case "panics":
		panic("a resolver's")
	case "ticks":
		return func(context.Context) *graphql.Response {
			if n == limit {
				return nil
			}
			return tick()
		}
	case "marshalPanics":
		return func(context.Context) *graphql.Response {
			if n == 1 {
				panic("a marshaller's")
			}
			return tick()
		}
	case "ends":
		return func(context.Context) *graphql.Response {
			if n == 1 {
				return &graphql.Response{Errors: gqlerror.List{{Message: "ended for a reason"}}}
			}
			return tick()
		}
	case "deferred":
		return once(func() *graphql.Response {
			r, more := tick(), false
			r.Label, r.HasNext = "late", &more
			return r
		})
	case "flood", "state":
		return s.heavy(ctx, name, args)
	}
	return func(context.Context) *graphql.Response { // forever, gatedTicks
		gate := s.gate
		if name == "forever" {
			gate = nil
		}
		select {
		case <-gate:
			return tick()
		case <-ctx.Done():
			return nil
		}
	}
}

// heavy is flood: as much as is taken; and state: the newest value whenever it
// is asked, and nothing until that is news.
func (s *schema) heavy(ctx context.Context, name string, args map[string]any) graphql.ResponseHandler {
	shown := int64(-1)
	return func(context.Context) *graphql.Response {
		if ctx.Err() != nil {
			return nil
		}
		if name == "flood" {
			s.made.Add(1)
			return data(name, strings.Repeat("x", number(args["kb"])*1024))
		}
		for s.state.Load() == shown {
			select {
			case <-s.gate:
			case <-ctx.Done():
				return nil
			}
		}
		shown = s.state.Load()
		s.made.Add(1)
		return data(name, strconv.FormatInt(shown, 10)+strings.Repeat(".", 8<<10))
	}
}

var errTest = errors.New("the database at 10.0.0.7 is away")
