package console

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	readEvery   = 2 * time.Second // however many operators look
	readLimit   = 3 * time.Second
	mostSlow    = 20
	behind      = 5000             // entries a node may have still to read
	piled       = 5000             // notes that may wait for their number
	leaseWanted = -2 * time.Second // a lease that ran out is another node's to bury, within a second
)

// view is what the page is told.
type view struct {
	Node    uuid.UUID          `json:"node"`
	At      time.Time          `json:"at"`
	Alarms  []string           `json:"alarms"`
	Numbers map[string]float64 `json:"numbers"` // of this node, by metric and label
	Slow    []Socket           `json:"slow"`    // most that waits first
	Shared
}

// reading is what was read last of what all nodes share: it is read once for
// all operators.
type reading struct {
	mu     sync.Mutex
	at     time.Time // guarded by mu
	shared Shared    // guarded by mu
	err    error     // guarded by mu
}

func (r *reading) get(ctx context.Context, read func(context.Context) (Shared, error)) (Shared, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() || time.Since(r.at) >= readEvery {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readLimit)
		defer cancel()
		r.shared, r.err = read(ctx)
		r.at = time.Now()
	}
	return r.shared, r.err
}

// state answers what the page shows. While the database is away it tells what
// this node knows alone.
func (c *console) state(w http.ResponseWriter, r *http.Request) {
	v := view{Node: c.o.Node, At: time.Now().UTC(), Slow: slowest(c.o.Sockets())}
	var err, unread error
	if v.Numbers, err = numbers(c.o.Metrics); err != nil {
		http.Error(w, "no metrics", http.StatusInternalServerError)
		return
	}
	if v.Shared, unread = c.seen.get(r.Context(), c.o.Shared); unread != nil {
		v.Shared = Shared{Nodes: []Node{}, Sessions: []Session{}, Rooms: []Room{}}
	}
	v.Alarms = c.alarms(v, unread)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// slowest are the sockets for which most waits.
func slowest(all []Socket) []Socket {
	slices.SortFunc(all, func(a, b Socket) int { return cmp.Or(b.Bytes-a.Bytes, a.Since.Compare(b.Since)) })
	return append([]Socket{}, all[:min(len(all), mostSlow)]...)
}

// numbers are the metrics of this server as one table: a series by its metric
// and its label's value, a histogram by its sum and count.
func numbers(from prometheus.Gatherer) (map[string]float64, error) {
	families, err := from.Gather()
	if err != nil {
		return nil, fmt.Errorf("gathering metrics: %w", err)
	}
	out := map[string]float64{}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "realtime_") && !strings.HasPrefix(name, "process_") && name != "go_goroutines" {
			continue
		}
		for _, m := range f.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				key += ":" + l.GetValue()
			}
			if h := m.GetHistogram(); h != nil {
				out[key+"_sum"], out[key+"_count"] = h.GetSampleSum(), float64(h.GetSampleCount())
				continue
			}
			out[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() // it is one of them
		}
	}
	return out, nil
}

// alarms are what an operator has to look at, in words.
func (c *console) alarms(v view, unread error) []string {
	is := []string{}
	for name, ok := range c.o.Ready() {
		if !ok {
			is = append(is, "not ready: "+name)
		}
	}
	slices.Sort(is)
	say := func(alarm bool, format string, args ...any) {
		if alarm {
			is = append(is, fmt.Sprintf(format, args...))
		}
	}
	say(unread != nil, "the database could not be read: nodes, sessions and rooms are not known")
	say(v.Numbers["realtime_doorbells_congested"] > 0, "Postgres' notification queue is half full: a session listens in a transaction that does not end")
	say(c.o.NATS && v.Numbers["realtime_nats_connected"] == 0, "NATS is away: Postgres carries the doorbells")
	for _, n := range v.Nodes {
		say(n.LeaseMs < leaseWanted.Milliseconds(), "node %s has not been heard of for %d s", n.ID, -n.LeaseMs/1000)
	}
	say(v.Log.Pos-v.Log.Here > behind, "this node has %d entries of the log still to read", v.Log.Pos-v.Log.Here)
	say(v.Log.Inbox > piled, "more than %d changes wait for their number", piled)
	for _, s := range v.Slow {
		say(s.Bytes > c.o.Queue/2, "session %s does not take what it is sent: %d bytes wait", s.Session, s.Bytes)
	}
	return is
}
