package limit

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// slow parses until it is told to end, and counts what it parses at a time.
type slow struct {
	graphql.GraphExecutor

	now, all atomic.Int64
	end      chan struct{}
}

func (s *slow) CreateOperationContext(context.Context, *graphql.RawParams) (*graphql.OperationContext, gqlerror.List) {
	s.all.Add(1)
	s.now.Add(1)
	defer s.now.Add(-1)
	<-s.end
	return &graphql.OperationContext{}, nil
}

// parsing is a transport of whatever is asked.
type parsing struct {
	graphql.Transport

	do func(exec graphql.GraphExecutor)
}

func (p parsing) Do(_ http.ResponseWriter, _ *http.Request, exec graphql.GraphExecutor) { p.do(exec) }

// TestDocumentsAreParsedInTurn: of one caller's one at a time, small ones apart; another's
// beside them; and none of whoever has gone.
func TestDocumentsAreParsedInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type who struct{}
		s, refused := &slow{end: make(chan struct{})}, atomic.Int64{}
		p := Parsing{Turns: NewTurns(100, 1), Key: func(ctx context.Context) (string, bool) {
			key, _ := ctx.Value(who{}).(string)
			return key, key == ""
		}}
		ask := func(key, text string) (gone context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), who{}, key))
			p.Transport = parsing{do: func(exec graphql.GraphExecutor) {
				if _, errs := exec.CreateOperationContext(ctx, &graphql.RawParams{Query: text}); len(errs) > 0 {
					refused.Add(1)
				}
			}}
			go p.Do(nil, nil, s)
			synctest.Wait()
			return cancel
		}
		at := func(what string, now, all int64) {
			t.Helper()
			if synctest.Wait(); s.now.Load() != now || s.all.Load() != all {
				t.Errorf("%s: %d are parsed, of %d in all, want %d of %d", what, s.now.Load(), s.all.Load(), now, all)
			}
		}
		large := strings.Repeat("x", littleText+1)
		ask("ann", large)
		ask("ann", large)
		gone := ask("ann", large)
		ask("ann", "") // by its hash
		at("one caller's", 1, 1)
		ask("bo", large)
		ask("", large)
		at("others'", 3, 3)
		ask("ann", large[1:])
		at("small", 4, 4)
		gone()
		if synctest.Wait(); refused.Load() != 1 {
			t.Error("who has gone waits")
		}
		close(s.end)
		at("in the end", 0, 6)
		if len(p.Turns.callers) != 0 {
			t.Error("turns are held")
		}
	})
}
