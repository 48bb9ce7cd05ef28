package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/roster"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// check is one thing the doctor looks at.
type check struct {
	name string
	look func(ctx context.Context) (found string, err error)
	mend string
}

// Examine looks at everything a server needs and prints what it finds, with
// how to mend what is wrong. An error says how much is.
func Examine(ctx context.Context, out io.Writer, c config.Config) error {
	pool, err := postgres.Open(ctx, c.DatabaseURL, postgres.Options{MaxConns: 2, Pooled: c.Pooled()})
	if err != nil {
		return err
	}
	defer pool.Close()
	ill := 0
	for _, k := range append(checks(c, pool), hasuraChecks(c, pool)...) {
		one, cancel := context.WithTimeout(ctx, 15*time.Second)
		found, err := k.look(one)
		cancel()
		if err == nil {
			if _, err := fmt.Fprintf(out, "ok    %-10s %s\n", k.name, found); err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			continue
		}
		ill++
		if _, err := fmt.Fprintf(out, "FAIL  %-10s %v\n      %-10s to mend: %s\n", k.name, err, "", k.mend); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	if ill > 0 {
		return fmt.Errorf("%d of the checks failed", ill)
	}
	return nil
}

func checks(c config.Config, pool *pgxpool.Pool) []check {
	return []check{
		{"postgres", func(ctx context.Context) (string, error) {
			var v string
			if err := pool.QueryRow(ctx, `select current_setting('server_version')`).Scan(&v); err != nil {
				return "", fmt.Errorf("not reachable: %w", err)
			}
			return "version " + v + plainText(ctx, pool), nil
		}, "check DATABASE_URL, and that Postgres runs and lets this user in"},
		{"migrations", func(ctx context.Context) (string, error) {
			is, err := postgres.MigrationStatus(ctx, pool, Code())
			if err == nil && !is.Ready() {
				err = &unmigratedError{is}
			}
			if err == nil {
				err = fitted(ctx, pool)
			}
			if postgres.Forbidden(err) {
				err = &forbiddenError{err}
			}
			return fmt.Sprintf("%d of %d", is.Have, is.Want), err
		}, "run nchat-realtime migrate with this very role; it has to own nchat's tables, and may create in the database"},
		{"rows", func(ctx context.Context) (string, error) { return seesRows(ctx, pool) },
			"let this role own nchat's tables, and give it BYPASSRLS too where row level security is forced on their owner: row level security hides rows from it, and what it cannot see it hides from everybody"},
		{"indexes", func(ctx context.Context) (string, error) { return indexed(ctx, pool) }, "run nchat-realtime migrate, which makes nchat's tables where they are missing"},
		{"users", func(ctx context.Context) (string, error) { return peopled(ctx, pool) }, "run nchat-realtime migrate"},
		{"numbering", func(ctx context.Context) (string, error) {
			done, all, err := feed.Backfill(ctx, pool)
			return fmt.Sprintf("%d of %d channels that had messages before", done, all), err
		}, "run nchat-realtime migrate; numbering goes on by itself while the server runs"},
		{"noted", func(ctx context.Context) (string, error) {
			return "the log has heard of every message and member", feed.Noted(ctx, pool)
		}, "run nchat-realtime migrate, which makes triggers anew that were disabled or dropped; then `select realtime.reconcile()` until it answers 0"},
		{"forgetting", func(ctx context.Context) (string, error) { return sweep.Last(ctx, pool) },
			"look in the servers' logs for what is past its time; what one node cannot forget the next tries a minute later"},
		{"listen", func(ctx context.Context) (string, error) {
			cfg, err := pgx.ParseConfig(c.ListenDatabaseURL)
			if err != nil {
				return "", errors.New("LISTEN_DATABASE_URL cannot be read")
			}
			return "a NOTIFY was heard", bus.CheckListen(ctx, cfg)
		}, "set LISTEN_DATABASE_URL to a direct connection, past any transaction pooler"},
		{"jwt", func(context.Context) (string, error) {
			j, err := auth.ParseJWTConfig(c.JWTSecret)
			if err == nil && j.IsDevKey() {
				err = errors.New("the published development key is configured")
			}
			found := "as Hasura's"
			if more := j.Ignored(); len(more) > 0 {
				found += "; reads past " + strings.Join(more, ", ")
			}
			for _, s := range j.Weak() {
				found += "; WARNING: " + s
			}
			for _, s := range j.StricterThanHasura() {
				found += "; stricter: " + s
			}
			return found, err
		}, "set HASURA_GRAPHQL_JWT_SECRET to the very value Hasura has"},
		{"secret", func(context.Context) (string, error) {
			if c.WebhookSecret == "" {
				return "", errors.New("HASURA_WEBHOOK_SECRET is not set: nothing Hasura forwards is believed")
			}
			return "HASURA_WEBHOOK_SECRET is set", nil
		}, "set HASURA_WEBHOOK_SECRET here, and send it from Hasura as x-nchat-webhook-secret"},
	}
}

// plainText warns where what goes to Postgres and back can be read, or be made
// readable, on the way: without an sslmode, TLS is used where it is offered only.
func plainText(ctx context.Context, pool *pgxpool.Pool) string {
	const q = `
select coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false),
       coalesce(inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1', true)`
	var encrypted, here bool
	if err := pool.QueryRow(ctx, q).Scan(&encrypted, &here); err != nil {
		return "" // the checks that follow say so
	}
	cfg := pool.Config().ConnConfig
	mayFallBack := cfg.TLSConfig == nil
	for _, f := range cfg.Fallbacks {
		mayFallBack = mayFallBack || f.TLSConfig == nil
	}
	return warnOfWay(here, encrypted, mayFallBack)
}

// warnOfWay says what is wrong with the way to Postgres; here: there is none in between.
func warnOfWay(here, encrypted, mayFallBack bool) string {
	switch {
	case here:
	case !encrypted:
		return "; WARNING: not encrypted on the way: add sslmode=verify-full to DATABASE_URL"
	case mayFallBack:
		return "; WARNING: encrypted, but would do without if it had to: add sslmode=verify-full to DATABASE_URL"
	}
	return ""
}

// fitted is an error where the app has changed columns that functions and triggers were made for.
func fitted(ctx context.Context, pool *pgxpool.Pool) error {
	changed, err := postgres.ColumnsChanged(ctx, pool, Code())
	if err == nil && changed {
		err = errColumnsChanged
	}
	return err
}

// indexed warns of indexes that the app's own tables lack: where a table was there
// before, it is the app's to make them.
func indexed(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	lacking, err := postgres.Unindexed(ctx, pool)
	if err != nil || len(lacking) == 0 {
		return "members and messages are found by them", err
	}
	return "WARNING: members or messages are looked for through whole tables; mend with " + strings.Join(lacking, "; "), nil
}

// peopled warns where there is nobody who could be seen.
func peopled(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	some, err := roster.Anybody(ctx, pool)
	if err == nil && !some {
		return "WARNING: nchat_users has no user, and nobody is seen: fill it from your own table (docs/hasura.md, Your own tables)", nil
	}
	return "nchat_users has some", err
}

// seesRows looks for row level security that would blind this role.
func seesRows(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	hidden, err := presence.Blind(ctx, pool)
	if err == nil && hidden != "" {
		err = fmt.Errorf("row level security applies to this role on %s", hidden)
	}
	return "nchat's tables are readable whole", err
}
