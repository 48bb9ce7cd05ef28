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

func newUpstreamMetrics(c *catalog) upstreamMetrics {
	return upstreamMetrics{
		sockets:      c.gauge("realtime_upstream_sockets", "Sockets to Hasura open now."),
		dials:        c.counters("realtime_upstream_dials_total", "result", "Sockets dialled to Hasura, by result."),
		lost:         c.counters("realtime_upstream_lost_total", "why", "Sockets to Hasura that were lost, by why."),
		resubscribed: c.counter("realtime_upstream_resubscribed_total", "Live queries subscribed again at Hasura."),
		unchanged:    c.counter("realtime_upstream_unchanged_total", "First results after that which clients had already."),
		ended:        c.counters("realtime_upstream_ended_total", "code", "Operations that the loss of Hasura ended, by error."),
		answered:     c.counters("realtime_front_door_requests_total", "how", "HTTP requests at the one endpoint, by how they were answered."),
	}
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
