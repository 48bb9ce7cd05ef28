package sweep

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

func keeper(pool *pgxpool.Pool, tasks ...Task) *Keeper {
	return New(Options{Pool: pool, Log: slog.New(slog.DiscardHandler), Tasks: tasks})
}

func mustTurn(t *testing.T, k *Keeper) {
	t.Helper()
	if err := k.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestOneNodeAtATime: while one is at it, others leave it alone; then they may.
func TestOneNodeAtATime(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	at, goOn := make(chan struct{}), make(chan struct{})
	first := keeper(pool, Task{"slow", func(context.Context, int) (int, error) { close(at); <-goOn; return 0, nil }})
	runs := 0
	second := keeper(pool, Task{"quick", func(context.Context, int) (int, error) { runs++; return 0, nil }})
	done := make(chan error, 1)
	go func() { done <- first.Turn(t.Context()) }()
	<-at
	mustTurn(t, second)
	if runs != 0 {
		t.Error("two at a time")
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustTurn(t, second)
	if runs != 1 {
		t.Errorf("%d runs after the first had ended", runs)
	}
}

// TestATurnIsLost by a node that has not said for long that it is at it; it stops then.
func TestATurnIsLost(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	runs, others := 0, 0
	other := keeper(pool, Task{"its", func(context.Context, int) (int, error) { others++; return 0, nil }})
	late := keeper(pool, Task{"its", func(_ context.Context, most int) (int, error) {
		if runs++; runs > 3 {
			return 0, errors.New("it does not stop")
		}
		const past = `update realtime.sweeps set until = clock_timestamp() - interval '1 second'`
		if _, err := pool.Exec(t.Context(), past); err != nil {
			return 0, err
		}
		if mine, err := other.take(t.Context()); err != nil || !mine {
			t.Errorf("not taken: %v", err)
		}
		return most, nil // there is always more
	}})
	late.renew = 0
	mustTurn(t, late)
	mustTurn(t, other)
	if runs != 1 || others != 1 {
		t.Errorf("it ran %d times, the other %d", runs, others)
	}
}

// TestBatches: rows go in batches, and whoever watches is told how many.
func TestBatches(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for _, q := range []string{`create table past (id int)`, `insert into past select generate_series(1, 2500)`} {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	const q = `delete from past p where p.ctid = any (array(select o.ctid from past o where o.id <= $2 limit $1))`
	k := keeper(pool, Task{"past", Rows(pool, q, 2400)})
	var told []int
	k.o.Swept = func(_ string, n int) { told = append(told, n) }
	mustTurn(t, k)
	if len(told) != 3 || told[0] != most || told[2] != 400 {
		t.Errorf("told of %v", told)
	}
	said, err := Last(t.Context(), pool)
	if err != nil || !strings.HasPrefix(said, "2400 rows, ") {
		t.Errorf("%q, %v", said, err)
	}
}

// TestATaskThatFails is told of, and holds up nobody; doctor says so until it does.
func TestATaskThatFails(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	if said, err := Last(t.Context(), pool); err != nil || said == "" {
		t.Errorf("before any turn: %q, %v", said, err)
	}
	broken, ran, failed := true, 0, ""
	k := keeper(pool, Task{"bad", func(context.Context, int) (int, error) {
		if broken {
			return 0, errors.New("no luck")
		}
		return 0, nil
	}}, Task{"good", func(context.Context, int) (int, error) { ran++; return 0, nil }})
	k.o.Failed = func(of string) { failed = of }
	if err := k.Turn(t.Context()); err == nil || ran != 1 || failed != "bad" {
		t.Errorf("%v, the other ran %d times, told of %q", err, ran, failed)
	}
	if _, err := Last(t.Context(), pool); err == nil || !strings.Contains(err.Error(), "bad: no luck") {
		t.Errorf("doctor says %v", err)
	}
	broken = false
	mustTurn(t, k)
	if _, err := Last(t.Context(), pool); err != nil {
		t.Error(err)
	}
	for _, q := range []string{
		`insert into realtime.nodes (id, lease_until, started_at) values (gen_random_uuid(), now() + interval '1 hour', now() - interval '1 hour')`,
		`update realtime.sweeps set ended_at = now() - interval '20 minutes'`,
	} {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Last(t.Context(), pool); err == nil {
		t.Error("a server runs and forgets nothing, and doctor does not mind")
	}
}
