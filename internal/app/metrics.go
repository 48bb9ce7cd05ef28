package app

import (
	"context"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// metrics counts what an operator wants to know. No label names a user, and
// none counts who is online: that too is a user's own.
type metrics struct {
	registry    *prometheus.Registry
	connections prometheus.Gauge
	opened      *prometheus.CounterVec
	closed      *prometheus.CounterVec
	messages    prometheus.Counter
	written     prometheus.Counter
	operations  *prometheus.CounterVec
	executed    *prometheus.CounterVec
	rung        prometheus.Counter
	heard       prometheus.Counter
	latency     prometheus.Histogram
	stale       prometheus.Gauge
	congested   prometheus.Gauge
	nats        prometheus.Gauge
	carried     *prometheus.CounterVec
	dropped     prometheus.Counter
	gaps        *prometheus.CounterVec
	forgotten   *prometheus.CounterVec
	unforgotten *prometheus.CounterVec
	sweep       prometheus.Gauge
	upstream    upstreamMetrics
	numbered    prometheus.Gauge
	toNumber    prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry:    prometheus.NewRegistry(),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "realtime_connections", Help: "Sockets open now."}),
		opened:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_connections_total", Help: "Sockets opened, by subprotocol."}, []string{"subprotocol"}),
		closed:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_disconnections_total", Help: "Sockets closed, by code."}, []string{"code"}),
		messages:    prometheus.NewCounter(prometheus.CounterOpts{Name: "realtime_messages_total", Help: "Frames written to sockets."}),
		written:     prometheus.NewCounter(prometheus.CounterOpts{Name: "realtime_written_bytes_total", Help: "Bytes written to sockets."}),
		operations:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_operations_total", Help: "Operations started, by kind."}, []string{"kind"}),
		executed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_events_executed_total",
			Help: "Events of subscriptions that can be shared, by whom they were executed and encoded for: a class of viewers, or one viewer."}, []string{"for"}),
		rung:  prometheus.NewCounter(prometheus.CounterOpts{Name: "realtime_doorbells_total", Help: "Topics rung by this node."}),
		heard: prometheus.NewCounter(prometheus.CounterOpts{Name: "realtime_doorbells_heard_total", Help: "Topics heard, this node's own among them."}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "realtime_latency_ms", Help: "A doorbell's way through Postgres and back, in milliseconds.",
			Buckets: prometheus.ExponentialBuckets(0.5, 2, 14)}),
		stale:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "realtime_doorbells_stale", Help: "1 while doorbells do not arrive."}),
		congested: prometheus.NewGauge(prometheus.GaugeOpts{Name: "realtime_doorbells_congested", Help: "1 while the server's notification queue is half full."}),
		nats:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "realtime_nats_connected", Help: "1 while NATS carries what this node rings."}),
		carried:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_nats_messages_total", Help: "Messages over NATS, by way: in or out."}, []string{"way"}),
		dropped:   prometheus.NewCounter(prometheus.CounterOpts{Name: "realtime_nats_dropped_total", Help: "How often a subject's messages over NATS began to be dropped since more came than could wait."}),
		gaps: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_nats_gaps_total",
			Help: "How often everything was looked at since messages over NATS may have been missed, by reason: connect (the first one too), or full, where more came than could wait."}, []string{"why"}),
		forgotten:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_swept_rows_total", Help: "Rows past their time that this node folded or forgot, by table."}, []string{"table"}),
		unforgotten: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_sweep_failures_total", Help: "Batches of such rows that failed, by table."}, []string{"table"}),
		sweep:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "realtime_sweep_seconds", Help: "How long this node's last turn at forgetting took."}),
		numbered:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "realtime_channels_numbered", Help: "Channels that had messages before the installation and are numbered."}),
		toNumber:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "realtime_channels_to_number", Help: "Channels whose older messages are still to be numbered."}),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.connections, m.opened, m.closed, m.messages, m.written, m.operations, m.executed, m.rung, m.heard, m.latency, m.stale, m.congested, m.nats, m.carried, m.dropped, m.gaps,
		m.forgotten, m.unforgotten, m.sweep, m.numbered, m.toNumber)
	m.upstream = newUpstreamMetrics(m.registry)
	m.stale.Set(1)
	return m
}

func (m *metrics) swept(table string, n int) { m.forgotten.WithLabelValues(table).Add(float64(n)) }

func (m *metrics) unswept(table string) { m.unforgotten.WithLabelValues(table).Inc() }

func (m *metrics) turned(took time.Duration) { m.sweep.Set(took.Seconds()) }

func (m *metrics) encoded(shared bool) {
	whom := "viewer"
	if shared {
		whom = "class"
	}
	m.executed.WithLabelValues(whom).Inc()
}

func (m *metrics) sockets() wsock.Observer {
	return wsock.Observer{
		Opened: func(subprotocol string) {
			if subprotocol == "" {
				subprotocol = "none"
			}
			m.connections.Inc()
			m.opened.WithLabelValues(subprotocol).Inc()
		},
		Closed:  func(code int) { m.connections.Dec(); m.closed.WithLabelValues(codeLabel(code)).Inc() },
		Written: func(bytes int) { m.messages.Inc(); m.written.Add(float64(bytes)) },
	}
}

// codeLabel keeps a peer from making as many series as there are numbers.
func codeLabel(code int) string {
	if code >= 1000 && code <= 1014 || code >= 4400 && code <= 4499 {
		return strconv.Itoa(code)
	}
	return "other"
}

func (m *metrics) bus() bus.Observer {
	gauge := func(g prometheus.Gauge) func(bool) {
		return func(on bool) {
			if on {
				g.Set(1)
			} else {
				g.Set(0)
			}
		}
	}
	return bus.Observer{
		Sent:  func(n int) { m.rung.Add(float64(n)) },
		Heard: func(n int) { m.heard.Add(float64(n)) },
		Lag:   func(d time.Duration) { m.latency.Observe(float64(d) / float64(time.Millisecond)) },
		Stale: gauge(m.stale), Full: gauge(m.congested),
		NATS:        gauge(m.nats),
		NATSIn:      m.carried.WithLabelValues("in").Inc,
		NATSOut:     m.carried.WithLabelValues("out").Inc,
		NATSDropped: m.dropped.Inc,
		NATSGap:     func(why string) { m.gaps.WithLabelValues(why).Inc() },
	}
}

func (m *metrics) operation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	m.operations.WithLabelValues(string(graphql.GetOperationContext(ctx).Operation.Operation)).Inc()
	return next(ctx)
}
