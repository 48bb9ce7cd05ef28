package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// How often health looks at Postgres, how long that may take, and from when on
// what it saw last is too old to go by.
const (
	lookEvery     = time.Second
	lookLimit     = 2 * time.Second
	lookTooOld    = 5 * time.Second
	numberingEach = 30 // looks, of which one counts what is still to be numbered
)

// health is whether this node should get requests. Postgres is asked by one
// goroutine, over a connection that serves no caller: whoever asks for readyz,
// however often, is answered from memory.
type health struct {
	pool     *pgxpool.Pool
	lease    *lease.Lease
	bus      *bus.Bus
	metrics  *metrics
	draining *atomic.Bool
	seen     atomic.Pointer[looked]
}

// looked is what was seen of Postgres, and when.
type looked struct {
	at                 time.Time
	postgres, migrated bool
}

// run looks until ctx ends.
func (h *health) run(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	numbered := false
	for n := 0; ; n++ {
		h.look(ctx)
		if !numbered && n%numberingEach == 0 {
			numbered = h.count(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look asks Postgres once.
func (h *health) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	is, err := postgres.MigrationStatus(ctx, h.pool, Code())
	h.seen.Store(&looked{at: time.Now(), postgres: err == nil, migrated: err == nil && is.Ready()})
}

// count tells the metrics how far the numbering of older messages is; true: it is done.
func (h *health) count(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	done, all, err := feed.Backfill(ctx, h.pool)
	if err != nil {
		return false
	}
	h.metrics.numbered.Set(float64(done))
	h.metrics.toNumber.Set(float64(all - done))
	return done == all
}

// state is what this node needs to serve, and whether it has it: Postgres answers,
// doorbells arrive, the migrations are there, and it is not leaving.
func (h *health) state() map[string]bool {
	saw := h.seen.Load()
	if saw == nil || time.Since(saw.at) > lookTooOld {
		saw = &looked{}
	}
	_, _, leased := h.lease.Identity()
	return map[string]bool{"postgres": saw.postgres, "migrations": saw.migrated, "doorbells": !h.bus.Stale(),
		"lease": leased, "serving": !h.draining.Load()}
}

// readyz says whether this node should get requests.
func (h *health) readyz(w http.ResponseWriter, _ *http.Request) {
	state := h.state()
	status := http.StatusOK
	for _, ok := range state {
		if !ok {
			status = http.StatusServiceUnavailable
		}
	}
	body, err := json.Marshal(state)
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// adminHandler is ADMIN_ADDR: for operators, never for the internet. console: the
// operators' page; nil: there is none.
func adminHandler(m *metrics, console http.Handler) http.Handler {
	mux := http.NewServeMux()
	if console != nil {
		mux.Handle("/admin", console)
		mux.Handle("/admin/", console)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	return mux
}
