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

// health is what readyz looks at.
type health struct {
	pool     *pgxpool.Pool
	lease    *lease.Lease
	bus      *bus.Bus
	draining *atomic.Bool
}

// readyz says whether this node should get requests: Postgres answers,
// doorbells arrive, the migrations are there, and it is not leaving.
func (h health) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	migrated, err := postgres.MigrationStatus(ctx, h.pool, Code())
	_, _, leased := h.lease.Identity()
	done, all, _ := feed.Backfill(ctx, h.pool) // progress, and no reason to send requests elsewhere
	state := map[string]any{"postgres": err == nil, "migrations": err == nil && migrated.Ready(), "doorbells": !h.bus.Stale(),
		"lease": leased, "serving": !h.draining.Load(),
		"numberedChannels": done, "channelsToNumber": all}
	status := http.StatusOK
	for _, ok := range state {
		if ok == false {
			status = http.StatusServiceUnavailable
		}
	}
	body, err := json.Marshal(state)
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// adminHandler is ADMIN_ADDR: for operators, never for the internet.
func adminHandler(m *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	return mux
}
