package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nself-org/nchat-realtime/internal/app"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve, with everything taken from the environment",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(os.Getenv, config.Serve)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, false)
		},
	}
}

func frontDoorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "front-door",
		Short: "Serve /v1/graphql alone, in front of Hasura: both servers at one URL",
		Long: "A node as serve runs it, of which only the one endpoint is served, besides /healthz and /readyz: /v1/graphql, /v1beta1/relay and " +
			"FRONT_DOOR_PATHS. It needs HASURA_UPSTREAM_URL. What Hasura calls (the remote schema, actions, event triggers) a node under serve answers.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(os.Getenv, config.Serve)
			if err != nil {
				return err
			}
			if c.HasuraUpstream == "" {
				return errors.New("HASURA_UPSTREAM_URL must be set: where Hasura is")
			}
			return serve(cmd.Context(), c, true)
		},
	}
}

func serve(ctx context.Context, c config.Config, doorOnly bool) error {
	j, err := jwtOf(c)
	if err != nil {
		return err
	}
	if j.IsDevKey() {
		return errors.New("HASURA_GRAPHQL_JWT_SECRET is the published development key, with which anybody can be anybody: set your own")
	}
	log := newLog(c)
	if more := j.Ignored(); len(more) > 0 {
		log.Warn("HASURA_GRAPHQL_JWT_SECRET has keys that mean nothing here", "keys", more)
	}
	for _, s := range j.Weak() {
		log.Warn("HASURA_GRAPHQL_JWT_SECRET is weak", "reason", s)
	}
	for _, s := range j.StricterThanHasura() {
		log.Info("stricter than Hasura", "rule", s)
	}
	return app.Run(ctx, app.Options{Config: c, JWT: j, DoorOnly: doorOnly, Log: log, Ready: func(a app.Addresses) {
		log.Info("serving", "public", a.Public, "admin", a.Admin, "version", version)
	}})
}

func migrateCommand() *cobra.Command {
	var back bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database up to date and join nchat's tables",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(os.Getenv, config.Dev)
			if err != nil {
				return err
			}
			if c.DatabaseURL == "" {
				return errors.New("DATABASE_URL must be set")
			}
			var how []postgres.How
			if back {
				how = append(how, postgres.TakeBack)
			}
			if err := postgres.Migrate(cmd.Context(), c.DatabaseURL, newLog(c), app.Code(), how...); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the database is up to date")
			return err
		},
	}
	cmd.Flags().BoolVar(&back, "take-back", false, "install this version's functions though a later version's are there: a roll-back")
	return cmd
}
