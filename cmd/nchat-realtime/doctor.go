package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/nself-org/nchat-realtime/internal/app"
	"github.com/nself-org/nchat-realtime/internal/config"
)

func doctorCommand() *cobra.Command {
	ready := false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check Postgres, migrations, LISTEN, secrets and Hasura, and say how to mend each",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(os.Getenv, config.Serve)
			if err != nil {
				return err
			}
			if ready {
				return isReady(cmd.Context(), cmd.OutOrStdout(), c.Port)
			}
			return app.Examine(cmd.Context(), cmd.OutOrStdout(), c)
		},
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "only ask the server on this machine's PORT whether it is ready, for health checks")
	return cmd
}

func isReady(ctx context.Context, out io.Writer, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", port), nil)
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", body)
	}
	if _, err := out.Write(body); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
