package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/nself-org/nchat-realtime/internal/app"
	"github.com/nself-org/nchat-realtime/internal/config"
)

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check Postgres, migrations, LISTEN and secrets, and say how to mend each",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(os.Getenv, config.Serve)
			if err != nil {
				return err
			}
			return app.Examine(cmd.Context(), cmd.OutOrStdout(), c)
		},
	}
}
