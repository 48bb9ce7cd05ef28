//go:build unix

package devpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// endOrphan clears the data directory of a server without holder. We hold the
// lock, so a server that still runs there lost its holder (it may be shutting
// down this moment): it is stopped, and ours follows. A postmaster.pid without
// its server, the number perhaps another process' by now, would block every
// start: it is removed.
func endOrphan(ctx context.Context, data string, log *slog.Logger) error {
	file := filepath.Join(data, "postmaster.pid")
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading postmaster.pid: %w", err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err == nil && pid > 1 && serves(pid, data) {
		log.WarnContext(ctx, "ending a Postgres that lost its holder", "pid", pid, "dir", data)
		if err := end(ctx, pid, data); err != nil {
			return err
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing a stale postmaster.pid: %w", err)
	}
	return nil
}

// end stops the postmaster pid, each way of asking less polite than the last.
func end(ctx context.Context, pid int, data string) error {
	for _, way := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, 15 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if err := syscall.Kill(pid, way.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending the Postgres with pid %d: %w", pid, err)
		}
		for until := time.Now().Add(way.wait); time.Now().Before(until); {
			if !serves(pid, data) {
				return nil
			}
			if !wait.For(ctx, 20*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return fmt.Errorf("the Postgres with pid %d in %s does not end", pid, data)
}
