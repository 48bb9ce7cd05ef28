// Command nchat-realtime is the realtime and presence server for Hasura apps.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
)

// version is set when a release is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	if err := root().ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "nchat-realtime:", err)
		os.Exit(1) //nolint:gocritic // nothing deferred matters any more
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "nchat-realtime",
		Short:         "Realtime and presence for Hasura apps",
		Long:          "Realtime and presence for Hasura apps: presence, privacy and live subscriptions beside Hasura, over Postgres.\n\n" + environment(),
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(devCommand(), serveCommand(), frontDoorCommand(), migrateCommand(), tokenCommand(), doctorCommand(), hasuraCommand())
	return cmd
}

// environment is the table of variables, for --help.
func environment() string {
	var b strings.Builder
	b.WriteString("Environment:\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range config.Table() {
		def := ""
		if r.Default != "" {
			def = " [" + r.Default + "]"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s%s\n", r.Name, strings.ReplaceAll(r.Meaning, "`", ""), def)
	}
	_ = w.Flush()
	return strings.TrimRight(b.String(), "\n")
}

func newLog(c config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

// jwtOf is the configured JWT secret, or in dev and token the published key.
func jwtOf(c config.Config) (auth.JWTConfig, error) {
	text := c.JWTSecret
	if text == "" {
		text = auth.DevSecret
	}
	j, err := auth.ParseJWTConfig(text)
	if err != nil {
		return j, fmt.Errorf("HASURA_GRAPHQL_JWT_SECRET: %w", err)
	}
	return j, nil
}
