package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nself-org/nchat-realtime/internal/door/double"
)

const envUpstream = "BENCH_UPSTREAM_URL"

// door: what the one endpoint adds to asking the same upstream directly. That is
// a double of Hasura in this process, and answers from memory, so that what is
// measured is the way there.
func door(ctx context.Context, db string, s sizes) error {
	var key struct{ Key string }
	if err := json.Unmarshal([]byte(secret), &key); err != nil {
		return fmt.Errorf("reading the key: %w", err)
	}
	h := double.New(double.Options{Key: key.Key, Admin: "x", Era: double.Newest, Poll: time.Minute})
	defer h.Stop()
	srv, err := start(ctx, kindOurs, db, envUpstream+"="+h.URL())
	if err != nil {
		return err
	}
	defer srv.stop()
	through := strings.TrimSuffix(srv.url, "/graphql") + "/v1/graphql"
	direct := "ws" + strings.TrimPrefix(h.URL(), "http") + "/v1/graphql"
	if err := overhead(ctx, direct, through, s); err != nil {
		return err
	}
	return proxied(ctx, srv, h, through, s)
}

// overhead: the same query, directly and through the door in turns.
func overhead(ctx context.Context, direct, through string, s sizes) error {
	took := map[string][]time.Duration{}
	clients := map[string]*client{}
	for name, url := range map[string]string{"direct": direct, "through the door": through} {
		c, err := dial(ctx, url, users[0])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer c.close()
		clients[name] = c
	}
	for i := range 40 * s.changes {
		for name, c := range clients {
			began := time.Now()
			if err := c.mutate(`{ whoami }`); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if i >= s.changes { // the first are nobody's
				took[name] = append(took[name], time.Since(began))
			}
		}
	}
	fmt.Println("## A query over a socket: directly, and through the one endpoint\n\n| way | queries | median | p95 | p99 |\n|---|---|---|---|---|")
	for _, name := range []string{"direct", "through the door"} {
		t := took[name]
		fmt.Printf("| %s | %d | %.3f ms | %.3f ms | %.3f ms |\n", name, len(t), millis(at(t, 50)), millis(at(t, 95)), millis(at(t, 99)))
	}
	a, b := took["direct"], took["through the door"]
	fmt.Printf("| added | | %.3f ms | %.3f ms | %.3f ms |\n\n", millis(at(b, 50)-at(a, 50)), millis(at(b, 95)-at(a, 95)), millis(at(b, 99)-at(a, 99)))
	return nil
}

func millis(d time.Duration) float64 { return float64(d) / 1e6 }

// proxied: many sockets with a live query each; a burst of subscribes; and all
// of them back after the upstream closed them at once.
func proxied(ctx context.Context, srv *server, h *double.Hasura, through string, s sizes) error {
	empty, err := srv.ask(askRest)
	if err != nil {
		return err
	}
	all := make([]*client, 0, s.proxied)
	defer func() {
		for _, c := range all {
			c.close()
		}
	}()
	for range s.proxied {
		c, err := dial(ctx, through, users[0])
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	burst := min(1000, len(all))
	began := time.Now()
	if err := together(all[:burst], func(c *client) error { return c.subscribe(`subscription { whoami }`, "{}") }); err != nil {
		return err
	}
	subscribed := time.Since(began)
	if err := together(all[burst:], func(c *client) error { return c.subscribe(`subscription { whoami }`, "{}") }); err != nil {
		return err
	}
	full, err := srv.ask(askRest)
	if err != nil {
		return err
	}
	n, dials := float64(len(all)), h.Dials.Load()
	began = time.Now()
	h.Close(1012, "Server state changed, restarting the server")
	for h.Dials.Load() < dials+int64(len(all)) {
		if time.Since(began) > 10*patience {
			return errors.New("they do not all come back")
		}
		timer := time.NewTimer(10 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Printf("## %d sockets through the one endpoint, a live query each\n\n| goroutines a socket | heap and stacks a socket | resident a socket | %d subscribes in a burst | all back after the upstream closed them |\n|---|---|---|---|---|\n",
		len(all), burst)
	fmt.Printf("| %.1f | %.1f KiB | %.1f KiB | %s | %.1f s |\n\n", float64(full.Goroutines-empty.Goroutines)/n, float64(full.Memory-empty.Memory)/n/1024,
		float64(full.Resident-empty.Resident)/n/1024, ms(subscribed), time.Since(began).Seconds())
	return nil
}

// together does the same with all clients at once.
func together(all []*client, do func(*client) error) error {
	got := make(chan error, len(all))
	for _, c := range all {
		go func() { got <- do(c) }()
	}
	var err error
	for range all {
		err = errors.Join(err, <-got)
	}
	return err
}
