package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

func randomName(t *testing.T, ctx context.Context, db postgres.DB) string {
	t.Helper()
	var id uuid.UUID
	if err := db.QueryRow(ctx, `select gen_random_uuid()`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(id.String(), "-", "")
}

func asRole(t *testing.T, raw, role string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

func TestOpenSetsTheSessionsLimits(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), pgtest.Empty(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	for name, want := range map[string]string{
		"application_name":                    "nchat-realtime",
		"statement_timeout":                   "10s",
		"lock_timeout":                        "2s",
		"idle_in_transaction_session_timeout": "15s",
		"jit":                                 "off",
	} {
		var got string
		if err := pool.QueryRow(t.Context(), `select current_setting($1)`, name).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
	// What PgBouncer would refuse must not be in the startup message.
	for name := range pool.Config().ConnConfig.RuntimeParams {
		if name != "application_name" {
			t.Errorf("startup parameter %s", name)
		}
	}
}

// TestOpenBehindAPooler: connections are not ours alone, so nothing is set on them,
// and nothing prepared by a name that another may have given.
func TestOpenBehindAPooler(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	pool, err := postgres.Open(t.Context(), url, postgres.Options{Pooled: true})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var timeout string
	var names int
	for range 3 {
		if err := pool.QueryRow(t.Context(), `select current_setting('statement_timeout'), (select count(*) from pg_prepared_statements where name <> '' and $1 > 0)`, 1).Scan(&timeout, &names); err != nil {
			t.Fatal(err)
		}
	}
	if timeout != "0" || names != 0 {
		t.Errorf("statement_timeout is %s, %d statements have names", timeout, names)
	}
	boundBehindAPooler(t, url)
	own, err := postgres.Open(t.Context(), url+"&default_query_exec_mode=simple_protocol", postgres.Options{Pooled: true})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if mode := own.Config().ConnConfig.DefaultQueryExecMode; mode != pgx.QueryExecModeSimpleProtocol {
		t.Errorf("the url's own mode became %v", mode)
	}
}

// boundBehindAPooler: transactions bring limits of their own, which end with them, and
// leave alone those that the role has.
func boundBehindAPooler(t *testing.T, url string) {
	t.Helper()
	ctx := t.Context()
	pool, err := postgres.Open(ctx, url, postgres.Options{Pooled: true, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const q = `select current_setting('lock_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout')`
	var got string
	read := func(tx pgx.Tx) error { return tx.QueryRow(ctx, q).Scan(&got) }
	ways := map[string]func() error{
		"InTx":    func() error { return postgres.InTx(ctx, pool, read) },
		"Quietly": func() error { return postgres.Quietly(ctx, pool, read) },
		"QuietBatch": func() error {
			return postgres.QuietBatch(ctx, pool, func(b *pgx.Batch) {
				b.Queue(q).QueryRow(func(row pgx.Row) error { return row.Scan(&got) })
			})
		},
		"none": func() error { return pool.QueryRow(ctx, q).Scan(&got) },
	}
	for session, limits := range map[string]string{"0 0": "2s 15s", "9s 1min": "9s 1min"} {
		lock, idle, _ := strings.Cut(session, " ")
		for name, way := range ways {
			if _, err := pool.Exec(ctx, `select set_config('lock_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $2, false)`, lock, idle); err != nil {
				t.Fatal(err)
			}
			want := limits
			if name == "none" {
				want = session
			}
			if err := way(); err != nil || got != want {
				t.Errorf("%s, where the session has %s: %s, %v; want %s", name, session, got, err, want)
			}
			if err := ways["none"](); err != nil || got != session {
				t.Errorf("after %s: %s, %v; want %s", name, got, err, session)
			}
		}
	}
}

func TestOpenRespectsTheURL(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), "postgres://u@127.0.0.1:1/d?pool_max_conns=3&application_name=mine", postgres.Options{})
	if err != nil {
		t.Fatalf("Open must not need the server: %v", err)
	}
	t.Cleanup(pool.Close)
	cfg := pool.Config()
	if cfg.MaxConns != 3 || cfg.ConnConfig.RuntimeParams["application_name"] != "mine" {
		t.Errorf("MaxConns %d, application_name %q; want the url's 3 and mine", cfg.MaxConns, cfg.ConnConfig.RuntimeParams["application_name"])
	}
	if err := pool.Ping(t.Context()); !postgres.Retryable(err) {
		t.Errorf("Ping without a server: %v; want an error that is Retryable", err)
	}
	if _, err := postgres.Open(t.Context(), "postgres://u@h/d?pool_max_conns=many", postgres.Options{}); err == nil {
		t.Error("Open took an unusable url")
	}
}

func TestInTxCommitsAndRollsBack(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))
	if _, err := pool.Exec(ctx, `create table t (id int)`); err != nil {
		t.Fatal(err)
	}
	insert := func(id int, then error) error {
		return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `insert into t values ($1)`, id); err != nil {
				return err
			}
			return then
		})
	}
	no := errors.New("no")
	if err := insert(1, nil); err != nil {
		t.Fatal(err)
	}
	if err := insert(2, no); !errors.Is(err, no) {
		t.Errorf("InTx = %v; want fn's error", err)
	}
	rows, err := pool.Query(ctx, `select id from t`)
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := pgx.CollectRows(rows, pgx.RowTo[int]); err != nil || len(ids) != 1 || ids[0] != 1 {
		t.Errorf("rows %v, %v; want [1]", ids, err)
	}
}

