package app

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/introspection"

	"github.com/nself-org/nchat-realtime/graph/generated"
)

// TestIntrospectionIsNoBomb: what tools ask is answered; what multiplies the schema
// by itself is refused before anything runs.
func TestIntrospectionIsNoBomb(t *testing.T) {
	t.Parallel()
	p := &parts{log: slog.New(slog.DiscardHandler)}
	p.config.Limits.DocumentBytes = 64 << 10
	p.config.Limits.PointsPerMinute = 1000
	p.budgets = newBudgets(p.config.Limits, 4)
	exec := shows(p)(generated.NewExecutableSchema(generated.Config{}).Schema())
	for query, ok := range map[string]bool{
		introspection.Query: true,
		`{ __schema { types { a: fields { name } b: fields { name } c: fields { name } } } }`:                  false,
		`{ a: __schema { types { name } } b: __schema { types { name } } c: __schema { types { name } } }`:     false,
		`{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } }`: false,
		`{ __schema { queryType { name } } } #` + strings.Repeat(" ", 64<<10):                                  false,
	} {
		ctx := graphql.StartOperationTrace(t.Context())
		_, errs := exec.CreateOperationContext(ctx, &graphql.RawParams{Query: query, ReadTime: graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}})
		if (len(errs) == 0) != ok {
			t.Errorf("%.120s: %v", query, errs)
		}
	}
}
