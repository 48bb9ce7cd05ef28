package share_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/share"
)

type viewerKey struct{}

// root answers what the tests ask: delivery says who asks, if anybody does.
type root struct{ generated.ResolverRoot }

type (
	subscription struct{ generated.SubscriptionResolver }
	messages     struct{ generated.MessageResolver }
)

func (root) Subscription() generated.SubscriptionResolver { return subscription{} }
func (root) Message() generated.MessageResolver           { return messages{} }

func (subscription) MessageChanged(ctx context.Context, _ uuid.UUID) (<-chan events.MessageEvent, error) {
	return share.Offer(ctx, func() (share.Source[events.MessageEvent], error) {
		s, ok := ctx.Value(sourceKey{}).(*source)
		if !ok {
			return nil, fmt.Errorf("refused")
		}
		return s, nil
	}, func() (<-chan events.MessageEvent, error) { return nil, fmt.Errorf("executed for itself") })
}

func (messages) Delivery(ctx context.Context, _ *message.Message) (*receipt.Delivery, error) {
	who, _ := ctx.Value(viewerKey{}).(string)
	if who == "" {
		return nil, nil
	}
	return &receipt.Delivery{TotalRecipients: len(who)}, nil
}

// source is one viewer's: what the test says.
type source struct {
	pieces chan []share.Piece[events.MessageEvent]
	closed atomic.Bool
}

func (s *source) Next(ctx context.Context) ([]share.Piece[events.MessageEvent], error) {
	select {
	case p, ok := <-s.pieces:
		if !ok {
			return nil, fmt.Errorf("over")
		}
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
func (s *source) Close() { s.closed.Store(true) }

// rig is an executor with sharing, that counts what it executes.
type rig struct {
	t        *testing.T
	exec     *executor.Executor
	executed atomic.Int64
	mu       sync.Mutex
	docs     map[string]*ast.QueryDocument
}

func (r *rig) Get(_ context.Context, q string) (*ast.QueryDocument, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.docs[q]
	return d, ok
}

func (r *rig) Add(_ context.Context, q string, d *ast.QueryDocument) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.docs[q] = d
}

func newRig(t *testing.T, alike func(object, field string) bool) *rig {
	t.Helper()
	r := &rig{t: t, docs: map[string]*ast.QueryDocument{}, exec: executor.New(generated.NewExecutableSchema(generated.Config{Resolvers: root{}}))}
	r.exec.SetQueryCache(r)
	r.exec.AroundFields(func(ctx context.Context, next graphql.Resolver) (any, error) {
		if fc := graphql.GetFieldContext(ctx); fc.Object == "MessageEvent" && fc.Field.Name == "kind" {
			r.executed.Add(1)
		}
		return next(ctx)
	})
	r.exec.Use(share.New(share.Options{
		Nobody:  func(context.Context) context.Context { return context.Background() },
		Prepare: func(context.Context, *graphql.OperationContext) *gqlerror.Error { return nil },
		Alike:   alike,
		Encoded: func(bool) {},
		Present: func(_ context.Context, err error) *gqlerror.Error { return gqlerror.WrapPath(nil, err) },
	}))
	return r
}

type sourceKey struct{}

// subscribe begins an operation as a viewer; what it is told comes by the handler.
func (r *rig) subscribe(who, query string, variables ...map[string]any) (*source, func() *graphql.Response, context.CancelFunc) {
	r.t.Helper()
	s := &source{pieces: make(chan []share.Piece[events.MessageEvent], 100)}
	ctx, cancel := context.WithCancel(context.WithValue(context.WithValue(r.t.Context(), viewerKey{}, who), sourceKey{}, s))
	r.t.Cleanup(cancel)
	ctx = graphql.StartOperationTrace(ctx)
	vars := map[string]any{}
	for _, v := range variables {
		vars = v
	}
	oc, errs := r.exec.CreateOperationContext(ctx, &graphql.RawParams{Query: query, Variables: vars, ReadTime: graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}})
	if len(errs) > 0 {
		r.t.Fatal(errs)
	}
	next, in := r.exec.DispatchOperation(graphql.WithOperationContext(ctx, oc), oc)
	return s, func() *graphql.Response { return next(in) }, cancel
}

func said(n int, who, text string, alone bool) share.Piece[events.MessageEvent] {
	p := share.Piece[events.MessageEvent]{Value: &events.MessageEvent{Kind: feed.Created, Message: message.Message{Content: &text, Type: message.TypeText}, Cursor: share.Hole},
		Fill: fmt.Sprint("cursor-", who, "-", n)}
	if !alone {
		p.Class = n
	}
	return p
}

const ask = `subscription { messageChanged(channelId: "00000000-0000-4000-a000-000000000001") { kind again: cursor message { content delivery { totalRecipients } } cursor } }`

