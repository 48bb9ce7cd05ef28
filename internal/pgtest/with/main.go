// Command with runs a command beside a private Postgres: TEST_DATABASE_URL names
// the server, which ends with the command. The command's exit code is ours.
//
//	go run ./internal/pgtest/with -- go test ./...
//
// Where TEST_DATABASE_URL is set already, that server serves and none is started.
// With -durable its commits go to the disk, as in production: for measuring.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/nself-org/nchat-realtime/internal/devpg"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "with:", err)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	settings := map[string]string{"max_connections": "400"}
	if len(args) > 0 && args[0] == "-durable" {
		settings["fsync"], settings["full_page_writes"] = "on", "on"
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return 2, errors.New("usage: with [-durable] -- COMMAND [ARGUMENT ...]")
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)

	if os.Getenv(pgtest.EnvURL) == "" {
		stop, startErr := start(settings, signals)
		if startErr != nil {
			return 1, startErr
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	return command(args, signals)
}

// start runs a cluster and puts its URL into our environment, which the command inherits.
func start(settings map[string]string, signals <-chan os.Signal) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type result struct {
		c   *devpg.Cluster
		err error
	}
	started := make(chan result, 1)
	go func() {
		c, err := devpg.Start(ctx, devpg.Options{
			Temporary: true,
			Install:   true,
			Settings:  settings,
			Log:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
		started <- result{c, err}
	}()
	var r result
	select {
	case r = <-started:
	case s := <-signals:
		cancel()
		if r = <-started; r.c != nil {
			r.err = r.c.Stop(context.Background())
		}
		return nil, errors.Join(fmt.Errorf("ended by %v", s), r.err)
	}
	if r.err != nil {
		return nil, fmt.Errorf("starting Postgres: %w", r.err)
	}
	stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return r.c.Stop(ctx)
	}
	return stop, os.Setenv(pgtest.EnvURL, r.c.URL())
}

// command runs it to its end, handing on the signals that reach us.
func command(args []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // ends by itself or by a signal
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may just have ended
		case err := <-ended:
			if err == nil {
				return 0, nil
			}
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok {
				return 1, err
			}
			if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				return 128 + int(ws.Signal()), nil
			}
			return exit.ExitCode(), nil
		}
	}
}
