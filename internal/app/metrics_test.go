package app

import (
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// series are the lines that GET /metrics answers for one metric.
func series(t *testing.T, p *parts, name string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(get(t, adminHandler(p.metrics, nil), "/metrics").Body.String()) {
		if strings.HasPrefix(line, name+" ") || strings.HasPrefix(line, name+"{") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// TestNumberingIsTold: how many channels with older messages are numbered, and
// how many still wait.
func TestNumberingIsTold(t *testing.T) {
	t.Parallel()
	p := built(t, nil)
	if _, err := p.pool.Exec(t.Context(), `insert into realtime.backfill (channel_id, done) values ($1, true), ($2, false), ($3, false)
	  on conflict (channel_id) do update set done = excluded.done`, demo.General, demo.Channel(2), demo.Channel(3)); err != nil {
		t.Fatal(err)
	}
	if p.health.count(t.Context()) {
		t.Error("done, it says")
	}
	for name, want := range map[string]string{"realtime_channels_numbered": "1", "realtime_channels_to_number": "2"} {
		if got := series(t, p, name); len(got) != 1 || got[0] != name+" "+want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}
