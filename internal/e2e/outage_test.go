package e2e

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/app"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// inside is a whole server in this very process, so that its goroutines can be
// counted (by TestMain, when all is over).
func inside(t testing.TB, url string, env map[string]string) *node {
	t.Helper()
	return insideLogged(t, url, env, slog.DiscardHandler)
}

// insideLogged is inside with somewhere to log to.
func insideLogged(t testing.TB, url string, env map[string]string, log slog.Handler) *node {
	t.Helper()
	given := map[string]string{"DATABASE_URL": url, "HASURA_GRAPHQL_JWT_SECRET": secret, "HASURA_GRAPHQL_ADMIN_SECRET": admin, "HOST": "127.0.0.1",
		"PORT": "0", "ADMIN_ADDR": "off", "DRAIN_TIMEOUT": "100ms", "INIT_TIMEOUT": "1m", "MAX_SOCKETS_PER_USER": "1000", "MAX_SOCKETS_PER_IP": "1000"}
	for k, v := range env {
		given[k] = v
	}
	c, err := config.Load(func(name string) string { return given[name] }, config.Serve)
	if err != nil {
		t.Fatal(err)
	}
	j, err := auth.ParseJWTConfig(c.JWTSecret)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, url: url, done: make(chan struct{})}
	ready := make(chan app.Addresses, 1)
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() {
		defer close(n.done)
		if err := app.Run(ctx, app.Options{Config: c, JWT: j, Log: slog.New(log), Ready: func(a app.Addresses) { ready <- a }}); err != nil {
			t.Errorf("the server ended: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-n.done:
		case <-time.After(patient):
			t.Error("the server does not end")
		}
	})
	select {
	case a := <-ready:
		n.base = "http://" + a.Public
		n.ready()
		n.at = time.Now()
	case <-n.done:
		t.Fatal("the server ended")
	case <-time.After(patient):
		t.Fatal("the server does not serve")
	}
	return n
}

// outage is one way Postgres goes away and comes back.
type outage struct {
	begin, end func()
	lasts      time.Duration
}

// weather is 200 live subscriptions over an outage. Whoever was connected is
// connected throughout: nobody may be told otherwise, during or after.
func weather(t *testing.T, url string, o outage) {
	t.Helper()
	if _, err := demo.Load(t.Context(), pgtest.Pool(t, url)); err != nil {
		t.Fatal(err)
	}
	n := inside(t, url, nil)
	alice := n.dial(token(t, demo.Alice))
	n.dial(token(t, demo.Bob))
	n.dial(token(t, demo.Carol))
	seen := &told{}
	var subs []<-chan result
	for i := range 200 {
		viewer := demo.User(2 + i%3) // bob, carol, dave
		c := n.dial(token(t, viewer)).start(watch(demo.Alice, demo.Bob, demo.Carol))
		online := 0
		for online < 3 {
			if strings.Contains(next(t, c).String(), `"online"`) {
				online++
			}
		}
		subs = append(subs, c)
	}
	o.begin()
	wait(t, o.lasts)
	o.end()
	back := time.Now()
	eventually(t, "a change is taken again", func() bool {
		return len(alice.run(`mutation { setPresence(status: busy) { status } }`).Errors) == 0
	})
	for _, c := range subs {
		for {
			r := next(t, c)
			seen.add(r.String())
			if strings.Contains(r.String(), `"busy"`) {
				break
			}
		}
	}
	t.Logf("everybody knows %.1f s after Postgres is back", time.Since(back).Seconds())
	// Past every lease and grace nobody was lost.
	wait(t, 8*time.Second)
	for _, c := range subs {
		for len(c) > 0 {
			seen.add((<-c).String())
		}
	}
	if text := seen.offline(); text != "" {
		t.Fatal("a false absence was told: " + text)
	}
}

type told struct {
	mu  sync.Mutex
	all []string
}

func (s *told) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, text)
}

func (s *told) offline() string {
	for _, text := range s.all {
		if strings.Contains(text, `"offline"`) || strings.Contains(text, `"Message"`) {
			return text
		}
	}
	return ""
}

// wait lets time pass: outages last.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func whole(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("stops a Postgres of its own")
	}
	t.Parallel()
}

func TestPostgresStoppedFor10SecondsUnder200Subscriptions(t *testing.T) {
	whole(t)
	own := pgtest.Cluster(t)
	weather(t, own.Migrated(), outage{own.Stop, own.Start, 10 * time.Second})
}

func TestPostgresKilledUnder200Subscriptions(t *testing.T) {
	whole(t)
	own := pgtest.Cluster(t)
	weather(t, own.Migrated(), outage{own.Kill, own.Start, 2 * time.Second})
}

func TestPostgresBlackHoledUnder200Subscriptions(t *testing.T) {
	whole(t)
	h, url := pgtest.NewHole(t, pgtest.NewURL(t))
	weather(t, url, outage{func() { h.Shut(true) }, func() { h.Shut(false) }, 10 * time.Second})
}

// TestAServerEndsWhilePostgresIsABlackHole within DRAIN_TIMEOUT, whatever is under
// way: nothing of what would wait for Postgres for longer is waited for.
func TestAServerEndsWhilePostgresIsABlackHole(t *testing.T) {
	whole(t)
	h, url := pgtest.NewHole(t, pgtest.NewURL(t))
	if _, err := demo.Load(t.Context(), pgtest.Pool(t, url)); err != nil {
		t.Fatal(err)
	}
	log := &logged{}
	n := insideLogged(t, url, map[string]string{"DRAIN_TIMEOUT": "2s"}, log.handler())
	bob := n.dial(token(t, demo.Bob))
	next(t, bob.start(watch(demo.Alice)))
	h.Shut(true)
	bob.start(sendMessage(demo.Team, "drained", "under way"))
	began := time.Now()
	n.stop()
	select {
	case <-n.done:
	case <-time.After(patient):
		t.Fatal("the server does not end")
	}
	t.Logf("it ended after %v", time.Since(began))
	if text := log.String(); !strings.Contains(text, "left without the last word") || !strings.Contains(text, "within=2s") {
		t.Errorf("it waited for Postgres: %s", text)
	}
}
