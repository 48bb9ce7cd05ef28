package app

import (
	"context"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"

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

func newMetrics(c *catalog) *metrics {
	m := &metrics{
		registry:    c.registry,
		connections: c.gauge("realtime_connections", "Sockets open now."),
		opened:      c.counters("realtime_connections_total", "subprotocol", "Sockets opened, by subprotocol."),
		closed:      c.counters("realtime_disconnections_total", "code", "Sockets closed, by code."),
		messages:    c.counter("realtime_messages_total", "Frames written to sockets."),
		written:     c.counter("realtime_written_bytes_total", "Bytes written to sockets."),
		operations:  c.counters("realtime_operations_total", "kind", "Operations started, by kind."),
		executed: c.counters("realtime_events_executed_total", "for",
			"Events of subscriptions that can be shared, by whom they were executed and encoded for: a class of viewers, or one viewer."),
		rung:        c.counter("realtime_doorbells_total", "Topics rung by this node."),
		heard:       c.counter("realtime_doorbells_heard_total", "Topics heard, this node's own among them."),
		latency:     c.histogram("realtime_latency_ms", "A doorbell's way through Postgres and back, in milliseconds.", prometheus.ExponentialBuckets(0.5, 2, 14)),
		stale:       c.gauge("realtime_doorbells_stale", "1 while doorbells do not arrive."),
		congested:   c.gauge("realtime_doorbells_congested", "1 while the server's notification queue is half full."),
		nats:        c.gauge("realtime_nats_connected", "1 while NATS carries what this node rings; 0 too where there is no BUS_URL."),
		carried:     c.counters("realtime_nats_messages_total", "way", "Messages over NATS, by way: in or out."),
		dropped:     c.counter("realtime_nats_dropped_total", "How often a subject's messages over NATS began to be dropped since more came than could wait."),
		gaps:        c.counters("realtime_nats_gaps_total", "why", "How often everything was looked at since messages over NATS may have been missed: connect (the first time too), or full, where more came than could wait."),
		forgotten:   c.counters("realtime_swept_rows_total", "table", "Rows past their time that this node folded or forgot, by table."),
		unforgotten: c.counters("realtime_sweep_failures_total", "table", "Batches of such rows that failed, by table."),
		sweep:       c.gauge("realtime_sweep_seconds", "How long this node's last turn at forgetting took."),
		numbered:    c.gauge("realtime_channels_numbered", "Channels that had messages before the installation and are numbered."),
		toNumber:    c.gauge("realtime_channels_to_number", "Channels whose older messages are still to be numbered."),
		upstream:    newUpstreamMetrics(c),
	}
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
