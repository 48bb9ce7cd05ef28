// Package postgres opens the connection pool, runs transactions and applies the
// migrations. It decides how long a statement, a lock and a silent connection
// may take, and which errors pass by themselves. It holds no SQL of a domain.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// How long Postgres may work for us, each for every session of the pool.
const (
	StatementTimeout = 10 * time.Second
	LockTimeout      = 2 * time.Second
	IdleInTxTimeout  = 15 * time.Second
)

const (
	connectTimeout = 5 * time.Second
	// Postgres itself ends a statement after StatementTimeout: later than this no
	// answer can come, so the link is dead, whatever TCP still believes.
	answerTimeout = StatementTimeout + 5*time.Second
)

// DB is what a single query needs: a pool, a connection or a transaction.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Options are the choices a caller of Open has; the zero value is right for a server.
type Options struct {
	ApplicationName string // in pg_stat_activity; default "nchat-realtime"
	MaxConns        int32  // default: pool_max_conns of the URL, else four for each CPU, from 8 to 24
	// Pooled: url leads to a transaction pooler, whose connections others have too.
	// Statements are then not prepared by name, and no session's settings are changed: what
	// the role's own say holds. A transaction of InTx, Quietly or QuietBatch has LockTimeout
	// and IdleInTxTimeout where the role has none.
	Pooled  bool
	OddTime func() // told of each time read that RFC 3339 cannot write; without blocking
}

// Open returns a pool for url. It fails on an unusable url only: connections
// are made when needed, and again after an outage, so a server may start before
// its database. The session settings are set after connecting and not in the
// startup message, which PgBouncer refuses. The caller closes the pool.
//
// No call on the pool's connections outlasts a dead link by more than 15 s, also
// under a context without deadline; they therefore do not serve to wait for
// notifications.
func Open(ctx context.Context, url string, opts Options) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database url: %w", err)
	}
	switch {
	case opts.MaxConns > 0:
		cfg.MaxConns = opts.MaxConns
	case !strings.Contains(url, "pool_max_conns"):
		cfg.MaxConns = min(max(int32(4*runtime.GOMAXPROCS(0)), 8), 24)
	}
	cfg.MaxConnLifetime = 30 * time.Minute
	cfg.MaxConnLifetimeJitter = 5 * time.Minute
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.PingTimeout = 2 * time.Second
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		readInstants(c, opts.OddTime)
		if opts.Pooled {
			return nil
		}
		return configure(ctx, c, StatementTimeout, LockTimeout, IdleInTxTimeout)
	}
	prepare(cfg.ConnConfig, opts.ApplicationName)
	if opts.Pooled && !strings.Contains(url, "default_query_exec_mode") {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	cfg.ConnConfig.DialFunc = impatient(cfg.ConnConfig.DialFunc)

	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the pool: %w", err)
	}
	return pool, nil
}

// prepare sets what every connection of ours has in common.
func prepare(cfg *pgx.ConnConfig, name string) {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	if cfg.RuntimeParams["application_name"] == "" || name != "" {
		cfg.RuntimeParams["application_name"] = cmp.Or(name, "nchat-realtime")
	}
}

// configure sets a session's limits; zero means none. Statements of ours take
// milliseconds: compiling one would take longer than running it. One statement without
// arguments: a simple query, which works in every query mode.
func configure(ctx context.Context, c *pgx.Conn, statement, lock, idleInTx time.Duration) error {
	_, err := c.Exec(ctx, fmt.Sprintf(`
select set_config('statement_timeout', '%d', false),
       set_config('lock_timeout', '%d', false),
       set_config('idle_in_transaction_session_timeout', '%d', false),
       set_config('jit', 'off', false)`,
		statement.Milliseconds(), lock.Milliseconds(), idleInTx.Milliseconds()))
	if err != nil {
		return fmt.Errorf("setting the session's limits: %w", err)
	}
	return nil
}

// impatient bounds the wait for bytes on each connection that dial makes.
func impatient(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &impatientConn{Conn: c, limit: answerTimeout}, nil
	}
}
