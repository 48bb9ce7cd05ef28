// Command nchat-conform tells whether a server keeps the contract, the protocols
// and the privacy rules, looking at it from outside.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nself-org/nchat-realtime/internal/conform"
)

// How it ends.
const (
	exitOK     = 0
	exitFailed = 1 // a check failed
	exitNotRun = 2 // the server could not be judged
)

var errFailed = errors.New("checks failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, problems io.Writer) int {
	cmd := command() //nolint:contextcheck // it gets ctx as it is executed
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(problems)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	}
	_, _ = fmt.Fprintln(problems, "nchat-conform:", err)
	return exitNotRun
}

func command() *cobra.Command {
	var o conform.Options
	var tokens []string
	var only string
	var list bool
	cmd := &cobra.Command{
		Use:   "nchat-conform --url URL --token ALICE --token BOB --token CAROL",
		Short: "Tell whether a server keeps the contract, the protocols and the privacy rules",
		Long: `Looks at a server from outside, as three users of the demo world, and prints TAP (version 14).

Exit code 0: every check is ok or skipped; 1: one failed; 2: the server could not be judged.`,
		Example:       `  nchat-conform --url http://localhost:8080/graphql --token "$ALICE" --token "$BOB" --token "$CAROL"` + "\n" + `  nchat-conform ... --only '^leak E9'`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				for _, name := range conform.Names() {
					_, _ = fmt.Fprintln(cmd.OutOrStdout(), name)
				}
				return nil
			}
			if len(tokens) != len(o.Tokens) {
				return fmt.Errorf("--token must be given %d times: alice's, bob's and carol's", len(o.Tokens))
			}
			copy(o.Tokens[:], tokens)
			for _, at := range []struct{ flag, url, scheme string }{{"url", o.URL, "http"}, {"ws-url", o.WSURL, "ws"}} {
				if u, err := url.Parse(at.url); err != nil || at.url != "" && (u.Host == "" || u.Scheme != at.scheme && u.Scheme != at.scheme+"s") || at.url == "" && at.flag == "url" {
					return fmt.Errorf("--%s must be a URL that begins with %s:// or %ss://", at.flag, at.scheme, at.scheme)
				}
			}
			if only != "" {
				r, err := regexp.Compile(only)
				if err != nil {
					return fmt.Errorf("--only: %w", err)
				}
				o.Only = r
			}
			o.Out = cmd.OutOrStdout()
			report, err := conform.Run(cmd.Context(), o)
			if err == nil && report.Failed > 0 {
				err = errFailed
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.URL, "url", "", "where GraphQL is, as http://localhost:8080/graphql")
	f.StringVar(&o.WSURL, "ws-url", "", "where it is over WebSocket; default: the same")
	f.StringArrayVar(&tokens, "token", nil, "a user's token; three times: alice's, bob's, carol's")
	f.StringVar(&only, "only", "", "a regular expression: only the checks whose names match")
	f.DurationVar(&o.Timeout, "timeout", 20*time.Second, "how long one check may take")
	f.BoolVar(&list, "list", false, "print the checks' names and run nothing")
	return cmd
}
