package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/natstest"
)

// carried waits until NATS carries what a node rings.
func carried(n *node) {
	n.t.Helper()
	eventually(n.t, "NATS carries", func() bool { return n.metric("realtime_nats_connected", "") == 1 })
}

// The whole way over NATS, while it is away, and when it is back: status and
// typing cross nodes, and typing that was there before anybody looked is seen.
func TestNodesOverNATS(t *testing.T) {
	t.Parallel()
	url, srv := database(t), natstest.New(t, "")
	one, two := startNode(t, url, "BUS_URL="+srv.URL()), startNode(t, url, "BUS_URL="+srv.URL())
	carried(one)
	carried(two)
	alice := one.dial(token(t, demo.Alice))
	bob := two.dial(token(t, demo.Bob))
	status := bob.start(watch(demo.Alice))
	until(t, status, `"online"`)
	alice.run(`mutation { setPresence(status: busy) { status } }`)
	until(t, status, `"busy"`)
	seen := bob.start(typing(inChannel(demo.General)))
	next(t, seen)
	provoked(t, seen, `"Alice is typing..."`, alice.types(inChannel(demo.General)))
	alice.run(`mutation { stopTyping(room: ` + inChannel(demo.General) + `) { accepted } }`)
	until(t, seen, `"text":null`)
	// What was said before this node heard of a channel, and nobody watches it here.
	eventually(t, "the other node is asked", func() bool {
		alice.run(startTyping(inChannel(demo.Team)))
		return strings.Contains(two.post(`{ typing(room: `+inChannel(demo.Team)+`) { text } }`, bearer(token(t, demo.Bob))).String(), `"Alice is typing..."`)
	})
	// Taken back by HTTP on a node that did not hear it.
	eventually(t, "taken back over there", func() bool {
		one.post(startTyping(inChannel(demo.Team)), bearer(token(t, demo.Carol)))
		return strings.Contains(two.post(`{ typing(room: `+inChannel(demo.Team)+`) { text } }`, bearer(token(t, demo.Bob))).String(), `Carol`)
	})
	two.post(`mutation { stopAllTyping }`, bearer(token(t, demo.Carol)))
	eventually(t, "nobody types", func() bool {
		return !strings.Contains(one.post(`{ typing(room: `+inChannel(demo.Team)+`) { text } }`, bearer(token(t, demo.Bob))).String(), `Carol`)
	})
	if one.metric("realtime_nats_messages_total", `"out"`) == 0 || two.metric("realtime_nats_messages_total", `"in"`) == 0 {
		t.Fatal("nothing went over NATS")
	}

	srv.Stop()
	for _, n := range []*node{one, two} {
		eventually(t, "it is noticed", func() bool { return n.metric("realtime_nats_connected", "") == 0 })
		n.ready()
	}
	alice.run(`mutation { setPresence(status: away) { status } }`)
	until(t, status, `"away"`)
	gaps := two.metric("realtime_nats_gaps_total", `"connect"`)
	srv.Start()
	carried(one)
	carried(two)
	eventually(t, "everything is looked at", func() bool { return two.metric("realtime_nats_gaps_total", `"connect"`) > gaps })
	alice.run(`mutation { setPresence(status: busy) { status } }`)
	until(t, status, `"busy"`)
}

// A node with another bus than living ones does not start, and says why.
func TestANodeWithAnotherBusDoesNotStart(t *testing.T) {
	t.Parallel()
	url := database(t)
	startNode(t, url)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "serve")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + url, "HASURA_GRAPHQL_JWT_SECRET=" + secret,
		"HOST=127.0.0.1", "PORT=0", "ADMIN_ADDR=127.0.0.1:0", "BUS_URL=nats://u:s3cret@127.0.0.1:1"}
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil || !strings.Contains(string(out), "nats://127.0.0.1:1, and that of nodes that run is postgres") || strings.Contains(string(out), "s3cret") {
		t.Fatalf("%v: %s", err, out)
	}
}
