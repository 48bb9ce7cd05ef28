package app

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// TestTheAdminPort: dev moves on from a port that is taken, serve does not, and
// what it opened before is closed again; off opens none.
func TestTheAdminPort(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	o, _ := options(t, "postgres:///x", map[string]string{"ADMIN_ADDR": taken.Addr().String()})
	if public, _, err := listen(t.Context(), o); err == nil || public != nil || !strings.Contains(err.Error(), "ADMIN_ADDR") {
		t.Errorf("serve on a port that is taken: %v", err)
	}
	o.Dev = true
	public, admin, err := listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	a := addresses(public, admin)
	if host, port, err := net.SplitHostPort(a.Admin); err != nil || host != "127.0.0.1" || port == "0" || a.Admin == taken.Addr().String() || a.Public == a.Admin {
		t.Errorf("dev is at %+v: %v", a, err)
	}
	_, _ = public.Close(), admin.Close()
	o, _ = options(t, "postgres:///x", nil)
	public, admin, err = listen(t.Context(), o)
	if err != nil || admin != nil || addresses(public, admin).Admin != "" {
		t.Fatalf("off: %v %v", admin, err)
	}
	_ = public.Close()
}

// TestADatabaseThatIsNotMigrated is no outage: waiting would not mend it.
func TestADatabaseThatIsNotMigrated(t *testing.T) {
	t.Parallel()
	o, _ := options(t, pgtest.Empty(t), nil)
	p, err := build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	err = enter(t.Context(), p)
	if _, ok := errors.AsType[*unmigratedError](err); !ok || !strings.Contains(err.Error(), "nchat-realtime migrate") {
		t.Errorf("%v", err)
	}
	if _, _, leased := p.lease.Identity(); leased {
		t.Error("it has a lease")
	}
}

// TestColumnsThatChanged keep no server from starting: it says so.
func TestColumnsThatChanged(t *testing.T) {
	t.Parallel()
	o, log := options(t, changed(t, pgtest.NewURL(t), `alter table public.nchat_users drop column avatar_url`), nil)
	p, err := build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := enter(t.Context(), p); err != nil || !strings.Contains(log.String(), "have changed since") {
		t.Errorf("%v\n%s", err, log)
	}
}

// TestARoleThatDidNotMigrate is no outage either, and is told what it lacks.
func TestARoleThatDidNotMigrate(t *testing.T) {
	t.Parallel()
	db, role := pgtest.NewURL(t), "nchat_other_"+strings.ReplaceAll(uuid.NewString(), "-", "")
	changed(t, db, `create role `+role+` login`)
	t.Cleanup(func() {
		if _, err := pgtest.Pool(t, db).Exec(context.Background(), `drop role `+role); err != nil {
			t.Error(err)
		}
	})
	o, _ := options(t, as(t, db, role), nil)
	p, err := build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := enter(ctx, p); !postgres.Forbidden(err) || !strings.Contains(err.Error(), "one role") {
		t.Errorf("%v", err)
	}
	if said, err := examined(t, as(t, db, role), nil); err == nil || verdict(t, said, "migrations") != "FAIL" || !strings.Contains(said, "one role") {
		t.Errorf("%v\n%s", err, said)
	}
}

// as is a database's URL for another role.
func as(t *testing.T, raw, role string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

// TestAnOutageAtTheStartIsWaitedFor, until whoever started it gives up.
func TestAnOutageAtTheStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	o, log := options(t, "postgres://127.0.0.1:1/none", nil)
	p, err := build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- enter(ctx, p) }()
	end := time.Now().Add(time.Minute)
	for tick := time.NewTicker(5 * time.Millisecond); !strings.Contains(log.String(), "waiting for Postgres"); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("nothing is said of it")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestAServerComesAndGoes: it serves with a lease and knowing what is revoked,
// and gives the lease back when everything is written.
func TestAServerComesAndGoes(t *testing.T) {
	t.Parallel()
	p := built(t, map[string]string{"DRAIN_TIMEOUT": "1m"}) // nobody is there to be waited for
	public, _, err := listen(t.Context(), Options{Config: p.config})
	if err != nil {
		t.Fatal(err)
	}
	if err := enter(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, _, leased := p.lease.Identity(); !leased || !p.revoked.loaded.Load() {
		t.Fatalf("entered without a lease, or without what is revoked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan Addresses, 1)
	p.ready = func(a Addresses) { ready <- a }
	done := make(chan error)
	go func() { done <- serve(ctx, p, public, nil) }()
	if a := <-ready; a.Public != public.Addr().String() {
		t.Errorf("%+v", a)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ends with %v", err)
	}
	if !p.draining.Load() || p.sockets.Len() != 0 {
		t.Error("it left without taking leave")
	}
	var alive int
	const q = `select count(*) from realtime.nodes where lease_until > clock_timestamp() + $1::interval`
	if err := p.pool.QueryRow(t.Context(), q, p.config.OfflineGrace).Scan(&alive); err != nil || alive != 0 {
		t.Errorf("%d nodes hold on longer than the grace (%v)", alive, err)
	}
}

// TestLeavingHasAnEnd, to the moment, and is over when all is done; the last
// socket's turn comes in time for what is written after it.
func TestLeavingHasAnEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		done := within(t.Context(), time.Minute, func(context.Context) { <-time.After(time.Second) })
		if took := time.Since(began); !done || took != time.Second {
			t.Errorf("what ends after a second: %v after %v", done, took)
		}
		began, stuck := time.Now(), make(chan struct{})
		done = within(t.Context(), 2*time.Second, func(context.Context) { <-stuck })
		if took := time.Since(began); done || took != 2*time.Second {
			t.Errorf("what does not end in 2 s: %v after %v", done, took)
		}
		close(stuck)
	})
	for most, over := range map[time.Duration]time.Duration{0: 0, time.Second: time.Second / 2, 4 * time.Second: 2 * time.Second, 10 * time.Second: 7 * time.Second} {
		if got := spread(most); got != over {
			t.Errorf("of %v sockets are closed over %v, want %v", most, got, over)
		}
	}
}
