package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/natstest"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// overNATS is a node whose messages are counted.
type overNATS struct {
	running
	in, out, gaps atomic.Int64
	up            atomic.Bool
	log           *lines
}

// lines is a log for several goroutines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startOverNATS(t *testing.T, database, servers string) *overNATS {
	t.Helper()
	return startProbing(t, database, servers, calm)
}

func startProbing(t *testing.T, database, servers string, every time.Duration) *overNATS {
	t.Helper()
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	n := &overNATS{log: &lines{}}
	n.Bus = bus.New(bus.Options{Pool: pgtest.Pool(t, database), Listen: cfg, Log: slog.New(slog.NewTextHandler(n.log, nil)),
		ProbeEvery: every, NATS: servers, Rooms: []string{"room/"},
		Observer: bus.Observer{NATS: n.up.Store, NATSIn: func() { n.in.Add(1) }, NATSOut: func() { n.out.Add(1) }, NATSGap: func(string) { n.gaps.Add(1) }}})
	n.ear = &ear{topics: map[string]int{}}
	n.Handle("", n.ear)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(n.stop)
	eventually(t, "it listens to Postgres, and looks at everything", func() bool { return n.ear.resynced() > 0 })
	return n
}

func (n *overNATS) connected(t *testing.T) *overNATS {
	t.Helper()
	eventually(t, "NATS carries", func() bool { return n.up.Load() && n.ear.resynced() > 1 })
	return n
}

func TestOverNATSANodeHearsOnlyTheRoomsItAttends(t *testing.T) {
	t.Parallel()
	url, srv := pgtest.NewURL(t), natstest.New(t, "")
	one, two := startOverNATS(t, url, srv.URL()).connected(t), startOverNATS(t, url, srv.URL()).connected(t)
	two.Attend("room/a", true)
	two.Attend("room/a", true) // twice is once
	one.Attend("room/b.*", true)
	two.Ring("x/asked") // after what two attends, on the same connection
	eventually(t, "what is for all", func() bool { return one.ear.heard("x/asked") == 1 })
	before := two.in.Load()
	for i := range 50 {
		one.Ring(fmt.Sprintf("room/c/%d", i), fmt.Sprintf("room/b.x/%d", i))
	}
	one.Ring("room/a/1", "x/1")
	eventually(t, "the room and what is for all", func() bool { return two.ear.heard("room/a/1") == 1 && two.ear.heard("x/1") == 1 })
	if got := two.in.Load() - before; got > 2 {
		t.Fatalf("%d messages came in for one room and one doorbell to all", got)
	}
	if two.ear.heard("room/c/1")+two.ear.heard("room/b.x/1") > 0 {
		t.Fatal("heard of a room it does not attend")
	}
	if one.ear.heard("room/c/1") != 1 || one.ear.heard("x/1") != 1 {
		t.Fatal("a node hears its own, once")
	}
	for i := range 20 {
		one.Ring(fmt.Sprintf("room/a/after/%d", i), fmt.Sprintf("x/before/%d", i))
	}
	eventually(t, "all of them", func() bool { return two.ear.heard("room/a/after/19") == 1 && two.ear.heard("x/before/19") == 1 })
	heard := two.ear.inOrder()
	for i := range 20 {
		if slices.Index(heard, fmt.Sprintf("room/a/after/%d", i)) < slices.Index(heard, fmt.Sprintf("x/before/%d", i)) {
			t.Fatal("of what goes together a room is heard of before what is for all:", heard)
		}
	}
	two.Attend("room/a", false)
	two.Ring("x/left")
	eventually(t, "what is for all", func() bool { return one.ear.heard("x/left") == 1 })
	one.Ring("room/a/2", "x/2")
	one.Ring("x/3")
	eventually(t, "what is for all", func() bool { return two.ear.heard("x/2") == 1 && two.ear.heard("x/3") == 1 })
	if two.ear.heard("room/a/2") != 0 {
		t.Fatal("heard of a room it left")
	}
}

func TestTwoInstallationsOnOneNATSDoNotMeet(t *testing.T) {
	t.Parallel()
	srv := natstest.New(t, "")
	url := pgtest.NewURL(t)
	one, same := startOverNATS(t, url, srv.URL()).connected(t), startOverNATS(t, url, srv.URL()).connected(t)
	other := startOverNATS(t, pgtest.NewURL(t), srv.URL()).connected(t)
	other.Attend("room/a", true)
	other.Ring("x/other")
	eventually(t, "its own", func() bool { return other.ear.heard("x/other") == 1 })
	one.Ring("room/a/1", "x/1")
	eventually(t, "the node of the same database hears", func() bool { return same.ear.heard("x/1") == 1 })
	if other.in.Load() != 0 || other.ear.heard("x/1")+other.ear.heard("room/a/1") > 0 || same.ear.heard("x/other") > 0 {
		t.Fatal("heard of another installation")
	}
}

