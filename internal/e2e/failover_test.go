package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestClientsGoOnThroughADeployAndACrash: nothing but what graphql-ws does by
// itself, under Apollo and urql too, with its own waits. Node one is asked to
// end, node two is killed; who was connected is on node three in the end, on
// the subscriptions begun at the start, and nobody was told of an absence.
func TestClientsGoOnThroughADeployAndACrash(t *testing.T) {
	t.Parallel()
	url := database(t)
	const grace = "OFFLINE_GRACE=60s" // longer than the libraries' own waits on any machine
	three := startNode(t, url, grace) // first, so that it is settled when it must judge
	one, two := startNode(t, url, grace, "DRAIN_TIMEOUT=6s"), startNode(t, url, grace)
	clients := map[string]*library{
		"graphql-ws": one.library("graphql-ws", demo.Alice, two, three),
		"apollo":     one.library("apollo", demo.Bob, two, three),
		"urql":       one.library("urql", demo.Carol, two, three),
	}
	subs := map[string]string{}
	for name, l := range clients { // all before any is waited for: one of them is alice
		subs[name] = l.send("subscribe", watch(demo.Alice))
	}
	for name, l := range clients {
		l.sees(subs[name], `"online"`)
	}
	dave := three.dial(token(t, demo.Dave)).start(watch(demo.Alice, demo.Bob, demo.Carol))
	for online := 0; online < 3; {
		if strings.Contains(next(t, dave).String(), `"online"`) {
			online++
		}
	}
	change := func(text string) {
		t.Helper()
		if r := three.post(`mutation { setCustomStatus(input: { text: "`+text+`" }) { status } }`, bearer(token(t, demo.Alice))); len(r.Errors) > 0 {
			t.Fatal(r)
		}
		for name, l := range clients {
			x := l.until(func(x said) bool {
				if len(x.Errors) > 0 || x.End {
					t.Fatalf("%s lost its subscription: %+v", name, x)
				}
				return x.ID == subs[name] && strings.Contains(x.String(), text)
			})
			if !strings.Contains(x.String(), `"online"`) {
				t.Errorf("%s: %s", name, x.result)
			}
		}
	}
	closed := func(code int) {
		t.Helper()
		for name, l := range clients {
			if x := l.until(func(x said) bool { return x.Closed != 0 }); x.Closed != code {
				t.Errorf("%s was closed with %d, want %d", name, x.Closed, code)
			}
			l.until(func(x said) bool { return x.Ack != nil })
		}
	}
	change("before")
	if err := one.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	closed(1012)
	change("after the deploy")
	eventually(t, "the last node is settled", func() bool { return time.Since(three.started()) > 7*time.Second })
	if err := two.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	closed(1006)
	change("after the crash")
	// Past the killed node's burial.
	wait(t, 8*time.Second)
	change("at the end")
	for len(dave) > 0 {
		if r := <-dave; strings.Contains(r.String(), `"offline"`) {
			t.Error("told of an absence that was none:", r)
		}
	}
}

// TestRefusalsReachTheApplicationThroughEachLibrary: with our code, the field
// and whether to try again, over the socket and over HTTP.
func TestRefusalsReachTheApplicationThroughEachLibrary(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t))
	unknown := `subscription { presenceWindow(channelId: "` + demo.Team.String() + `") { snapshot } }`
	for _, name := range []string{"graphql-ws", "apollo", "urql", "sse", "subscriptions-transport-ws"} {
		l := n.library(name, demo.Frank) // not of the team
		id := l.send("subscribe", unknown)
		x := l.until(func(x said) bool { return x.ID == id })
		if len(x.Errors) != 1 || x.Errors[0].Extensions["code"] != "access-denied" {
			t.Errorf("%s: a channel one is not of: %s", name, x.result)
		}
		id = l.send("run", `mutation { setCustomStatus(input: { text: "`+strings.Repeat("x", 300)+`" }) { status } }`)
		x = l.until(func(x said) bool { return x.ID == id })
		if len(x.Errors) != 1 || x.Errors[0].Extensions["field"] != "input.text" || x.Errors[0].Extensions["retryable"] != false {
			t.Errorf("%s: a long text: %s", name, x.result)
		}
		if b, err := json.Marshal(x.Data); err != nil || strings.Contains(string(b), "xxx") {
			t.Errorf("%s: %s %v", name, b, err)
		}
	}
}
