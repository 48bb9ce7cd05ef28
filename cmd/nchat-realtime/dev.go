package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/nself-org/nchat-realtime/internal/app"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/devpg"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/web"
)

func devCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dev",
		Short: "Serve on this machine: its own Postgres, a demo world with a page to try, a playground",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(os.Getenv, config.Dev)
			if err != nil {
				return err
			}
			j, err := jwtOf(c)
			if err != nil {
				return err
			}
			if j.IsDevKey() {
				if err := c.KeepHere(); err != nil {
					return err
				}
			}
			return dev(cmd.Context(), c, j, cmd.OutOrStdout())
		},
	}
}

func dev(ctx context.Context, c config.Config, j auth.JWTConfig, out io.Writer) error {
	log := newLog(c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	endWithMake(cancel)
	started := time.Now()
	where := "your DATABASE_URL"
	if c.DatabaseURL == "" {
		pg, err := startPostgres(ctx, c.DataDir, log, out)
		if err != nil {
			return err
		}
		defer func() { //nolint:contextcheck // ctx has ended by then
			stop, done := context.WithTimeout(context.Background(), 20*time.Second)
			defer done()
			if err := pg.Stop(stop); err != nil {
				log.Warn("Postgres not stopped", "error", err)
			}
		}()
		c.DatabaseURL, where = pg.URL(), pg.Dir()
		if c.ListenDatabaseURL == "" {
			c.ListenDatabaseURL = c.DatabaseURL
		}
	}
	if err := prepare(ctx, c, log); err != nil {
		return err
	}
	if c.AdminToken == "" {
		c.AdminToken = rand.Text()
	}
	return app.Run(ctx, app.Options{Config: c, JWT: j, Dev: true, Page: page(c, j), Log: log, Ready: func(a app.Addresses) {
		if err := banner(out, a, c, j, where, time.Since(started)); err != nil {
			log.Warn("could not print how to begin", "error", err)
		}
	}})
}

func startPostgres(ctx context.Context, dir string, log *slog.Logger, out io.Writer) (*devpg.Cluster, error) {
	abs, err := filepath.Abs(filepath.Join(dir, "postgres"))
	if err != nil {
		return nil, fmt.Errorf("finding DATA_DIR: %w", err)
	}
	pg, err := devpg.Start(ctx, devpg.Options{Dir: abs, Install: true, Log: log})
	if errors.Is(err, devpg.ErrRunning) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("starting Postgres: %w", err)
	}
	return pg, nil
}

func prepare(ctx context.Context, c config.Config, log *slog.Logger) error {
	if err := postgres.Migrate(ctx, c.DatabaseURL, log, app.Code(), postgres.TakeBack); err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, c.DatabaseURL, postgres.Options{MaxConns: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = demo.Load(ctx, pool)
	return err
}

// page is the demo's. It hands out tokens, and so is there only with the published
// key, by which everybody on this machine can make them anyway; nil: another is set.
func page(c config.Config, j auth.JWTConfig) http.Handler {
	if c.JWTSecret != "" {
		return nil
	}
	is := web.Demo{Token: func(u web.User) (string, error) {
		id, err := uuid.Parse(u.ID)
		if err != nil {
			return "", fmt.Errorf("reading the id of %s: %w", u.Name, err)
		}
		return auth.Mint(j, auth.Claims{User: id, Role: "user", TTL: time.Hour})
	}}
	for i, name := range demo.Names() {
		is.Users = append(is.Users, web.User{ID: demo.User(i + 1).String(), Name: strings.ToUpper(name[:1]) + name[1:]})
	}
	return is.Handler()
}

// pageAt says where the demo's page is, or why it is not.
func pageAt(base string, c config.Config) string {
	switch {
	case c.JWTSecret != "":
		return "not with a JWT secret of your own: it hands out tokens"
	case !web.Built():
		return "not in this program: built with Node 20 by make run"
	}
	return base + "/   (two users side by side: " + base + "/?users=alice,bob)"
}

// metricsAt is where metrics are.
func metricsAt(a app.Addresses) string {
	if a.Admin == "" {
		return "off (ADMIN_ADDR)"
	}
	return "http://" + a.Admin + "/metrics"
}

// operatorsAt is where the operators' page is, and what it wants.
func operatorsAt(a app.Addresses, token string) string {
	if a.Admin == "" {
		return "off (ADMIN_ADDR)"
	}
	return "http://" + a.Admin + "/admin/   (token: " + token + ")"
}

// banner prints where things are and one thing to try.
func banner(out io.Writer, a app.Addresses, c config.Config, j auth.JWTConfig, data string, took time.Duration) error {
	base := "http://" + a.Public
	tokens := ""
	for _, name := range []string{"alice", "bob", "carol"} {
		id, _ := demo.Find(name)
		t, err := auth.Mint(j, auth.Claims{User: id, Role: "user", TTL: 24 * time.Hour})
		if err != nil {
			t = "(" + err.Error() + ")"
		}
		tokens += fmt.Sprintf("  %-6s %s\n", name, t)
	}
	_, err := fmt.Fprintf(out, `
nchat-realtime is ready after %.1f s.

  demo        %s
  playground  %s/playground
  GraphQL     %s/graphql   (HTTP, WebSocket, server-sent events)
  health      %s/readyz
  metrics     %s
  operators   %s
  data        %s

Tokens, good for a day (more: bin/nchat-realtime token --user dave):
%s
Try: open the playground, enter bob's token and run WatchAlice: Bob watches Alice. Then let Alice speak up:

  curl -s %s/graphql -H "Authorization: Bearer $(bin/nchat-realtime token --user alice)" \
    -H 'content-type: application/json' \
    -d '{"query":"mutation { setCustomStatus(input: {text: \"Lunch\"}) { status customStatus { text } } }"}'

A second playground with alice's token brings her online.

Ctrl-C stops everything.
`, took.Seconds(), pageAt(base, c), base, base, base, metricsAt(a), operatorsAt(a, c.AdminToken), data, tokens, base)
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
