package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

func tokenCommand() *cobra.Command {
	var user, role, tenant string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:     "token --user ID|NAME",
		Short:   "Print a JWT for a user, signed with the configured key",
		Example: "  nchat-realtime token --user bob\n  nchat-realtime token --user 00000000-0000-4000-8000-000000000002 --ttl 24h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(os.Getenv, config.Dev)
			if err != nil {
				return err
			}
			j, err := jwtOf(c)
			if err != nil {
				return err
			}
			id, ok := demo.Find(user)
			if !ok {
				return fmt.Errorf("--user must be a uuid, or one of the demo's users %v", demo.Names())
			}
			t, err := auth.Mint(j, auth.Claims{User: id, Role: role, Tenant: tenant, TTL: ttl})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), t)
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "the user's id, or the name of a user of the demo")
	cmd.Flags().StringVar(&role, "role", "user", "the role")
	cmd.Flags().StringVar(&tenant, "tenant", "", "x-hasura-source-account-id, where an app has several")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it is good for; 0: for ever")
	_ = cmd.MarkFlagRequired("user")
	return cmd
}
