package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// ear counts what it hears.
type ear struct {
	mu      sync.Mutex
	topics  map[string]int
	order   []string // as they came
	resyncs int
}

func (e *ear) Notify(topic string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.topics[topic]++
	e.order = append(e.order, topic)
}

func (e *ear) Resync() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resyncs++
}

func (e *ear) heard(topic string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.topics[topic]
}

func (e *ear) inOrder() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.order)
}

func (e *ear) distinct() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.topics)
}

func (e *ear) resynced() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.resyncs
}

// stale collects what the observer says.
type staleness struct {
	mu   sync.Mutex
	said []bool
}

func (s *staleness) set(v bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, v)
}

func (s *staleness) all() []bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

type running struct {
	*bus.Bus
	ear  *ear
	stop func()
}

// To the calm nothing that a slow machine does is a silence, for which the link would
// be given up and what is rung meanwhile be lost; the alert notice one soon.
const calm, alert = time.Minute, 200 * time.Millisecond

func start(t *testing.T, pool *pgxpool.Pool, listen string, prefixes ...string) *running {
	t.Helper()
	return startWith(t, bus.Options{Pool: pool}, listen, prefixes...)
}

// startAlert is start for a test in which the link falls silent.
func startAlert(t *testing.T, pool *pgxpool.Pool, listen string, prefixes ...string) *running {
	t.Helper()
	r := startWith(t, bus.Options{Pool: pool, ProbeEvery: alert}, listen, prefixes...)
	eventually(t, "doorbells arrive", func() bool { return !r.Stale() })
	return r
}

// startWith runs a bus with more options until the test ends. It listens.
func startWith(t *testing.T, o bus.Options, listen string, prefixes ...string) *running {
	t.Helper()
	if o.ProbeEvery == 0 {
		o.ProbeEvery = calm
	}
	cfg, err := pgx.ParseConfig(listen)
	if err != nil {
		t.Fatal(err)
	}
	o.Listen, o.Log = cfg, slog.New(slog.DiscardHandler)
	b := bus.New(o)
	e := &ear{topics: map[string]int{}}
	for _, p := range prefixes {
		b.Handle(p, e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	eventually(t, "it listens, and looks at everything", func() bool { return e.resynced() > 0 })
	return &running{b, e, stop}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("never: " + what)
		}
	}
}

func TestRingsReachEveryNodeOnceAndByPrefix(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	pool := pgtest.Pool(t, url)
	one, two := start(t, pool, url, "a/"), start(t, pool, url, "a/", "b/")
	one.Ring("a/1", "b/1", "c/1")
	eventually(t, "both hear", func() bool {
		return one.ear.heard("a/1") == 1 && two.ear.heard("a/1") == 1 && two.ear.heard("b/1") == 1
	})
	if one.ear.heard("b/1") != 0 || two.ear.heard("c/1") != 0 {
		t.Fatal("heard what it does not answer")
	}
}

// TestWhatIsRungLaterIsHeardLater: in one notification, over several and over
// several batches.
func TestWhatIsRungLaterIsHeardLater(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	pool := pgtest.Pool(t, url)
	one, two := start(t, pool, url, "t/"), start(t, pool, url, "t/")
	var rung []string
	for i := range 200 {
		rung = append(rung, fmt.Sprintf("t/%d/%s", i, strings.Repeat("x", i)))
	}
	one.Ring(rung[:100]...)
	for _, topic := range rung[100:] {
		one.Ring(topic)
	}
	for _, n := range []*running{one, two} {
		eventually(t, "all arrive", func() bool { return n.ear.distinct() == len(rung) })
		if heard := n.ear.inOrder(); !slices.Equal(heard, rung) {
			t.Errorf("heard in another order: %.200s", strings.Join(heard, " "))
		}
	}
}