// While NATS is away everything goes by Postgres; when it is back it carries
// again, and whatever was rung on the way is looked at.
func TestNATSStoppedAndStarted(t *testing.T) {
	t.Parallel()
	url, srv := pgtest.NewURL(t), natstest.New(t, "")
	one, two := startProbing(t, url, srv.URL(), alert).connected(t), startProbing(t, url, srv.URL(), alert).connected(t)
	srv.Stop()
	eventually(t, "it is noticed", func() bool { return !one.up.Load() && !two.up.Load() })
	out := one.out.Load()
	eventually(t, "it goes by Postgres", func() bool {
		one.Ring("room/a/1", "x/1") // again where a late machine's link is given up meanwhile
		return two.ear.heard("x/1") > 0 && two.ear.heard("room/a/1") > 0
	})
	if one.out.Load() != out {
		t.Fatal("sent to nobody")
	}
	eventually(t, "it is not called stale", func() bool { return !one.Stale() })
	two.Attend("room/a", true) // as a socket may, meanwhile
	looked := two.ear.resynced()
	eventually(t, "others may ring where this one does not hear: it looks by itself", func() bool { return two.ear.resynced() > looked })
	gaps, resynced := two.gaps.Load(), two.ear.resynced()
	srv.Start()
	eventually(t, "everything is looked at", func() bool {
		return one.up.Load() && two.up.Load() && two.gaps.Load() > gaps && two.ear.resynced() > resynced
	})
	eventually(t, "NATS carries again, rooms attended meanwhile too", func() bool {
		one.Ring("room/a/2")
		return one.out.Load() > out && two.ear.heard("room/a/2") > 0
	})
	for _, n := range []*overNATS{one, two} {
		if got := strings.Count(n.log.String(), "NATS is away"); got != 1 {
			t.Errorf("told %d times that it is away:\n%s", got, n.log)
		}
	}
}

// A node that starts while NATS is away starts, and takes it up later.
func TestNATSMayComeLater(t *testing.T) {
	t.Parallel()
	url, srv := pgtest.NewURL(t), natstest.New(t, "s3cret")
	with := strings.Replace(srv.URL(), "nats://", "nats://nats:s3cret@", 1)
	srv.Stop()
	one, two := startOverNATS(t, url, with), startOverNATS(t, url, with)
	wrong := startOverNATS(t, url, strings.Replace(with, "s3cret", "wr0ng", 1))
	one.Ring("x/1")
	eventually(t, "it goes by Postgres", func() bool { return two.ear.heard("x/1") == 1 })
	srv.Start()
	one.connected(t)
	two.connected(t)
	one.Ring("x/2")
	eventually(t, "it goes by NATS", func() bool { return two.ear.heard("x/2") == 1 && two.in.Load() > 0 })
	wrong.Ring("x/3")
	eventually(t, "who is not let in has Postgres", func() bool { return two.ear.heard("x/3") == 1 })
	if wrong.up.Load() {
		t.Fatal("let in with a wrong password")
	}
	for _, n := range []*overNATS{one, two, wrong} {
		n.stop()
		if said := n.log.String(); strings.Contains(said, "s3cret") || strings.Contains(said, "wr0ng") {
			t.Errorf("the log tells a password:\n%s", said)
		}
	}
}

// slow is a handler that waits until it is told to go on.
type slow struct {
	ear
	waits, gate chan struct{}
}

func (s *slow) Notify(topic string) {
	if topic == "x/block" {
		close(s.waits)
		<-s.gate
	}
	s.ear.Notify(topic)
}

// What comes in faster than it is heard is dropped, and then everything is looked at.
func TestMoreThanCanWaitIsLookedAt(t *testing.T) {
	t.Parallel()
	url, srv := pgtest.NewURL(t), natstest.New(t, "")
	one := startOverNATS(t, url, srv.URL()).connected(t)
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	var full, dropped atomic.Int64
	var up atomic.Bool
	h := &slow{ear{topics: map[string]int{}}, make(chan struct{}), make(chan struct{})}
	b := bus.New(bus.Options{Pool: pgtest.Pool(t, url), Listen: cfg, Log: slog.New(slog.DiscardHandler), NATS: srv.URL(), Rooms: []string{"room/"},
		Observer: bus.Observer{NATS: up.Store, NATSDropped: func() { dropped.Add(1) }, NATSGap: func(why string) {
			if why == "full" {
				full.Add(1)
			}
		}}})
	b.Handle("", h)
	const rooms = 3000 // a message each
	for i := range rooms {
		b.Attend(fmt.Sprintf("room/%d", i), true)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	open := sync.OnceFunc(func() { close(h.gate) })
	t.Cleanup(open)
	eventually(t, "NATS carries", up.Load)
	one.Ring("x/block")
	select {
	case <-h.waits:
	case <-time.After(time.Minute):
		t.Fatal("never heard")
	}
	for n := 0; dropped.Load() == 0 && n < 100; n++ { // a few suffice
		sent := one.out.Load()
		for i := range rooms {
			one.Ring(fmt.Sprintf("room/%d", i))
		}
		eventually(t, "sent", func() bool { return one.out.Load() > sent })
	}
	eventually(t, "some are dropped", func() bool { return dropped.Load() > 0 })
	before := h.resynced()
	open()
	eventually(t, "everything is looked at", func() bool { return full.Load() > 0 && h.resynced() > before })
}

func TestNameOfABus(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                     "postgres",
		"nats://u:s3cret@B.example, tls://a:1": "nats://a:1,b.example:4222",
		"tls://tok3n@a:4222,nats://A":          "nats://a:4222",
		"nats://[::1]:5":                       "nats://[::1]:5",
	} {
		if got := bus.Name(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
