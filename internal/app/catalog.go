package app

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metric is one of the server's own, as the documentation shows it.
type Metric struct {
	Name, Kind string // counter, gauge, histogram
	Label      string // "": there is none
	Meaning    string
}

// Metrics are all that GET /metrics tells beside what Go and the process say.
func Metrics() []Metric {
	c := newCatalog()
	newMetrics(c)
	newOddities(nil, c)
	return c.rows
}

// catalog registers metrics, and notes what they are.
type catalog struct {
	registry *prometheus.Registry
	rows     []Metric
}

func newCatalog() *catalog {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &catalog{registry: r}
}

func register[C prometheus.Collector](c *catalog, m Metric, collector C) C {
	c.registry.MustRegister(collector)
	c.rows = append(c.rows, m)
	return collector
}

func (c *catalog) counter(name, meaning string) prometheus.Counter {
	return register(c, Metric{Name: name, Kind: "counter", Meaning: meaning}, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: meaning}))
}

func (c *catalog) counters(name, label, meaning string) *prometheus.CounterVec {
	return register(c, Metric{Name: name, Kind: "counter", Label: label, Meaning: meaning},
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: meaning}, []string{label}))
}

func (c *catalog) gauge(name, meaning string) prometheus.Gauge {
	return register(c, Metric{Name: name, Kind: "gauge", Meaning: meaning}, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: meaning}))
}

func (c *catalog) histogram(name, meaning string, buckets []float64) prometheus.Histogram {
	return register(c, Metric{Name: name, Kind: "histogram", Meaning: meaning},
		prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: meaning, Buckets: buckets}))
}
