//go:build unix

// Package devpg runs a private Postgres for development and tests: it finds the
// binaries (or installs them), makes a data directory, starts the server and
// stops it. It owns that directory and the server in it, and touches no other
// Postgres of the machine: no port is opened, and whoever cannot enter the
// socket's directory cannot connect.
//
// A server never outlives its holder. On Linux the kernel ends it with the
// process that called Start, whatever kills that process; elsewhere, and for
// directories that are to go too, a small watcher does (guard.go).
package devpg

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 2 * time.Minute // crash recovery of a large directory included
	socketPort   = "5432"          // only a part of the socket's name
	superuser    = "postgres"
)

// Options say where a cluster lives and how it runs.
type Options struct {
	// Dir is the cluster's directory; made if missing, kept by Stop. As root,
	// Postgres runs as another user; where that one cannot enter Dir, a
	// directory below /var/lib/nchat-realtime stands in: see Cluster.Dir.
	Dir string
	// Temporary clusters need no Dir, do not survive a power cut, and leave
	// nothing behind, even when their holder is killed.
	Temporary bool
	// Install permits installing missing binaries by the system's package
	// manager (Debian and its kin, as root).
	Install bool
	// Follow makes the cluster a standby of another one that runs, by a copy of its
	// data taken now and streaming from then on; both of the same owner. Default: of none.
	Follow *Cluster
	// Settings are added to the server's configuration for this run.
	Settings map[string]string
	// Log tells of installing, of a directory elsewhere, of a clean-up. Default: silent.
	Log *slog.Logger
}

// Cluster is a running private Postgres. Its methods may be called from several
// goroutines.
type Cluster struct {
	opts  Options
	home  home
	bin   binaries
	lock  *os.File
	guard *guard

	mu      sync.Mutex // guards what follows
	srv     *process
	stopped bool
}

// Start makes the cluster if there is none yet, and starts it. It returns a
// *RunningError when another process holds the directory, and a *MissingError
// when there are no binaries. ctx bounds the start only.
func Start(ctx context.Context, opts Options) (_ *Cluster, err error) {
	opts.Log = cmp.Or(opts.Log, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	if opts.Install {
		if err := ensureInstalled(ctx, opts.Log); err != nil {
			return nil, err
		}
	}
	c := &Cluster{opts: opts}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.undo())
		}
	}()
	if c.home, err = chooseHome(ctx, opts); err != nil {
		return nil, err
	}
	if c.lock, err = takeLock(c.home); err != nil {
		return nil, err
	}
	if c.bin, err = findFor(ctx, c.home.data()); err != nil {
		return nil, err
	}
	if opts.Temporary || !diesWithParent {
		if c.guard, err = startGuard(c.home.base, opts.Temporary); err != nil {
			return nil, err
		}
	}
	if err := c.create(ctx); err != nil {
		return nil, err
	}
	if err := endOrphan(ctx, c.home.data(), opts.Log); err != nil {
		return nil, err
	}
	if err := c.Resume(ctx); err != nil {
		return nil, err
	}
	if err := noteURL(c.lock, c.URL()); err != nil {
		return nil, err
	}
	return c, nil
}

// undo ends what a start that failed left.
func (c *Cluster) undo() error {
	return errors.Join(c.Kill(), c.release())
}

// URL reaches the database "postgres" as the superuser, by unix socket.
func (c *Cluster) URL() string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/postgres"}
	q := url.Values{"host": {c.home.sock}, "port": {socketPort}, "sslmode": {"disable"}}
	u.RawQuery = strings.ReplaceAll(q.Encode(), "%2F", "/")
	return u.String()
}

// Dir is where the cluster really lives.
func (c *Cluster) Dir() string { return c.home.base }

// PID is the server's process id, 0 while it does not run.
func (c *Cluster) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv == nil || c.srv.ended() {
		return 0
	}
	return c.srv.pid()
}

// Done is closed when the server that runs now has ended, for whatever reason.
func (c *Cluster) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv == nil {
		gone := make(chan struct{})
		close(gone)
		return gone
	}
	return c.srv.done
}

// Stop ends the server as Postgres' "fast" shutdown does, then gives the
// directory free. When ctx ends first the server is made to end at once. A
// second Stop does nothing.
func (c *Cluster) Stop(ctx context.Context) error {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return nil
	}
	c.stopped = true
	c.mu.Unlock()
	err := c.Halt(ctx)
	return errors.Join(err, c.release())
}

// Halt ends the server and keeps the directory held: Resume starts it again.
func (c *Cluster) Halt(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv == nil {
		return nil
	}
	return c.srv.stop(ctx)
}

// Abort is Postgres' "immediate" shutdown: nothing is written out, the next
// start recovers as after a crash. It returns when all its processes are gone.
func (c *Cluster) Abort() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv == nil || c.srv.signal(syscall.SIGQUIT) {
		return nil
	}
	<-c.srv.done // the server kills what does not end within 5 s
	return nil
}

// Kill ends the server without warning, as the out-of-memory killer would, and
// returns when it is gone.
func (c *Cluster) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv == nil {
		return nil
	}
	return c.srv.kill()
}

// Resume starts the server after Halt, Kill or an end of its own, and returns
// when it answers. On a running server it does nothing.
func (c *Cluster) Resume(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv != nil && !c.srv.ended() {
		return nil
	}
	srv, err := c.serve(ctx)
	if err != nil {
		return err
	}
	c.srv = srv
	return nil
}

// release undoes Start from the end, as far as it came.
func (c *Cluster) release() error {
	var errs []error
	if c.guard != nil {
		errs = append(errs, c.guard.dismiss())
	}
	if c.opts.Temporary && c.home.base != "" {
		errs = append(errs, os.RemoveAll(c.home.base))
	}
	if c.lock != nil { // without it all this is another's
		if filepath.Dir(c.home.sock) != c.home.base {
			_ = os.Remove(c.home.sock) // the short one; only if empty
		}
		errs = append(errs, dropLock(c.lock))
	}
	return errors.Join(errs...)
}

// settings are the server's, in the order of the command line.
func (c *Cluster) settings() map[string]string {
	all := map[string]string{
		"listen_addresses":        "",
		"port":                    socketPort,
		"unix_socket_directories": c.home.sock,
		"logging_collector":       "off",
	}
	if c.opts.Temporary {
		// What a kill of the server leaves is intact all the same: only a commit's
		// way to the disk is cut short, not its way out of the process.
		maps.Copy(all, map[string]string{"fsync": "off", "full_page_writes": "off"})
	}
	maps.Copy(all, c.opts.Settings)
	return all
}
