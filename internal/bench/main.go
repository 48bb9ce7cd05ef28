// Command bench measures the server beside its alternatives, in one run, and
// prints ratios. Nothing here decides whether a test passes: machines differ,
// and only what was measured side by side may be compared.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
)

// sizes are how much is measured.
type sizes struct {
	sockets int // in the fan-out
	changes int // of a status, in each scenario
	rounds  int // ours and theirs take turns this often
	idle    int // sockets that do nothing
	signals int // of typing, a second
	probes  int // of typing, measured
}

func main() {
	var s sizes
	flag.IntVar(&s.sockets, "sockets", 500, "sockets that watch one user")
	flag.IntVar(&s.changes, "changes", 100, "status changes a round")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds in which the servers take turns")
	flag.IntVar(&s.idle, "idle", 1000, "sockets that only exist")
	flag.IntVar(&s.signals, "signals", 2000, "typing signals a second")
	flag.IntVar(&s.probes, "probes", 20, "typing signals measured, one a second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing deferred matters any more
	}
}

func run(ctx context.Context, s sizes) error {
	url := os.Getenv("TEST_DATABASE_URL")
	if url == "" {
		return fmt.Errorf("TEST_DATABASE_URL is not set: run make bench")
	}
	fmt.Printf("%s, %d CPUs, %s/%s\n\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	db, drop, err := database(ctx, url)
	if err != nil {
		return err
	}
	defer drop()
	if err := crossNodes(ctx, db, s); err != nil {
		return err
	}
	if err := fanOut(ctx, db, s); err != nil {
		return err
	}
	if err := idle(ctx, db, s); err != nil {
		return err
	}
	return typing(ctx, db, s)
}

// crossNodes: a status set on one node, until a watcher's socket on another
// has it.
func crossNodes(ctx context.Context, db string, s sizes) error {
	one, err := ours(ctx, db)
	if err != nil {
		return err
	}
	defer one.stop()
	two, err := ours(ctx, db)
	if err != nil {
		return err
	}
	defer two.stop()
	alice, err := dial(ctx, one.url, users[0])
	if err != nil {
		return err
	}
	defer alice.close()
	bob, err := dial(ctx, two.url, users[1])
	if err != nil {
		return err
	}
	defer bob.close()
	if err := bob.subscribe(watch(users[0])); err != nil {
		return err
	}
	var took []time.Duration
	for i := range 2 * s.changes {
		status := []string{"busy", "away"}[i%2]
		began := time.Now()
		if err := alice.mutate(setPresence(status)); err != nil {
			return err
		}
		if err := bob.until(status); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	fmt.Printf("## A status from one node to a socket of another\n\n| changes | median | p95 | p99 |\n|---|---|---|---|\n| %d | %s | %s | %s |\n\n",
		len(took), ms(at(took, 50)), ms(at(took, 95)), ms(at(took, 99)))
	return nil
}

// figures are one server's in one round.
type figures struct {
	last   []time.Duration // from the mutation to the last socket's frame
	cpu    time.Duration   // of the process, clients included, for each frame
	frames int
}

// fanOut: one user changes, many watch, ours and stock in turns.
func fanOut(ctx context.Context, db string, s sizes) error {
	got := map[string][]figures{}
	names := []string{"nchat-realtime", "stock gqlgen"}
	start := map[string]func(context.Context) (*server, error){
		names[0]: func(ctx context.Context) (*server, error) { return ours(ctx, db) },
		names[1]: stock,
	}
	for range s.rounds {
		for _, name := range names {
			f, err := fanOutOnce(ctx, start[name], s)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			got[name] = append(got[name], f)
		}
	}
	fmt.Printf("## One user, %d sockets that watch: from the mutation to the last frame\n\n", s.sockets)
	fmt.Println("| server | median | p95 | CPU a frame, clients included |\n|---|---|---|---|")
	medians, cpus := map[string]time.Duration{}, map[string]time.Duration{}
	for _, name := range names {
		var all, cpu []time.Duration
		for _, f := range got[name] {
			all, cpu = append(all, f.last...), append(cpu, f.cpu)
		}
		medians[name], cpus[name] = at(all, 50), at(cpu, 50)
		fmt.Printf("| %s | %s | %s | %.1f µs |\n", name, ms(at(all, 50)), ms(at(all, 95)), float64(cpus[name])/1e3)
	}
	fmt.Printf("| ratio | %.2f | | %.2f |\n\n", ratio(medians[names[0]], medians[names[1]]), ratio(cpus[names[0]], cpus[names[1]]))
	fmt.Println("stock is gqlgen's own WebSocket transport and a map of channels in memory: no database, no privacy, one node.")
	fmt.Println()
	return nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

func fanOutOnce(ctx context.Context, start func(context.Context) (*server, error), s sizes) (figures, error) {
	var f figures
	srv, err := start(ctx)
	if err != nil {
		return f, err
	}
	defer srv.stop()
	crowd, err := gather(ctx, srv.url, s.sockets)
	defer crowd.close()
	if err != nil {
		return f, err
	}
	alice, err := dial(ctx, srv.url, users[0])
	if err != nil {
		return f, err
	}
	defer alice.close()
	runtime.GC()
	before := cpuTime()
	for i := range s.changes {
		status := []string{"busy", "away"}[i%2]
		began := time.Now()
		if err := alice.mutate(setPresence(status)); err != nil {
			return f, err
		}
		if err := crowd.until(status); err != nil {
			return f, err
		}
		f.last = append(f.last, time.Since(began))
	}
	f.frames = s.changes * s.sockets
	f.cpu = (cpuTime() - before) / time.Duration(f.frames)
	return f, nil
}

// idle: what a socket with one subscription costs while nothing happens.
func idle(ctx context.Context, db string, s sizes) error {
	fmt.Printf("## %d sockets, one subscription each, at rest\n\n| server | goroutines a socket | heap and stacks a socket, clients included |\n|---|---|---|\n", s.idle)
	for _, c := range []struct {
		name  string
		start func(context.Context) (*server, error)
	}{{"nchat-realtime", func(ctx context.Context) (*server, error) { return ours(ctx, db) }}, {"stock gqlgen", stock}} {
		srv, err := c.start(ctx)
		if err != nil {
			return err
		}
		g, m := runtime.NumGoroutine(), memory()
		crowd, err := gather(ctx, srv.url, s.idle)
		if err == nil {
			n := float64(s.idle)
			// One goroutine of each socket is the client's own.
			fmt.Printf("| %s | %.1f | %.1f KiB |\n", c.name, float64(runtime.NumGoroutine()-g)/n-1, float64(memory()-m)/n/1024)
		}
		crowd.close()
		srv.stop()
		if err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse) //nolint:gosec // far from overflow
}

func at(d []time.Duration, percent int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)*percent/100, len(s)-1)]
}

func ms(d time.Duration) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f ms", float64(d)/1e6), "")
}