// TestAnEventIsExecutedOnce: for all of a class, whatever their number; what is
// one viewer's alone for itself; and each has its own cursor, and nobody's else.
func TestAnEventIsExecutedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(_, field string) bool { return field == "delivery" })
	const viewers, of = 50, 20
	var wg sync.WaitGroup
	sources, nexts := make([]*source, viewers), make([]func() *graphql.Response, viewers)
	for i := range viewers {
		sources[i], nexts[i], _ = r.subscribe(fmt.Sprintf("v%02d", i), ask)
	}
	for i := range viewers {
		who, s, next := fmt.Sprintf("v%02d", i), sources[i], nexts[i]
		for n := range of {
			s.pieces <- []share.Piece[events.MessageEvent]{said(n, who, fmt.Sprint("text ", n), i == n)}
		}
		wg.Go(func() {
			for n := range of {
				res := next()
				if res == nil || len(res.Errors) > 0 {
					t.Errorf("%s, event %d: %+v", who, n, res)
					return
				}
				var got struct {
					MessageChanged struct {
						Again, Cursor string
						Message       struct {
							Content  string
							Delivery *struct{ TotalRecipients int }
						}
					}
				}
				if err := json.Unmarshal(res.Data, &got); err != nil {
					t.Errorf("%s: %v", res.Data, err)
				}
				m, cursor := got.MessageChanged, fmt.Sprint("cursor-", who, "-", n)
				if m.Message.Content != fmt.Sprint("text ", n) || m.Cursor != cursor || m.Again != cursor {
					t.Errorf("%s, event %d: %s", who, n, res.Data)
				}
				if own := i == n; own != (m.Message.Delivery != nil) {
					t.Errorf("%s, event %d, which is its own: %v: %s", who, n, own, res.Data)
				}
				if strings.Contains(string(res.Data), share.Hole) {
					t.Errorf("a hole is told: %s", res.Data)
				}
			}
		})
	}
	wg.Wait()
	if n := r.executed.Load(); n != 2*of {
		t.Errorf("%d executions of %d events, each of them one viewer's own besides", n, of)
	}
}

// TestWhatMayDifferIsNotShared: a resolver that nobody vouches for has the whole
// operation executed for each viewer, as itself.
func TestWhatMayDifferIsNotShared(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(string, string) bool { return false })
	for _, who := range []string{"a", "bcd"} {
		s, next, _ := r.subscribe(who, ask)
		for n := range 2 {
			s.pieces <- []share.Piece[events.MessageEvent]{said(n, who, "text", false)}
			if got := string(next().Data); !strings.Contains(got, fmt.Sprintf(`"totalRecipients":%d`, len(who))) || !strings.Contains(got, "cursor-"+who) {
				t.Errorf("%s is told %s", who, got)
			}
		}
	}
}

// TestTheEndIsToldOnce: with its error, and nothing after; a viewer that goes
// frees what it held, and the others go on.
func TestTheEndIsToldOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(string, string) bool { return true })
	first, one, leave := r.subscribe("a", ask)
	second, two, _ := r.subscribe("b", ask)
	first.pieces <- []share.Piece[events.MessageEvent]{said(1, "a", "text", false)}
	if one() == nil {
		t.Fatal("told nothing")
	}
	leave()
	if one() != nil {
		t.Error("told after it went")
	}
	second.pieces <- []share.Piece[events.MessageEvent]{said(1, "b", "text", false), said(2, "b", "text", false)}
	for range 2 {
		if res := two(); res == nil || !strings.Contains(string(res.Data), "cursor-b") {
			t.Fatalf("%+v", res)
		}
	}
	close(second.pieces)
	if res := two(); res == nil || len(res.Errors) != 1 || res.Errors[0].Message != "over" {
		t.Errorf("%+v", res)
	}
	if two() != nil {
		t.Error("the end is told twice")
	}
	for end := time.Now().Add(time.Minute); !first.closed.Load(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("who went holds on")
		}
	}
}

// TestWhichVariablesMatter: those of the stream do not, those of what is told of
// it do.
func TestWhichVariablesMatter(t *testing.T) {
	t.Parallel()
	const doc = `subscription ($c: uuid!, $with: Boolean!) { messageChanged(channelId: $c) { kind ... on MessageEvent @include(if: $with) { message { content } } ...f } }
		fragment f on MessageEvent { cursor @skip(if: $with) }`
	r := newRig(t, func(string, string) bool { return true })
	ways := []bool{true, true, false, false}
	sources, nexts := make([]*source, len(ways)), make([]func() *graphql.Response, len(ways))
	for i, with := range ways {
		sources[i], nexts[i], _ = r.subscribe(fmt.Sprint("v", i), doc, map[string]any{"c": uuid.NewString(), "with": with})
	}
	for i, with := range ways {
		who := fmt.Sprint("v", i)
		sources[i].pieces <- []share.Piece[events.MessageEvent]{said(1, who, "text", false)}
		got := string(nexts[i]().Data)
		if strings.Contains(got, "text") != with || strings.Contains(got, "cursor-"+who) == with {
			t.Errorf("with %v: %s", with, got)
		}
	}
	if n := r.executed.Load(); n != 2 {
		t.Errorf("%d executions for two ways to tell one event", n)
	}
}

// TestWhatIsTooLargeToBeKeptIsEachOnesOwn: a few have a large event executed for each, and
// many once; all are told it.
func TestWhatIsTooLargeToBeKeptIsEachOnesOwn(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 100<<10)
	for viewers, want := range map[int]int64{2: 2, 8: 1} {
		r := newRig(t, func(string, string) bool { return true })
		sources, nexts := make([]*source, viewers), make([]func() *graphql.Response, viewers)
		for i := range viewers {
			sources[i], nexts[i], _ = r.subscribe(fmt.Sprint("v", i), ask)
		}
		for i := range viewers {
			who := fmt.Sprint("v", i)
			sources[i].pieces <- []share.Piece[events.MessageEvent]{said(1, who, large, false)}
			if got := string(nexts[i]().Data); !strings.Contains(got, large) || !strings.Contains(got, "cursor-"+who) || strings.Contains(got, share.Hole) {
				t.Errorf("%s is told %.200s", who, got)
			}
		}
		if n := r.executed.Load(); n != want {
			t.Errorf("%d executions for %d viewers, want %d", n, viewers, want)
		}
	}
}
