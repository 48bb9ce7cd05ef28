package graph_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/graph"
	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// counter counts the statements of a pool.
type counter struct{ n atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (*counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *counter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	c.n.Add(int64(d.Batch.Len()))
	return ctx
}
func (*counter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

type nobell struct{}

func (nobell) Ring(...string) {}

type nonode struct{}

func (nonode) Identity() (uuid.UUID, int64, bool) { return uuid.Nil, 0, false }
func (nonode) Lost(int64)                         {}

// everybody shares everything: privacy is tested where it is decided.
type everybody struct{}

func (everybody) Audience(context.Context, postgres.DB, viewer.Key) (viewer.Audience, error) {
	return viewer.Audience{}, nil
}

func (everybody) Unshared(context.Context, postgres.DB, string, []uuid.UUID) ([]uuid.UUID, error) {
	return nil, nil
}

// TestStatementsDoNotGrowWithAliases: a join of ten rows and one of five
// thousand take the same statements.
func TestStatementsDoNotGrowWithAliases(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	conf, err := pgxpool.ParseConfig(pgtest.NewURL(t))
	if err != nil {
		t.Fatal(err)
	}
	count := &counter{}
	conf.ConnConfig.Tracer = count
	pool, err := pgxpool.NewWithConfig(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := demo.Load(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	p := presence.New(presence.Options{Pool: pool, Clock: clock.New(), Bell: nobell{}, Node: nonode{}})
	me := viewer.Of("primary", demo.Alice)
	r := graph.NewResolver(graph.Deps{Presence: p, Receipts: receipt.New(receipt.Options{Pool: pool, Privacy: everybody{}, Settle: func(context.Context) error { return nil }}),
		Viewer: func(context.Context) viewer.Viewer { return me }, MaxIDs: 1000})
	exec := executor.New(generated.NewExecutableSchema(generated.Config{Resolvers: r}))
	exec.AroundResponses(r.Batch)
	for _, field := range []string{
		`presence(userId: %q) { status }`, `presenceVisibility(userId: %q) { isContact }`, `channelPresenceCounts(channelId: %q) { online }`,
		`messageDelivery(messageId: %q) { status receipts { totalCount } }`, `readState(channelId: %q) { unreadCount }`,
	} {
		statements := func(n int) int64 {
			var q strings.Builder
			for i := range n {
				fmt.Fprintf(&q, "f%d: "+field+" ", i, uuid.New())
			}
			ctx := graphql.StartOperationTrace(t.Context())
			oc, errs := exec.CreateOperationContext(ctx, &graphql.RawParams{Query: "{" + q.String() + "}"})
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			before := count.n.Load()
			next, ctx := exec.DispatchOperation(ctx, oc)
			if res := next(ctx); len(res.Errors) > 0 {
				t.Fatal(res.Errors)
			}
			return count.n.Load() - before
		}
		few, many := statements(10), statements(5000)
		if few == 0 || few > 3 || many > 5*few { // a thousand records are held at a time
			t.Errorf("%s: %d statements for 10 rows, %d for 5,000", field, few, many)
		}
	}
}
