package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/app"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// metric is the sum of a metric's series, of those that hold a text.
func (n *node) metric(name, holding string) (sum float64) {
	n.t.Helper()
	for line := range strings.Lines(n.operator("/metrics")) {
		series, number, ok := strings.Cut(strings.TrimSpace(line), " ")
		is, _, _ := strings.Cut(series, "{")
		if !ok || is != name || !strings.Contains(series, holding) {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(number, &v); err != nil {
			n.t.Fatal(line, err)
		}
		sum += v
	}
	return sum
}

// provenElsewhere are metrics whose cause a whole server's test cannot bring about.
var provenElsewhere = map[string]string{
	"realtime_doorbells_congested": "bus.TestAFullQueue",
	"realtime_nats_connected":      "e2e.TestNodesOverNATS",
	"realtime_nats_messages_total": "e2e.TestNodesOverNATS",
	"realtime_nats_gaps_total":     "e2e.TestNodesOverNATS",
	"realtime_nats_dropped_total":  "bus.TestMoreThanCanWaitIsLookedAt",
	"realtime_channels_numbered":   "app.TestNumberingIsTold",
	"realtime_channels_to_number":  "app.TestNumberingIsTold",
}

// TestEveryMetricMoves: each by what it counts, on a server with a database and a
// Hasura behind it; and no metric is left out.
func TestEveryMetricMoves(t *testing.T) {
	t.Parallel()
	url := database(t)
	h, pool := hasuraOn(t, url, nil)
	d := &doored{node: startNode(t, url, "HASURA_UPSTREAM_URL="+h.URL(), "HASURA_WEBHOOK_SECRET="+hookSecret, "RETENTION=1h"), h: h, pool: pool}
	t.Cleanup(h.Stop)
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := d.pool.Exec(t.Context(), q, args...); err != nil {
			t.Fatal(err)
		}
	}
	moved := map[string]bool{}
	moves := func(name, holding string, cause func()) {
		t.Helper()
		before := d.metric(name, holding)
		cause()
		eventually(t, name+" "+holding+" moves", func() bool { return d.metric(name, holding) != before })
		moved[name] = true
	}
	also := func(name string) {
		t.Helper()
		eventually(t, name, func() bool { return d.metric(name, "") != 0 })
		moved[name] = true
	}
	var s *sock
	moves("realtime_connections", "", func() { s = d.open() })
	moves("realtime_connections_total", `subprotocol="graphql-transport-ws"`, func() { d.dial(token(t, demo.Carol)) })
	moves("realtime_operations_total", `kind="subscription"`, func() { until(t, s.start(watch(demo.Bob)), "offline") })
	moves("realtime_messages_total", "", func() { d.dial(token(t, demo.Bob)) })
	for _, name := range []string{"realtime_written_bytes_total", "realtime_events_executed_total", "realtime_doorbells_total",
		"realtime_doorbells_heard_total", "realtime_latency_ms_count"} {
		also(name)
	}
	moves("realtime_disconnections_total", `code="4400"`, func() { _ = d.dial(token(t, demo.Carol)).ws.WriteMessage(websocket.TextMessage, []byte("{")) })

	moves("realtime_odd_values_total", `kind="message_time"`, func() {
		exec(`update nchat_messages set edited_at = 'infinity' where id = (select id from nchat_messages where channel_id = $1 limit 1)`, demo.General)
		d.post(fmt.Sprintf(`{ messages(channelId: %q, first: 50) { messages { id } } }`, demo.General), bearer(token(t, demo.Alice)))
	})
	until(t, s.start(`subscription { items { text } }`), "first")
	also("realtime_upstream_sockets")
	also("realtime_upstream_dials_total")
	moves("realtime_front_door_requests_total", "", func() { d.at(`{ items { text } }`) })
	asked := d.h.Asked.Load()
	s.start(`mutation { hang }`)
	eventually(t, "Hasura is at it", func() bool { return d.h.Asked.Load() > asked })
	moves("realtime_upstream_lost_total", "", func() { d.h.Close(1012, "") })
	for _, name := range []string{"realtime_upstream_resubscribed_total", "realtime_upstream_unchanged_total", "realtime_upstream_ended_total"} {
		also(name)
	}

	moves("realtime_swept_rows_total", `table="log"`, func() {
		exec(`update realtime.log set at = at - interval '2 hours'`)
		if status, _ := d.hook("cron/retention", `{}`); status != http.StatusOK {
			t.Error(status)
		}
	})
	also("realtime_sweep_seconds")
	moves("realtime_sweep_failures_total", `table="message_versions"`, func() {
		exec(`alter table realtime.message_versions rename to elsewhere`)
		d.hook("cron/retention", `{}`)
		exec(`alter table realtime.elsewhere rename to message_versions`)
	})
	eventually(t, "doorbells are heard", func() bool { return d.metric("realtime_doorbells_stale", "") == 0 })
	moves("realtime_doorbells_stale", "", func() { shut(t, d.url) })
	d.post(fmt.Sprintf(`{ presence(userId: %q) { status } }`, demo.Bob), bearer(token(t, demo.Alice)))
	eventually(t, "what failed is logged", func() bool { return strings.Contains(d.said(), "operation failed") })
	d.namesNobody()
	for _, m := range app.Metrics() {
		if !moved[m.Name] && !moved[m.Name+"_count"] && provenElsewhere[m.Name] == "" {
			t.Errorf("nothing here moves %s", m.Name)
		}
	}
}

// namesNobody: whatever was done here, neither metrics nor the log say by whom, of whom
// or in which tenant; metrics not even in which channel.
func (n *node) namesNobody() {
	n.t.Helper()
	metrics, log := n.operator("/metrics"), n.said()
	if id := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).FindString(metrics); id != "" {
		n.t.Errorf("%s is in the metrics", id)
	}
	words := []string{`"primary"`, "=primary"}
	for i := range 8 {
		words = append(words, demo.User(i+1).String())
	}
	for _, word := range words {
		for where, text := range map[string]string{"metrics": metrics, "log": log} {
			if at := strings.Index(text, word); at >= 0 {
				n.t.Errorf("%q is in the %s: %.200q", word, where, text[max(at-100, 0):])
			}
		}
	}
}

// shut has a database let nobody in, and cuts off who is there.
func shut(t *testing.T, url string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	name := cfg.Database
	cfg.Database = "postgres"
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), `alter database `+pgx.Identifier{name}.Sanitize()+` with allow_connections false`); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, name); err != nil {
		t.Fatal(err)
	}
}
