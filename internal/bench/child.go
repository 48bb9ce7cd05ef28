package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Each server is a process of its own, so that its cost can be told from that
// of the load. It is this program again, started with -serve; it says its URL,
// then a sample for each line it reads, and ends with its input.

// sample is what a server says of itself.
type sample struct {
	CPU        time.Duration // used since the process began
	Goroutines int
	Memory     int64 // bytes of heap and stacks in use
	Resident   int64 // bytes the system counts; 0 where it does not say
}

const (
	askCPU  = "cpu"  // at once
	askRest = "rest" // after the garbage is collected and given back
)

// server is a running child.
type server struct {
	url string // ws://…
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start runs a server of a kind in a process of its own.
func start(ctx context.Context, kind, db string, more ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("looking for this program: %w", err)
	}
	return begin(pinned(ctx, self, "-serve", kind), kind, db, more...)
}

// startPeer is start for any of the peers.
func startPeer(ctx context.Context, p peer, db string) (*server, error) {
	if len(p.command) == 0 {
		return start(ctx, p.kind, db)
	}
	return begin(pinned(ctx, p.command...), p.kind, db)
}

func begin(cmd *exec.Cmd, kind, db string, more ...string) (*server, error) {
	cmd.Env = append(append(os.Environ(), envDatabase+"="+db), more...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", kind, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", kind, err)
	}
	cmd.Cancel, cmd.WaitDelay = in.Close, patience
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", kind, err)
	}
	s := &server{cmd: cmd, in: in, out: bufio.NewReader(out)}
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%s did not start: %w", kind, err)
	}
	s.url = strings.TrimSpace(line)
	return s, nil
}

func (s *server) stop() {
	_ = s.in.Close()
	if err := s.cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench: a server ended:", err)
	}
}

func (s *server) ask(what string) (sample, error) {
	var got sample
	if _, err := io.WriteString(s.in, what+"\n"); err != nil {
		return got, fmt.Errorf("asking the server: %w", err)
	}
	line, err := s.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &got)
	}
	if err != nil {
		return got, fmt.Errorf("asking the server: %w", err)
	}
	return got, nil
}

const (
	envDatabase = "BENCH_DATABASE_URL"
	envCPU      = "BENCH_CPU"     // the processor for servers; unset: any
	envProfile  = "BENCH_PROFILE" // files for CPU profiles of our servers, one for each process
)

// serve is the child's side.
func serve(ctx context.Context, kind string) error {
	run, ok := map[string]func(context.Context, func(url string)) error{kindOurs: ours, kindStock: stock, kindRaw: raw}[kind]
	if !ok {
		return fmt.Errorf("there is no server %q", kind)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if to := os.Getenv(envProfile); to != "" && kind == kindOurs {
		f, err := os.Create(fmt.Sprintf("%s.%d", to, os.Getpid())) //nolint:gosec // who runs the bench says where
		if err != nil {
			return fmt.Errorf("profiling: %w", err)
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("profiling: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	err := run(ctx, func(url string) {
		fmt.Println(url)
		go func() {
			defer cancel()
			for in := bufio.NewScanner(os.Stdin); in.Scan(); {
				if json.NewEncoder(os.Stdout).Encode(take(in.Text())) != nil {
					return
				}
			}
		}()
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func take(what string) sample {
	if what == askRest {
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return sample{CPU: cpuTime(), Goroutines: runtime.NumGoroutine(), Memory: int64(m.HeapInuse + m.StackInuse), Resident: resident()}
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is read where Linux says it.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
