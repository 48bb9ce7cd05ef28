package presence

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// answered is told that relations were read.
type answered struct{ f func() }

type traced struct{}

func (answered) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, traced{}, d.SQL)
}

func (a answered) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if ctx.Value(traced{}) == readRelations {
		a.f()
	}
}

// TestAStreamBeginsAsLate where this node knows of whom it watches as where it does
// not: what the viewer is to them is asked while their records are being read, and not
// after.
func TestAStreamBeginsAsLate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	asked := make(chan struct{})
	config := r.pool.Config().Copy()
	config.ConnConfig.Tracer = answered{sync.OnceFunc(func() { close(asked) })}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r.nodes = pool
	w := r.node(quick).Watch.mirror.w
	m := newMirror(w) // of which nothing is read: nobody runs it
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := (&Watcher{w: w, mirror: m}).Changes(viewer.Of(primary, demo.Bob), []uuid.UUID{demo.Alice, demo.Carol})
	defer c.Close()
	go func() {
		select {
		case <-asked:
			cancel()
		case <-ctx.Done():
		}
	}()
	if v, told, err := c.Look(ctx); err == nil || told {
		t.Errorf("told %+v of records that were never read: %v", v, err)
	}
	select {
	case <-asked:
	default:
		t.Error("it waits for records before it asks anything")
	}
}
