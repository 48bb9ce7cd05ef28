package limit

import (
	"context"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// littleText is how many bytes of a document are parsed and checked in no time.
const littleText = 2 * mostRepeats

// Parsing is a transport whose documents wait for their caller's turn to be parsed and
// checked: a large one takes some megabytes and a tenth of a second meanwhile, and its caller
// can ask for a thousand at once.
type Parsing struct {
	graphql.Transport

	Turns *Turns
	Key   func(ctx context.Context) (key string, exempt bool)
}

// Do is gqlgen's.
func (p Parsing) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	p.Transport.Do(w, r, parsed{exec, p})
}

type parsed struct {
	graphql.GraphExecutor

	p Parsing
}

// CreateOperationContext is gqlgen's.
func (x parsed) CreateOperationContext(ctx context.Context, params *graphql.RawParams) (*graphql.OperationContext, gqlerror.List) {
	key, exempt := x.p.Key(ctx)
	if exempt || params.Query != "" && len(params.Query) <= littleText { // without a text it may be any, by its hash
		return x.GraphExecutor.CreateOperationContext(ctx, params)
	}
	done, err := x.p.Turns.Take(ctx, key)
	if err != nil { // nobody is left to answer
		return &graphql.OperationContext{RawQuery: params.Query}, gqlerror.List{refusal(fault.From(err))}
	}
	defer done()
	return x.GraphExecutor.CreateOperationContext(ctx, params)
}
