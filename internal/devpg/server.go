//go:build unix

package devpg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// process is a child on an OS thread of its own: the kernel's "end it with its
// parent" means the thread that forked it, not the process.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child was waited for
	err  error         // of Wait; read after done
}

// launch starts cmd. One goroutine, which ends with the child, waits for it and
// keeps the cluster from the garbage collector, which would close the guard's
// pipe and the lock under a caller who only kept the URL.
func (c *Cluster) launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
			runtime.KeepAlive(c)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks for a fast shutdown (SIGINT), after ctx for an immediate one
// (SIGQUIT), and at last does not ask (PostgreSQL manual, "Shutting Down the Server").
func (p *process) stop(ctx context.Context) error {
	if p.signal(syscall.SIGINT) {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	if p.signal(syscall.SIGQUIT) {
		return nil
	}
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	select {
	case <-p.done:
	case <-patience.C:
		if err := p.kill(); err != nil {
			return err
		}
	}
	return fmt.Errorf("stopping Postgres took too long, it was made to end: %w", ctx.Err())
}

func (p *process) kill() error {
	if p.signal(syscall.SIGKILL) {
		return nil
	}
	<-p.done
	return nil
}

// signal reports whether the process had ended before.
func (p *process) signal(s os.Signal) (over bool) {
	if err := p.cmd.Process.Signal(s); errors.Is(err, os.ErrProcessDone) {
		<-p.done
		return true
	}
	return false
}

// command prepares a Postgres program: as the server's user, in the base, away
// from our terminal's signals, with nothing of our environment.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(c.bin.path(name), args...) //nolint:noctx // ends with Stop, or with us
	cmd.Dir = c.home.base
	cmd.Env = []string{"PATH=" + c.bin.dir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.home.user}
	return cmd
}

// create makes the data directory if there is none: elsewhere first, then
// renamed, so that an interrupted run leaves no half of one.
func (c *Cluster) create(ctx context.Context) error {
	data := c.home.data()
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	half := data + ".init"
	if err := os.RemoveAll(half); err != nil {
		return fmt.Errorf("removing an unfinished data directory: %w", err)
	}
	if err := c.home.own(half); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	program, args := "initdb", []string{"-D", half, "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-locale"}
	if f := c.opts.Follow; f != nil {
		program, args = "pg_basebackup", []string{"-D", half, "-U", superuser, "-h", f.home.sock, "-p", socketPort, "-R", "-X", "stream", "-c", "fast"}
	}
	if c.opts.Temporary {
		args = append(args, "--no-sync")
	}
	cmd := c.command(program, args...)
	endWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := c.launch(cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s: %w", program, ctx.Err()), p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w\n%s", program, p.err, lastLines([]byte(out.String()), 10))
	}
	// Trust is for whoever can enter the socket's directory, and for no network.
	if err := os.WriteFile(filepath.Join(half, "pg_hba.conf"), []byte("local all,replication all trust\n"), 0o600); err != nil {
		return fmt.Errorf("writing pg_hba.conf: %w", err)
	}
	if err := os.Rename(half, data); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	return nil
}

// serve starts the server and waits until it answers. The processes of one that
// was killed may hold its shared memory for a moment: then it tries again.
func (c *Cluster) serve(ctx context.Context) (*process, error) {
	const attempts = 20
	for attempt := 1; ; attempt++ {
		p, from, err := c.run()
		if err != nil {
			return nil, fmt.Errorf("starting Postgres: %w", err)
		}
		if err = c.answers(ctx, p); err == nil {
			return p, nil
		}
		said := c.said(from)
		if attempt == attempts || ctx.Err() != nil || !strings.Contains(said, "pre-existing shared memory block") {
			return nil, errors.Join(fmt.Errorf("starting Postgres: %w; it said:\n%s", err, said), p.kill())
		}
		if !wait.For(ctx, 100*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// run starts the server, and says where in the log its words begin.
func (c *Cluster) run() (*process, int64, error) {
	log, err := c.home.open("postgres.log", os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return nil, 0, err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, 0, err
	}
	from := info.Size()
	if from > 4<<20 {
		if err := log.Truncate(0); err != nil {
			return nil, 0, err
		}
		from = 0
	}
	args := []string{"-D", c.home.data()}
	settings := c.settings()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	cmd := c.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	how := syscall.SIGINT
	if c.opts.Temporary {
		how = syscall.SIGQUIT
	}
	endWithParent(cmd.SysProcAttr, how)
	p, err := c.launch(cmd)
	return p, from, err
}

// answers waits until a client can log in.
func (c *Cluster) answers(ctx context.Context, p *process) error {
	for {
		conn, err := pgx.Connect(ctx, c.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended at once (%v)", p.cmd.ProcessState)
		default:
		}
		if !wait.For(ctx, 20*time.Millisecond) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// said is the end of what the server logged since byte from.
func (c *Cluster) said(from int64) string {
	raw, err := os.ReadFile(c.home.logFile())
	if err != nil || int64(len(raw)) < from {
		return ""
	}
	return lastLines(raw[from:], 10)
}
