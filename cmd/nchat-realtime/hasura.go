package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/hasura"
)

// applying is what hasura apply is told.
type applying struct {
	endpoint, source, prefix, namespace string
	dry, remove, despite                bool
}

func hasuraCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "hasura", Short: "Put this server into a Hasura project"}
	var a applying
	apply := &cobra.Command{
		Use:   "apply",
		Short: "Merge remote schema, actions, event and cron triggers into Hasura's metadata; nothing of yours is dropped",
		Long: "Merge this server into a running Hasura: the remote schema with its permissions, relationships from nchat's tables,\n" +
			"actions, event triggers and cron triggers. What is there stays; run again it changes nothing. The change is made\n" +
			"whole or not at all, and not at all while permissions there tell what is hidden here, each of which is named with how to\n" +
			"mend it. Hasura has to have NCHAT_REALTIME_URL and HASURA_WEBHOOK_SECRET in its environment.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(os.Getenv, config.Dev)
			if err != nil {
				return err
			}
			return a.run(cmd.Context(), cmd.OutOrStdout(), c)
		},
	}
	f := apply.Flags()
	f.StringVar(&a.endpoint, "endpoint", "", "Hasura's URL (default HASURA_UPSTREAM_URL)")
	f.StringVar(&a.source, "source", "", "the database with nchat's tables, as Hasura names it (default the only one, or default)")
	f.StringVar(&a.prefix, "type-prefix", "", "put before this server's types, where names clash with yours")
	f.StringVar(&a.namespace, "namespace", "", "put this server's fields under one field of that name")
	f.BoolVar(&a.dry, "dry-run", false, "print what would change, and change nothing")
	f.BoolVar(&a.despite, "despite-permissions", false, "make the changes although permissions there tell what is hidden here")
	f.BoolVar(&a.remove, "remove", false, "take everything of this server out again; tables stay tracked")
	cmd.AddCommand(apply)
	return cmd
}

func (a applying) run(ctx context.Context, out io.Writer, c config.Config) error {
	if a.endpoint == "" {
		a.endpoint = c.HasuraUpstream
	}
	if a.endpoint == "" {
		return errors.New("where is Hasura? Set HASURA_UPSTREAM_URL, or pass --endpoint")
	}
	ours, err := hasura.Project()
	if err != nil {
		return err
	}
	plan := hasura.Plan{Ours: ours, Source: a.source, Roles: c.UserRoles, Custom: hasura.Customize(a.prefix, a.namespace), View: c.PresenceView}
	access := hasura.Access{Roles: c.UserRoles, Nobody: c.UnauthorizedRole, LegacyPresence: c.LegacyPresence}
	var kept, hidden []string
	var found []hasura.Finding
	change := func(now hasura.Tree) (next hasura.Tree, changes []string, err error) {
		if a.remove {
			return hasura.Remove(now)
		}
		if next, changes, kept, err = plan.Merge(now); err != nil {
			return nil, nil, fmt.Errorf("nothing is changed: %w", err)
		}
		hidden = hasura.Ungranted(next)
		if found = access.Examine(next); len(found) > 0 && !a.dry && !a.despite {
			return nil, nil, fmt.Errorf("nothing is changed: by %d permissions Hasura tells or believes what this server would not (--despite-permissions changes it all the same):\n%s",
				len(found), join(found))
		}
		return next, changes, nil
	}
	changes, err := hasura.Client{Endpoint: a.endpoint, AdminSecret: c.AdminSecret}.Apply(ctx, a.dry, change)
	if err != nil {
		return err
	}
	for _, line := range slices.Concat(changes, kept, hidden) {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	said := fmt.Sprintf("%d changes made", len(changes))
	switch {
	case len(changes) == 0:
		said = "nothing to change"
	case a.dry:
		said = fmt.Sprintf("%d changes would be made", len(changes))
	}
	if len(found) > 0 {
		said += fmt.Sprintf("\nHasura tells or believes by %d permissions what this server would not:\n%s", len(found), join(found))
	}
	if _, err := fmt.Fprintln(out, said); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if len(found) > 0 && !a.despite {
		return fmt.Errorf("%d permissions are to be mended first", len(found))
	}
	return nil
}

func join(found []hasura.Finding) string {
	lines := make([]string, len(found))
	for i, f := range found {
		lines[i] = "! " + f.String()
	}
	return strings.Join(lines, "\n")
}
