package rig

import (
	"bufio"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// count is what clients count of one process of a server.
type count struct {
	name, metrics string
	read, ended   atomic.Int64
}

func (n *node) counts() *count {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count
}

// tallies are what all servers and their clients have counted by now; nil: one does not say.
func (r *rig) tallies() (list []Tally) {
	r.pages.count()
	for i, n := range r.nodes {
		c := n.counts()
		t := Tally{Process: c.name, Read: c.read.Load(), Ended: c.ended.Load(), Deaf: r.bell.deaf.Load(), There: r.pages.on(c)}
		for _, x := range r.clients {
			x.mu.Lock()
			if x.up && x.node == i {
				t.There++
			}
			x.mu.Unlock()
		}
		ctx, cancel := context.WithTimeout(context.Background(), answer)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.metrics+"/metrics", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil
		}
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			series, value, _ := strings.Cut(s.Text(), " ")
			name, _, _ := strings.Cut(series, "{")
			of := map[string]*int64{"realtime_connections": &t.Open, "realtime_connections_total": &t.Opened, "realtime_disconnections_total": &t.Closed,
				"realtime_messages_total": &t.Written, "realtime_doorbells_total": &t.Rung, "realtime_doorbells_heard_total": &t.Heard}[name]
			if v, err := strconv.ParseFloat(value, 64); of != nil && err == nil {
				*of += int64(v)
			}
		}
		_ = res.Body.Close()
		list = append(list, t)
	}
	return list
}

// settledTallies are those of a moment in which nothing is on its way, and that two
// countings saw: where sockets or links ended, one alone may leave out what comes yet.
// Where no two saw the same, as when clients go on pinging, they are the last of such a
// moment; without one, the last of all.
func (r *rig) settledTallies() []Tally {
	r.mu.Lock()
	before := r.h.Tallies[max(0, len(r.h.Tallies)-1):]
	r.mu.Unlock()
	var list, clean []Tally
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); pause(20 * time.Millisecond) {
		last := list
		if list = r.tallies(); list == nil {
			continue
		}
		var v Verdict
		if v.tallies(&History{Tallies: append(before[:len(before):len(before)], list)}); len(v.Violations) != 0 {
			continue
		}
		if slices.Equal(list, last) {
			return list
		}
		clean = list
	}
	if clean != nil {
		return clean
	}
	return list
}
