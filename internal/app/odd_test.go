package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nself-org/nchat-realtime/internal/message"
)

// A row is logged once and counted each time; a table full of them fills no log.
func TestOddRowsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	series := &catalog{registry: prometheus.NewRegistry()}
	o := newOddities(slog.New(slog.NewTextHandler(&out, nil)), series)
	id := uuid.New()
	for range 5 {
		o.message(t.Context(), id, message.OddTime)
	}
	o.message(t.Context(), id, message.OddMetadata)
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines: %s", n, &out)
	}
	for range 2 * oddRemembered {
		o.message(t.Context(), uuid.New(), message.OddTime)
	}
	if n := strings.Count(out.String(), "\n"); n != oddRemembered+1 {
		t.Errorf("%d lines", n)
	}
	families, err := series.registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 2 {
		t.Fatalf("%v, %v", families, err)
	}
	for _, m := range families[0].GetMetric() {
		if want := map[string]float64{"message_time": 5 + 2*oddRemembered, "message_metadata": 1}[m.GetLabel()[0].GetValue()]; m.GetCounter().GetValue() != want {
			t.Errorf("%v: want %v", m, want)
		}
	}
}
