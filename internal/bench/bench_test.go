package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestMain is also the servers that the scenarios start, as the program itself is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-serve" {
		if err := serve(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestScenariosRun: a small dose of what has all parts of a run (servers of each kind, load,
// figures, goals), without a verdict on time. The peers of others are not among them.
func TestScenariosRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole servers")
	}
	s := sizes{sockets: 20, changes: 2, rounds: 1, idle: 10, signals: 20, probes: 3, seconds: 1, load: 1, proxied: 10, members: 20}
	t.Setenv("TEST_DATABASE_URL", pgtest.NewURL(t)) // each scenario makes databases of its own beside it
	for _, scenario := range []string{"rooms", "messages"} {
		if err := run(t.Context(), s, scenario); err != nil {
			t.Errorf("%s: %v", scenario, err)
		}
	}
	if err := run(t.Context(), s, "none"); err == nil {
		t.Error("a scenario that is none runs")
	}
}
