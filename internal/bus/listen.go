package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/lib/pq"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

const listenName = "nchat-realtime-listen"

// listen keeps a LISTEN connection for as long as ctx lasts. pgx finds out
// which host answers and whether by TLS; lib/pq then stays on exactly that, and
// where it cannot return, the search begins again.
func (b *Bus) listen(ctx context.Context) {
	again := retryFirst
	for ctx.Err() == nil {
		dsn, err := b.find(ctx)
		if err == nil {
			again = retryFirst
			err = b.follow(ctx, dsn)
		}
		if ctx.Err() != nil {
			return
		}
		b.o.Log.WarnContext(ctx, "doorbells are not heard, connecting again", "error", err, "after", again)
		wait.For(ctx, again)
		again = min(2*again, retryMost)
	}
}

// find connects once by pgx and puts what it found into lib/pq's words.
func (b *Bus) find(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cfg := b.o.Listen.Copy()
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return "", fmt.Errorf("connecting to listen: %w", err)
	}
	defer func() { _ = c.Close(ctx) }()
	return dsnOf(c, cfg)
}

// dsnOf writes the connection c as lib/pq reads it. pgx's own text is never
// passed on: the two differ in what they take.
func dsnOf(c *pgx.Conn, cfg *pgx.ConnConfig) (string, error) {
	host, port := cfg.Host, cfg.Port
	if addr := c.PgConn().Conn().RemoteAddr(); addr.Network() != "unix" && len(cfg.Fallbacks) > 0 {
		h, p, err := net.SplitHostPort(addr.String())
		n, perr := strconv.ParseUint(p, 10, 16)
		if err := errors.Join(err, perr); err != nil {
			return "", fmt.Errorf("reading the address: %w", err)
		}
		host, port = h, uint16(n)
	}
	mode := "disable"
	if t, ok := c.PgConn().Conn().(*tls.Conn); ok {
		conf := tlsOf(cfg, t)
		if err := pq.RegisterTLSConfig(listenName, conf); err != nil {
			return "", fmt.Errorf("setting up TLS: %w", err)
		}
		mode = "pqgo-" + listenName
	}
	pairs := []string{"host", host, "port", strconv.Itoa(int(port)), "user", cfg.User, "password", cfg.Password,
		"dbname", cfg.Database, "sslmode", mode, "application_name", listenName, "connect_timeout", "5"}
	var dsn strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(&dsn, "%s='%s' ", pairs[i], strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(pairs[i+1]))
		}
	}
	return dsn.String(), nil
}

// tlsOf is the configuration that made t.
func tlsOf(cfg *pgx.ConnConfig, t *tls.Conn) *tls.Config {
	for _, f := range cfg.Fallbacks {
		if f.TLSConfig != nil && cfg.TLSConfig == nil || f.TLSConfig != nil && f.TLSConfig.ServerName == t.ConnectionState().ServerName {
			return f.TLSConfig.Clone()
		}
	}
	return cfg.TLSConfig.Clone()
}

// lostLimit is how long lib/pq may try to return to the same host.
const lostLimit = 5 * time.Second

// follow hears doorbells on one listener until it is lost or ctx ends.
func (b *Bus) follow(ctx context.Context, dsn string) error {
	state := &link{}
	l := pq.NewDialListener(dialer{3 * b.o.ProbeEvery}, dsn, retryFirst, retryMost, state.event)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = l.Close() }()
	listening := make(chan error, 1)
	wg.Go(func() { listening <- l.Listen(Channel) }) // Close ends it
	tick := time.NewTicker(b.o.ProbeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-listening:
			if err != nil {
				return fmt.Errorf("listening: %w", err)
			}
			b.resync()
		case n, ok := <-l.Notify:
			switch {
			case !ok:
				return errors.New("the listener closed")
			case n == nil: // reconnected: what was rung meanwhile is lost
				b.resync()
			default:
				b.hear(n.Extra)
			}
		case <-tick.C:
			if d := state.lostFor(); d > lostLimit {
				return fmt.Errorf("lost for %s", d.Round(time.Second))
			}
		}
	}
}

// link knows since when the listener has no connection.
type link struct {
	mu    sync.Mutex
	since time.Time // guarded by mu; zero: connected
}

func (l *link) event(e pq.ListenerEventType, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e {
	case pq.ListenerEventConnected, pq.ListenerEventReconnected:
		l.since = time.Time{}
	case pq.ListenerEventDisconnected, pq.ListenerEventConnectionAttemptFailed:
		if l.since.IsZero() {
			l.since = time.Now()
		}
	}
}

func (l *link) lostFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return 0
	}
	return time.Since(l.since)
}

// dialer gives every connection a deadline on each read and write. Our own
// probes come every third of it: a longer silence is a dead link, and nothing
// in lib/pq can then wait for ever, Close least of all.
type dialer struct{ limit time.Duration }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, 0)
}

func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 || timeout > d.limit {
		timeout = d.limit
	}
	c, err := (&net.Dialer{Timeout: timeout}).Dial(network, address) //nolint:noctx // lib/pq's interface has no context
	if err != nil {
		return nil, err
	}
	return timedConn{c, d.limit}, nil
}

type timedConn struct {
	net.Conn
	limit time.Duration
}

func (c timedConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c timedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// ErrPooled: statements of one connection reach different backends. LISTEN
// through such a pooler hears nothing and says nothing.
var ErrPooled = errors.New("the connection goes through a transaction pooler, which LISTEN does not survive: set LISTEN_DATABASE_URL to a direct one")

// ErrDeaf: LISTEN was accepted and a NOTIFY was not heard.
var ErrDeaf = errors.New("LISTEN was accepted, but a NOTIFY sent from another connection was not heard: set LISTEN_DATABASE_URL to a direct connection")

// CheckListen proves that LISTEN works on a connection made by cfg: a NOTIFY
// from a second one is heard within three seconds. Errors: ErrPooled, ErrDeaf,
// or whatever kept it from connecting.
func CheckListen(ctx context.Context, cfg *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ear, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return fmt.Errorf("connecting to listen: %w", err)
	}
	defer func() { _ = ear.Close(context.WithoutCancel(ctx)) }()
	mouth, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return fmt.Errorf("connecting to notify: %w", err)
	}
	defer func() { _ = mouth.Close(context.WithoutCancel(ctx)) }()
	name := "nchat_check_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := ear.Exec(ctx, "listen "+name); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	var first, second int
	if err := ear.QueryRow(ctx, "select pg_backend_pid()").Scan(&first); err != nil {
		return fmt.Errorf("asking for the backend: %w", err)
	}
	if _, err := mouth.Exec(ctx, "select pg_notify($1, 'check')", name); err != nil {
		return fmt.Errorf("notifying: %w", err)
	}
	if err := ear.QueryRow(ctx, "select pg_backend_pid()").Scan(&second); err != nil {
		return fmt.Errorf("asking for the backend: %w", err)
	}
	if first != second || uint32(first) != ear.PgConn().PID() {
		return ErrPooled
	}
	hear, done := context.WithTimeout(ctx, 3*time.Second)
	defer done()
	if _, err := ear.WaitForNotification(hear); err != nil {
		return errors.Join(ErrDeaf, err)
	}
	return nil
}
