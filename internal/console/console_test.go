package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

const operator = "the-token-of-the-operators-of-these-tests"

// rig is a page over nothing, and what was asked of it.
type rig struct {
	http.Handler
	log   bytes.Buffer
	reads int
	ended []string
	err   error
}

func newRig(change ...func(*Options)) *rig {
	r := &rig{}
	o := Options{Token: operator, Node: uuid.New(), Metrics: prometheus.NewRegistry(), Ready: func() map[string]bool { return nil },
		Shared:  func(context.Context) (Shared, error) { r.reads++; return Shared{}, r.err },
		Sockets: func() []Socket { return nil }, Queue: 1000,
		EndSession: func(_ context.Context, id uuid.UUID) (bool, error) {
			r.ended = append(r.ended, id.String())
			return id != uuid.Nil, r.err
		},
		EndUser: func(_ context.Context, tenant string, user uuid.UUID) error {
			r.ended = append(r.ended, tenant+"/"+user.String())
			return r.err
		},
		Log: slog.New(slog.NewJSONHandler(&r.log, nil))}
	for _, f := range change {
		f(&o)
	}
	r.Handler = Handler(o)
	return r
}

func (r *rig) ask(t *testing.T, method, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, "http://admin.test"+path, nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// TestOnlyOperatorsAreLetIn: without a token there is no page; with one, files are
// anybody's, and what they show and do wants it in a header, from the page itself.
func TestOnlyOperatorsAreLetIn(t *testing.T) {
	t.Parallel()
	if Handler(Options{}) != nil {
		t.Fatal("a page without a token")
	}
	id, good := uuid.NewString(), "Bearer "+operator
	for _, c := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"GET", "/admin/", nil, 200}, {"GET", "/admin/console.js", nil, 200}, {"GET", "/admin/console.css", nil, 200}, {"GET", "/admin", nil, 301},
		{"GET", "/admin/index.html", nil, 404}, {"GET", "/admin/page/", nil, 404},
		{"GET", "/admin/state", nil, 401}, {"GET", "/admin/state", []string{"Authorization", "Bearer "}, 401}, {"GET", "/admin/state", []string{"Authorization", good + "x"}, 401},
		{"GET", "/admin/state", []string{"Authorization", operator}, 401}, {"GET", "/admin/state?token=" + operator, []string{"Cookie", "token=" + operator}, 401},
		{"GET", "/admin/state", []string{"Authorization", good}, 200},
		{"GET", "/admin/sessions/" + id + "/end", []string{"Authorization", good}, 405},
		{"POST", "/admin/sessions/" + id + "/end", nil, 401}, {"POST", "/admin/users/primary/" + id + "/end", nil, 401},
		{"POST", "/admin/sessions/" + id + "/end", []string{"Authorization", good, "Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/admin/sessions/" + id + "/end", []string{"Authorization", good, "Origin", "http://evil.example"}, 403},
		{"POST", "/admin/sessions/x/end", []string{"Authorization", good}, 400}, {"POST", "/admin/users/primary/x/end", []string{"Authorization", good}, 400},
		{"POST", "/admin/users/a%00b/" + id + "/end", []string{"Authorization", good}, 400}, {"POST", "/admin/users/primary/" + uuid.Nil.String() + "/end", []string{"Authorization", good}, 400},
	} {
		r := newRig()
		w := r.ask(t, c.method, c.path, c.headers...)
		if w.Code != c.want || len(r.ended) > 0 || r.log.Len() > 0 {
			t.Errorf("%s %s %q: %d, ended %v, %s", c.method, c.path, c.headers, w.Code, r.ended, &r.log)
		}
		h := w.Header()
		if w.Code == 200 && (h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "") {
			t.Errorf("%s: %v", c.path, h)
		}
		if csp := h.Get("Content-Security-Policy"); c.want == 200 && c.path != "/admin/state" && (!strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe")) {
			t.Errorf("%s: %s", c.path, csp)
		}
	}
}