func TestAStormIsCoalescedAndNothingIsLost(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	sent := &staleness{}
	b := startWith(t, bus.Options{Pool: pgtest.Pool(t, url), Observer: bus.Observer{Sent: func(int) { sent.set(true) }}}, url, "t/")
	const n = 3000
	for i := range n {
		b.Ring(fmt.Sprintf("t/%d/%s", i, strings.Repeat("x", i%400)))
	}
	eventually(t, "all arrive", func() bool { return b.ear.distinct() == n })
	sent.mu.Lock()
	defer sent.mu.Unlock()
	if len(sent.said) > n/100 {
		t.Fatalf("%d topics went out in %d notifications", n, len(sent.said))
	}
}

func TestWhatCannotBeCarriedAsksForEverything(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	for _, bad := range []string{"", "a\nb", strings.Repeat("x", 513)} {
		r := startAlert(t, pgtest.Pool(t, url), url, "a")
		before := r.ear.resynced()
		r.Ring(bad)
		eventually(t, "everything is looked at", func() bool { return r.ear.resynced() > before })
		r.stop()
	}
	r := startAlert(t, pgtest.Pool(t, url), url, "a")
	before := r.ear.resynced()
	var many []string
	for i := range 20000 {
		many = append(many, fmt.Sprintf("a/%d", i))
	}
	r.Ring(many...)
	eventually(t, "everything is looked at", func() bool { return r.ear.resynced() > before })
}

func TestATerminatedListenerReadsEverythingAgain(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	pool := pgtest.Pool(t, url)
	r := startAlert(t, pool, url, "a/")
	before := r.ear.resynced()
	if _, err := pool.Exec(t.Context(), `
select pg_terminate_backend(pid) from pg_stat_activity
 where application_name = 'nchat-realtime-listen' and datname = current_database()`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything is read again", func() bool { return r.ear.resynced() > before })
	eventually(t, "doorbells arrive again", func() bool {
		r.Ring("a/after")
		return r.ear.heard("a/after") > 0
	})
}

func TestABlackHoleIsNoticedAndHealed(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	pool := pgtest.Pool(t, url)
	h, listen := pgtest.NewHole(t, url)
	r := startAlert(t, pool, listen, "a/")
	h.Shut(true)
	eventually(t, "silence is noticed", r.Stale)
	before := r.ear.resynced()
	r.Ring("a/lost")
	h.Shut(false)
	eventually(t, "trusted again", func() bool { return !r.Stale() })
	if r.ear.resynced() == before {
		t.Fatal("trusted before everything was read again")
	}
	h.Shut(true)
	eventually(t, "silence is noticed", r.Stale)
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(time.Minute):
		t.Fatal("Run does not end while the link is a black hole")
	}
}

func TestPostgresStoppedAndStarted(t *testing.T) {
	t.Parallel()
	own := pgtest.Cluster(t)
	url := own.Migrated()
	pool := pgtest.Pool(t, url)
	r := startAlert(t, pool, url, "a/")
	own.Stop()
	eventually(t, "silence is noticed", r.Stale)
	before := r.ear.resynced()
	r.Ring("a/meanwhile")
	own.Start()
	eventually(t, "trusted again", func() bool { return !r.Stale() })
	eventually(t, "what was rung meanwhile is looked at", func() bool {
		return r.ear.heard("a/meanwhile") > 0 || r.ear.resynced() > before
	})
	eventually(t, "doorbells arrive again", func() bool {
		r.Ring("a/after")
		return r.ear.heard("a/after") > 0
	})
}

func TestCheckListen(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig(pgtest.NewURL(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.CheckListen(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Host, cfg.Port = "127.0.0.1", 1
	if err := bus.CheckListen(t.Context(), cfg); err == nil {
		t.Fatal("nobody listens there")
	}
}

// Whatever was tested, every goroutine of a bus and of its listener is gone.
func TestMain(m *testing.M) {
	code := m.Run()
	end := time.Now().Add(time.Minute)
	for code == 0 {
		left := leftover()
		if left == "" {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, "still running:\n"+left)
			code = 1
		}
		runtime.Gosched()
	}
	os.Exit(code)
}

func leftover() string {
	buf := make([]byte, 1<<20)
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "internal/bus.(*Bus)") || strings.Contains(g, "nats-io/nats.go.") || strings.Contains(g, "lib/pq.") {
			return g
		}
	}
	return ""
}