// Two transactions take two rows in opposite order, each waiting with its first
// until the other has its own: Postgres must end one, and InTx must repeat it.
func TestInTxRepeatsAfterADeadlock(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))
	if _, err := pool.Exec(ctx, `create table t (id int primary key, n int not null); insert into t values (1, 0), (2, 0)`); err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int32
	has := map[int]chan struct{}{1: make(chan struct{}, 10), 2: make(chan struct{}, 10)}
	both := func(first, second int) error {
		return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
			met := runs.Add(1) <= 2
			// The test's own patience, not the pool's lock_timeout, decides who waits.
			if _, err := tx.Exec(ctx, `set local lock_timeout = '9s'; set local deadlock_timeout = '50ms'`); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `update t set n = n + 1 where id = $1`, first); err != nil {
				return err
			}
			has[first] <- struct{}{}
			if met {
				<-has[second]
			}
			_, err := tx.Exec(ctx, `update t set n = n + 1 where id = $1`, second)
			return err
		})
	}
	other := make(chan error, 1)
	go func() { other <- both(2, 1) }()
	err := both(1, 2)
	if oerr := <-other; err != nil || oerr != nil {
		t.Fatalf("InTx = %v and %v", err, oerr)
	}
	var sum int
	if err := pool.QueryRow(ctx, `select sum(n) from t`).Scan(&sum); err != nil || sum != 4 {
		t.Errorf("sum = %d, %v; want 4: each transaction once", sum, err)
	}
	if runs.Load() < 3 {
		t.Errorf("fn ran %d times: there was no deadlock to repeat after", runs.Load())
	}
}

func TestInTxGivesUp(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))
	runs := 0
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		runs++
		_, err := tx.Exec(ctx, `do $$ begin raise exception 'again' using errcode = '40001'; end $$`)
		return err
	})
	if runs != 5 || !postgres.Retryable(err) {
		t.Errorf("ran %d times, %v; want 5 and an error that is Retryable", runs, err)
	}
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	sqlstate := func(code string) error {
		return fmt.Errorf("reading: %w", &pgconn.PgError{Code: code})
	}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"nil":                 {nil, false},
		"a bug":               {errors.New("no such thing"), false},
		"no rows":             {pgx.ErrNoRows, false},
		"cancelled":           {fmt.Errorf("reading: %w", context.Canceled), false},
		"deadline":            {context.DeadlineExceeded, true},
		"serialization":       {sqlstate("40001"), true},
		"deadlock":            {sqlstate("40P01"), true},
		"lock timeout":        {sqlstate("55P03"), true},
		"statement timeout":   {sqlstate("57014"), true},
		"shut down":           {sqlstate("57P01"), true},
		"crash":               {sqlstate("57P02"), true},
		"starting":            {sqlstate("57P03"), true},
		"standby":             {sqlstate("25006"), true},
		"too many clients":    {sqlstate("53300"), true},
		"connection":          {sqlstate("08006"), true},
		"unique violation":    {sqlstate("23505"), false},
		"syntax":              {sqlstate("42601"), false},
		"no right":            {sqlstate("42501"), false},
		"database is missing": {sqlstate("3D000"), false},
		"end of stream":       {fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), true},
		"reset":               {fmt.Errorf("reading: %w", syscall.ECONNRESET), true},
	} {
		if got := postgres.Retryable(tc.err); got != tc.want {
			t.Errorf("%s: Retryable(%v) = %v; want %v", name, tc.err, got, tc.want)
		}
		var said *pgconn.PgError
		slow := errors.As(tc.err, &said) && said.Code == "57014" || errors.Is(tc.err, context.DeadlineExceeded)
		if got, want := postgres.Outage(tc.err), tc.want && !slow; got != want {
			t.Errorf("%s: Outage(%v) = %v; want %v", name, tc.err, got, want)
		}
	}
}

func TestRetryableOfALivePool(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), pgtest.Pool(t, pgtest.Empty(t))

	_, err := pool.Exec(ctx, `select pg_terminate_backend(pg_backend_pid())`)
	if err == nil || !postgres.Retryable(err) {
		t.Errorf("terminated backend: Retryable(%v) = false", err)
	}
	if _, err = pool.Exec(ctx, `select from nowhere`); postgres.Retryable(err) {
		t.Errorf("missing table: Retryable(%v) = true", err)
	}
	refused, err := pgxpool.New(ctx, "postgres://u@127.0.0.1:1/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(refused.Close)
	if err := refused.Ping(ctx); !postgres.Retryable(err) {
		t.Errorf("nobody listens: Retryable(%v) = false", err)
	}
}

// TestCloseDoesNotWaitForWhatDoesNotEnd: a connection that is still in use stands for
// one whose server says nothing.
func TestCloseDoesNotWaitForWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), pgtest.NewURL(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	held, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { postgres.Close(time.Millisecond, pool); close(closed) }()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Error("Close waits")
	}
	held.Release()
}