// TestWhatOperatorsDoIsWrittenDown, done or not; of a user it is not told whether
// there was anything to end.
func TestWhatOperatorsDoIsWrittenDown(t *testing.T) {
	t.Parallel()
	id, away := uuid.NewString(), errors.New("away")
	for _, c := range []struct {
		path, ended, line string
		err               error
		want              int
	}{
		{"sessions/" + id, id, `"msg":"audit: an operator ends a session","session":"` + id + `","found":true,"from":"192.0.2.1:1234"`, nil, 204},
		{"sessions/" + uuid.Nil.String(), uuid.Nil.String(), `"found":false`, nil, 404},
		{"sessions/" + id, id, `"error":"away"`, away, 503},
		{"users/a%2Fb/" + id, "a/b/" + id, `"msg":"audit: an operator ends a user's sessions","tenant":"a/b","user":"` + id + `","from":"192.0.2.1:1234"`, nil, 204},
		{"users/primary/" + id, "primary/" + id, `"error":"away"`, away, 503},
	} {
		r := newRig()
		r.err = c.err
		w := r.ask(t, "POST", "/admin/"+c.path+"/end", "Authorization", "Bearer "+operator, "Sec-Fetch-Site", "same-origin")
		if w.Code != c.want || !slices.Equal(r.ended, []string{c.ended}) || strings.Contains(w.Body.String(), "away") {
			t.Errorf("%s: %d %s, ended %v", c.path, w.Code, w.Body, r.ended)
		}
		if log := r.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, `"level":"WARN"`) || !strings.Contains(log, c.line) || strings.Contains(log, operator) {
			t.Errorf("%s: %s", c.path, log)
		}
	}
}

// TestTheDatabaseIsReadOnceForAll who look, and away it leaves what the node knows.
func TestTheDatabaseIsReadOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(func(o *Options) {
			g := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "realtime_operations_total"}, []string{"kind"})
			g.WithLabelValues("query").Add(7)
			o.Metrics.(*prometheus.Registry).MustRegister(g) //nolint:forcetypeassert // newRig's
		})
		look := func() (v struct {
			Alarms  []string
			Numbers map[string]float64
			Nodes   []Node
		}) {
			w := r.ask(t, "GET", "/admin/state", "Authorization", "Bearer "+operator)
			if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || strings.Contains(w.Body.String(), "away") {
				t.Fatal(err, w.Body)
			}
			return v
		}
		look()
		if look(); r.reads != 1 {
			t.Errorf("read %d times for two", r.reads)
		}
		<-time.After(readEvery)
		r.err = errors.New("away")
		v := look()
		if r.reads != 2 || v.Numbers["realtime_operations_total:query"] != 7 || len(v.Alarms) != 1 || !strings.Contains(v.Alarms[0], "could not be read") || v.Nodes == nil {
			t.Errorf("%d reads: %+v", r.reads, v)
		}
	})
}

// TestAlarms: each by what it is about, and none where all is well.
func TestAlarms(t *testing.T) {
	t.Parallel()
	c := &console{o: Options{Queue: 1000, NATS: true, Ready: func() map[string]bool { return map[string]bool{"postgres": true} }}}
	well := func() view {
		return view{Numbers: map[string]float64{"realtime_nats_connected": 1}, Slow: []Socket{{Bytes: 500}},
			Shared: Shared{Nodes: []Node{{LeaseMs: 4000}, {LeaseMs: -1500}}, Log: Log{Pos: 10000, Here: 5000, Inbox: 5000}}}
	}
	if got := c.alarms(well(), nil); len(got) > 0 {
		t.Errorf("all is well: %q", got)
	}
	for want, change := range map[string]func(*view){
		"notification queue": func(v *view) { v.Numbers["realtime_doorbells_congested"] = 1 },
		"NATS is away":       func(v *view) { v.Numbers["realtime_nats_connected"] = 0 },
		"not been heard of":  func(v *view) { v.Nodes[1].LeaseMs = -9000 },
		"still to read":      func(v *view) { v.Log.Here-- },
		"wait for their":     func(v *view) { v.Log.Inbox++ },
		"501 bytes wait":     func(v *view) { v.Slow[0].Bytes++ },
	} {
		v := well()
		change(&v)
		if got := c.alarms(v, nil); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q", want, got)
		}
	}
	c.o.Ready = func() map[string]bool { return map[string]bool{"postgres": false, "lease": false, "serving": true} }
	if got := c.alarms(well(), nil); fmt.Sprint(got) != "[not ready: lease not ready: postgres]" {
		t.Errorf("%q", got)
	}
}

// TestSlowestFirst, and no more than are shown.
func TestSlowestFirst(t *testing.T) {
	t.Parallel()
	var all []Socket
	for i := range 2 * mostSlow {
		all = append(all, Socket{Bytes: i})
	}
	got := slowest(all)
	if len(got) != mostSlow || got[0].Bytes != 2*mostSlow-1 || got[mostSlow-1].Bytes != mostSlow || slowest(nil) == nil {
		t.Errorf("%+v", got)
	}
}
