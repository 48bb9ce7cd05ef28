package app

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// running is a server that serves, until the test ends.
func running(t *testing.T, p *parts) (base string) {
	t.Helper()
	public, _, err := listen(t.Context(), Options{Config: p.config})
	if err != nil {
		t.Fatal(err)
	}
	if err := enter(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan Addresses, 1), make(chan error, 1)
	p.ready = func(a Addresses) { ready <- a }
	go func() { done <- serve(ctx, p, public, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ends with %v", err)
		}
	})
	return "http://" + (<-ready).Public
}

// exhaust takes every connection of a pool and keeps each busy in Postgres, until
// the test ends.
func exhaust(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	most := int(pool.Config().MaxConns)
	t.Cleanup(func() {
		cancel()
		for range most {
			<-done
		}
	})
	for range most {
		c, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer func() { c.Release(); done <- struct{}{} }()
			for ctx.Err() == nil {
				_, _ = c.Exec(ctx, `select pg_sleep(9)`)
			}
		}()
	}
}

func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for tick := time.NewTicker(10 * time.Millisecond); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// TestABusyPostgresTakesNobodyOffline: with every connection that serves callers
// held by slow queries the lease is renewed past its end again and again, sessions
// are written, doorbells come, revocations are heard of, and readyz says that all is well.
func TestABusyPostgresTakesNobodyOffline(t *testing.T) {
	t.Parallel()
	p := built(t, nil)
	base := running(t, p)
	look := pgtest.Pool(t, p.config.DatabaseURL)
	readyz := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	soon(t, "ready", func() bool { return readyz() == http.StatusOK })
	exhaust(t, p.pool)

	_, epoch, _ := p.lease.Identity()
	alice := presence.Opening{ID: uuid.New(), Key: viewer.Key{Tenant: "primary", User: demo.Alice}, Counts: true,
		Device: presence.DeviceUnknown, Socket: session{c: &wsock.Conn{}}}
	p.presence.Sessions.Begin(t.Context(), alice)
	stands := func() (written bool) {
		if err := look.QueryRow(t.Context(), `select exists (select from realtime.sessions where id = $1 and ended_at is null)`, alice.ID).Scan(&written); err != nil {
			t.Fatal(err)
		}
		return written
	}
	if !stands() {
		t.Fatal("the session is not written")
	}
	if err := p.revoked.store.Revoke(t.Context(), "primary", demo.Bob, nil); err != nil {
		t.Fatal(err)
	}
	var began time.Time
	if err := look.QueryRow(t.Context(), `select clock_timestamp()`).Scan(&began); err != nil {
		t.Fatal(err)
	}
	soon(t, "the lease is renewed when the one it had is over", func() bool { // sooner too; but who knows when a slow machine comes to it
		var renewed bool
		if err := look.QueryRow(t.Context(), `select exists (select from realtime.nodes where id = $1 and epoch = $2 and lease_until > $3)`,
			p.lease.ID(), epoch, began.Add(2*lease.TTL)).Scan(&renewed); err != nil {
			t.Fatal(err)
		}
		return renewed
	})
	soon(t, "all is well", func() bool { return readyz() == http.StatusOK })
	soon(t, "a revocation is heard of", func() bool { return p.revoked.known.Refused(identity(demo.Bob, began.Add(-time.Hour))) })
	if _, now, _ := p.lease.Identity(); now != epoch || !stands() {
		t.Error("it was thought dead")
	}
	if got := p.pool.Stat(); got.AcquiredConns() != got.MaxConns() {
		t.Errorf("only %d of %d connections were held", got.AcquiredConns(), got.MaxConns())
	}
}
