// Command cluster runs three nodes on one Postgres behind one proxy, on this machine
// and without Docker:
//
//	go run ./examples/cluster
//
// Postgres is its own, below .nchat, unless DATABASE_URL names one. BUS_URL, and
// every other variable of the server's, reaches the nodes. Ctrl-C ends it all.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nself-org/nchat-realtime/internal/devpg"
)

func main() {
	bin := flag.String("bin", "bin/nchat-realtime", "the server; built if it is not there")
	listen := flag.String("listen", "127.0.0.1:3101", "where the proxy listens")
	count := flag.Int("nodes", 3, "how many nodes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *listen, *count); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, bin, listen string, count int) (err error) {
	if _, err := os.Stat(bin); errors.Is(err, os.ErrNotExist) {
		build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/nchat-realtime")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building the server (at the root of the repository?): %w\n%s", err, out)
		}
	}
	database := os.Getenv("DATABASE_URL")
	if database == "" {
		pg, err := startPostgres(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = pg.Stop(context.WithoutCancel(ctx)) }()
		database = pg.URL()
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer func() { _ = l.Close() }()

	nodes := make(balancer, count)
	for i := range nodes {
		n, err := start(ctx, bin, database)
		if err != nil {
			return err
		}
		defer n.end()
		nodes[i] = n
	}
	fmt.Printf("\nproxy   http://%s/v1/graphql\n", l.Addr())
	for i, n := range nodes {
		if err := n.await(ctx); err != nil {
			return err
		}
		fmt.Printf("node %d  %s (process %d: kill it and see)\n", i+1, n.at, n.cmd.Process.Pid)
	}
	fmt.Printf("\nA token: %s token --user alice\n\n", bin)
	srv := &http.Server{Handler: nodes.proxy(), ReadHeaderTimeout: 10 * time.Second}
	go nodes.watch(ctx)
	go func() { <-ctx.Done(); _ = srv.Close() }()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

func startPostgres(ctx context.Context) (*devpg.Cluster, error) {
	dir, err := filepath.Abs(".nchat/cluster")
	if err != nil {
		return nil, fmt.Errorf("finding .nchat: %w", err)
	}
	pg, err := devpg.Start(ctx, devpg.Options{Dir: dir, Install: true, Log: slog.Default()})
	if err != nil {
		return nil, fmt.Errorf("starting Postgres: %w", err)
	}
	return pg, nil
}

// node is one server, a process of its own.
type node struct {
	cmd *exec.Cmd
	at  *url.URL
	url chan *url.URL
	up  atomic.Bool
}

var serves = regexp.MustCompile(`GraphQL +(http://\S+)/graphql`)

// start runs a node on a port that it chooses. dev brings the demo world; the first to
// come migrates, the others wait for it.
func start(ctx context.Context, bin, database string) (*node, error) {
	n := &node{cmd: exec.CommandContext(ctx, bin, "dev"), url: make(chan *url.URL, 1)}
	n.cmd.Env = append(os.Environ(), "DATABASE_URL="+database, "PORT=0", "ADMIN_ADDR=off", "TRUSTED_PROXIES=127.0.0.1",
		"MAKELEVEL=1") // it ends when this program is killed
	n.cmd.Stderr = os.Stderr
	n.cmd.Cancel = n.leave
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a node: %w", err)
	}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a node: %w", err)
	}
	go func() {
		defer close(n.url)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := serves.FindStringSubmatch(lines.Text()); m != nil {
				if u, err := url.Parse(m[1]); err == nil {
					n.url <- u
				}
			}
		}
	}()
	return n, nil
}

// await waits until the node says where it is.
func (n *node) await(ctx context.Context) error {
	select {
	case at, ok := <-n.url:
		if !ok {
			return errors.New("a node ended before it served")
		}
		n.at = at
		n.up.Store(true)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *node) leave() error { return n.cmd.Process.Signal(syscall.SIGTERM) }

func (n *node) end() {
	_ = n.leave() // it may have gone
	_ = n.cmd.Wait()
}

// balancer gives each connection to the next node that is ready.
type balancer []*node

func (b balancer) proxy() http.Handler {
	var turn atomic.Uint64
	return &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		n := b[turn.Add(1)%uint64(len(b))]
		for i := 0; !n.up.Load() && i < len(b); i++ {
			n = b[turn.Add(1)%uint64(len(b))]
		}
		r.SetURL(n.at)
		r.SetXForwarded()
		r.Out.Host = r.In.Host // the page's origin is the proxy's
	}}
}

// watch asks each node every second whether it is ready.
func (b balancer) watch(ctx context.Context) {
	client := &http.Client{Timeout: 2 * time.Second}
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		for _, n := range b {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.at.JoinPath("readyz").String(), nil)
			if err != nil {
				continue
			}
			res, err := client.Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			n.up.Store(err == nil && res.StatusCode == http.StatusOK)
		}
	}
}
