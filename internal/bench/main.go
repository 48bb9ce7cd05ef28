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
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// sizes are how much is measured.
type sizes struct {
	sockets int // in the fan-out
	changes int // of a status, in each scenario
	rounds  int // ours and theirs take turns this often
	idle    int // sockets that do nothing
	signals int // of typing, a second
	probes  int // of typing, measured
	seconds int // of inserting, or of messages to rooms, a round
	load    int // of messages to rooms: only this one, counted from 1
	proxied int // sockets through the one endpoint
	members int // of a large channel
}

func main() {
	var s sizes
	flag.IntVar(&s.sockets, "sockets", 500, "sockets that watch one user")
	flag.IntVar(&s.changes, "changes", 100, "status changes a round")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds in which the servers take turns")
	flag.IntVar(&s.idle, "idle", 1000, "sockets that only exist")
	flag.IntVar(&s.signals, "signals", 2000, "typing signals a second")
	flag.IntVar(&s.probes, "probes", 300, "typing signals measured, ten a second")
	flag.IntVar(&s.seconds, "seconds", 2, "seconds of inserting messages a round; three times as many rounds")
	flag.IntVar(&s.load, "load", 0, "only this line of the messages to rooms, counted from 1")
	flag.IntVar(&s.proxied, "proxied", 5000, "sockets through the one endpoint, a live query each")
	flag.IntVar(&s.members, "members", 10_000, "members of the large channel")
	only := flag.String("only", "", "one of the scenarios: door, presence, rooms, typing, inserts, messages")
	kind := flag.String("serve", "", "be one of the servers (what this program starts itself with)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := fmt.Errorf("sizes are positive numbers")
	switch {
	case *kind != "":
		err = serve(ctx, *kind)
	case min(s.sockets, s.changes, s.rounds, s.idle, s.signals, s.probes, s.seconds, s.proxied, s.members-1) > 0:
		err = run(ctx, s, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing deferred matters any more
	}
}

func run(ctx context.Context, s sizes, only string) error {
	url := os.Getenv("TEST_DATABASE_URL")
	if url == "" {
		return fmt.Errorf("TEST_DATABASE_URL is not set: run make bench")
	}
	pg, err := postgresIs(ctx, url)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d CPUs, %s/%s, %s\n\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, pg)
	db, drop, err := database(ctx, url)
	if err != nil {
		return err
	}
	defer drop()
	scenarios := []struct {
		name string
		run  func() error
	}{
		{"presence", func() error { return presences(ctx, db, s) }},
		{"rooms", func() error { return fromRooms(ctx, db, s) }},
		{"typing", func() error { return typing(ctx, db, s) }},
		{"door", func() error { return door(ctx, db, s) }},
		{"inserts", func() error { return inserts(ctx, url, s) }},
		{"messages", func() error { return messages(ctx, db, s) }},
	}
	known := only == ""
	for _, x := range scenarios {
		if only == "" || only == x.name {
			known = true
			if err := x.run(); err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
		}
	}
	if !known {
		return fmt.Errorf("there is no scenario %q", only)
	}
	return nil
}

// postgresIs names the server and what decides how fast it commits.
func postgresIs(ctx context.Context, url string) (is string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	const q = `select format('Postgres %s, fsync %s, shared_buffers %s', split_part(current_setting('server_version'), ' ', 1), current_setting('fsync'), current_setting('shared_buffers'))`
	if err := conn.QueryRow(ctx, q).Scan(&is); err != nil {
		return "", fmt.Errorf("asking Postgres: %w", err)
	}
	return is, nil
}

func presences(ctx context.Context, db string, s sizes) error {
	people, err := crowdIn(ctx, db, max(s.sockets, s.idle))
	if err != nil {
		return err
	}
	if err := crossNodes(ctx, db, s); err != nil {
		return err
	}
	if err := fanOut(ctx, db, people, s); err != nil {
		return err
	}
	return idle(ctx, db, people, s)
}

func crowdIn(ctx context.Context, db string, n int) ([]uuid.UUID, error) {
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	return populate(ctx, conn, n)
}

// crossNodes: a status set on one node, until a watcher's socket on another
// has it.
func crossNodes(ctx context.Context, db string, s sizes) error {
	one, err := start(ctx, kindOurs, db)
	if err != nil {
		return err
	}
	defer one.stop()
	two, err := start(ctx, kindOurs, db)
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
	if err := warmUp(alice, bob.until); err != nil {
		return err
	}
	took, err := alternate(alice, 2*s.changes, bob.until)
	if err != nil {
		return err
	}
	if err := alice.mutate(setPresence("online")); err != nil {
		return err
	}
	fmt.Printf("## A status from one node to a socket of another\n\n| changes | median | p95 | p99 |\n|---|---|---|---|\n| %d | %s | %s | %s |\n\n",
		len(took), ms(at(took, 50)), ms(at(took, 95)), ms(at(took, 99)))
	return nil
}

// figures are one server's in one round.
type figures struct {
	last []time.Duration // from the mutation to the last socket's frame
	cpu  time.Duration   // of the server, for each frame
}

// kinds are the servers that take turns.
var kinds = [...]string{kindOurs, kindStock}

// fanOut: one user changes, many watch, ours and stock in turns.
func fanOut(ctx context.Context, db string, people []uuid.UUID, s sizes) error {
	last, cpu := map[string][]time.Duration{}, map[string][]time.Duration{}
	for range s.rounds {
		for _, kind := range kinds {
			f, err := fanOutOnce(ctx, kind, db, people, s)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			last[kind], cpu[kind] = append(last[kind], f.last...), append(cpu[kind], f.cpu)
		}
	}
	fmt.Printf("## One user, %d sockets that watch: from the mutation to the last frame\n\n", s.sockets)
	fmt.Println("| server | median | p95 | p99 | its CPU a frame |\n|---|---|---|---|---|")
	for _, kind := range kinds {
		fmt.Printf("| %s | %s | %s | %s | %.1f µs |\n", kind, ms(at(last[kind], 50)), ms(at(last[kind], 95)), ms(at(last[kind], 99)), float64(at(cpu[kind], 50))/1e3)
	}
	fmt.Printf("| ratio | %.2f | %.2f | %.2f | %.2f |\n\n", ratio(last, 50), ratio(last, 95), ratio(last, 99), ratio(cpu, 50))
	fmt.Println("stock is gqlgen's own WebSocket transport and a map of channels in memory: no database, no privacy, one node.")
	fmt.Println()
	return nil
}

// ratio is ours to stock's.
func ratio(d map[string][]time.Duration, percent int) float64 {
	return float64(at(d[kindOurs], percent)) / float64(max(at(d[kindStock], percent), 1))
}

func fanOutOnce(ctx context.Context, kind, db string, people []uuid.UUID, s sizes) (figures, error) {
	var f figures
	err := watched(ctx, kind, db, people, s.sockets, func(srv *server, alice *client, k *crowd, _ sample) error {
		before, err := srv.ask(askCPU)
		if err != nil {
			return err
		}
		if f.last, err = alternate(alice, s.changes, k.until); err != nil {
			return err
		}
		after, err := srv.ask(askCPU)
		if err != nil {
			return err
		}
		f.cpu = (after.CPU - before.CPU) / time.Duration(s.changes*s.sockets)
		return alice.mutate(setPresence("online"))
	})
	return f, err
}

// watched runs a server with alice on it and those who watch her, lets them
// settle, and hands them over, with what the server was before they came.
func watched(ctx context.Context, kind, db string, people []uuid.UUID, n int, do func(*server, *client, *crowd, sample) error) error {
	srv, err := start(ctx, kind, db)
	if err != nil {
		return err
	}
	defer srv.stop()
	alice, err := dial(ctx, srv.url, users[0])
	if err != nil {
		return err
	}
	defer alice.close()
	empty, err := srv.ask(askRest)
	if err != nil {
		return err
	}
	k, err := gather(ctx, srv.url, people, n)
	defer k.close()
	if err != nil {
		return err
	}
	if err := warmUp(alice, k.until); err != nil {
		return err
	}
	return do(srv, alice, k, empty)
}

// idle: what a socket with one subscription costs while nothing happens.
func idle(ctx context.Context, db string, people []uuid.UUID, s sizes) error {
	fmt.Printf("## %d sockets, one subscription each, at rest\n\n| server | goroutines a socket | heap and stacks a socket | resident a socket |\n|---|---|---|---|\n", s.idle)
	var all []sample
	for _, kind := range kinds {
		err := watched(ctx, kind, db, people, s.idle, func(srv *server, _ *client, _ *crowd, empty sample) error {
			full, err := srv.ask(askRest)
			n := float64(s.idle)
			fmt.Printf("| %s | %.1f | %.1f KiB | %.1f KiB |\n", kind, float64(full.Goroutines-empty.Goroutines)/n,
				float64(full.Memory-empty.Memory)/n/1024, float64(full.Resident-empty.Resident)/n/1024)
			all = append(all, sample{Goroutines: full.Goroutines - empty.Goroutines, Memory: full.Memory - empty.Memory, Resident: full.Resident - empty.Resident})
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	over := func(a, b int64) float64 { return float64(a) / float64(max(b, 1)) }
	fmt.Printf("| ratio | %.2f | %.2f | %.2f |\n\n", over(int64(all[0].Goroutines), int64(all[1].Goroutines)), over(all[0].Memory, all[1].Memory), over(all[0].Resident, all[1].Resident))
	return nil
}

func at(d []time.Duration, percent int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)*percent/100, len(s)-1)]
}

func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/1e6)
}
