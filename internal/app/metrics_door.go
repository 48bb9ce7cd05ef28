package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nself-org/nchat-realtime/internal/door"
)

// upstreamMetrics count what goes to Hasura and what becomes of it.
type upstreamMetrics struct {
	sockets      prometheus.Gauge
	dials        *prometheus.CounterVec
	lost         *prometheus.CounterVec
	resubscribed prometheus.Counter
	unchanged    prometheus.Counter
	ended        *prometheus.CounterVec
	answered     *prometheus.CounterVec
}

func newUpstreamMetrics(r *prometheus.Registry) upstreamMetrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := upstreamMetrics{
		sockets:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "realtime_upstream_sockets", Help: "Sockets to Hasura open now."}),
		dials:        vec("realtime_upstream_dials_total", "Sockets dialled to Hasura, by result.", "result"),
		lost:         vec("realtime_upstream_lost_total", "Sockets to Hasura that were lost, by why.", "why"),
		resubscribed: prometheus.NewCounter(prometheus.CounterOpts{Name: "realtime_upstream_resubscribed_total", Help: "Live queries subscribed again at Hasura."}),
		unchanged:    prometheus.NewCounter(prometheus.CounterOpts{Name: "realtime_upstream_unchanged_total", Help: "First results after that which clients had already."}),
		ended:        vec("realtime_upstream_ended_total", "Operations that the loss of Hasura ended, by error.", "code"),
		answered:     vec("realtime_front_door_requests_total", "HTTP requests at the one endpoint, by how they were answered.", "how"),
	}
	r.MustRegister(m.sockets, m.dials, m.lost, m.resubscribed, m.unchanged, m.ended, m.answered)
	return m
}

func (m *metrics) door() door.Observer {
	u := m.upstream
	return door.Observer{
		Upstream:     func(change int) { u.sockets.Add(float64(change)) },
		Dialed:       func(result string) { u.dials.WithLabelValues(result).Inc() },
		Lost:         func(why string) { u.lost.WithLabelValues(why).Inc() },
		Resubscribed: func(n int) { u.resubscribed.Add(float64(n)) },
		Unchanged:    u.unchanged.Inc,
		Ended:        func(code string) { u.ended.WithLabelValues(code).Inc() },
		Answered:     func(how string) { u.answered.WithLabelValues(how).Inc() },
	}
}
