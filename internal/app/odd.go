package app

import (
	"context"
	"log/slog"
	"sync"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nself-org/nchat-realtime/internal/message"
)

// oddRemembered is how many rows are logged one by one. Whoever fills a table
// with such rows finds them in the counter.
const oddRemembered = 1000

// oddities counts what rows hold that cannot be told as it is, and logs each
// row once, however often it is read.
type oddities struct {
	log   *slog.Logger
	count *prometheus.CounterVec

	mu   sync.Mutex
	seen map[oddity]struct{} // guarded by mu; at most oddRemembered
}

type oddity struct {
	row  uuid.UUID
	what message.Oddity
}

func newOddities(log *slog.Logger, c *catalog) *oddities {
	return &oddities{log: log, seen: map[oddity]struct{}{},
		count: c.counters("realtime_odd_values_total", "kind", "Reads of values that cannot be told as the database has them, by kind; note: a change that was passed over, for it could have no place in the log.")}
}

// time is a timestamp of whatever row.
func (o *oddities) time() { o.count.WithLabelValues("timestamp").Inc() }

// note is a change that was passed over.
func (o *oddities) note() { o.count.WithLabelValues("note").Inc() }

// message is a part of a message.
func (o *oddities) message(ctx context.Context, id uuid.UUID, what message.Oddity) {
	o.count.WithLabelValues("message_" + string(what)).Inc()
	o.mu.Lock()
	x := oddity{id, what}
	_, known := o.seen[x]
	full := len(o.seen) == oddRemembered
	if !known && !full {
		o.seen[x] = struct{}{}
	}
	last := !known && len(o.seen) == oddRemembered
	o.mu.Unlock()
	if known || full {
		return
	}
	o.log.WarnContext(ctx, "a message cannot be told as its row has it", "message", id, "part", string(what))
	if last {
		o.log.WarnContext(ctx, "more messages of which that is so are counted and not logged", "metric", "realtime_odd_values_total")
	}
}
