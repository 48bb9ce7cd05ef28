package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// library is one JavaScript client, in a Node process of its own.
type library struct {
	t    testing.TB
	name string
	in   io.WriteCloser
	ids  int
	told said // what it said when it was ready
	out  chan said
}

type said struct {
	result
	ID     string
	Ready  bool
	End    bool
	Closed int
	Ack    map[string]any
}

// library starts a client on this node; on the others when it is closed there.
func (n *node) library(name string, user uuid.UUID, others ...*node) *library {
	n.t.Helper()
	at := n.base + "/graphql"
	for _, o := range others {
		at += "," + o.base + "/graphql"
	}
	return n.script("client.mjs", name, at, token(n.t, user))
}

// script runs a program of clients/ and waits until it says that it is ready.
func (n *node) script(args ...string) *library {
	n.t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		n.t.Skip("node is not installed")
	}
	if _, err := os.Stat("clients/node_modules"); err != nil {
		n.t.Fatal("the clients' packages are not installed: .ci/setup does it")
	}
	cmd := exec.Command("node", args...)
	cmd.Dir = "clients"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	l := &library{t: n.t, name: args[1], in: in, out: make(chan said, 1024)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := bufio.NewScanner(pipe)
		for s.Scan() {
			var x said
			if json.Unmarshal(s.Bytes(), &x) == nil {
				l.out <- x
			}
		}
		_ = cmd.Wait()
	}()
	n.t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	l.told = l.until(func(x said) bool { return x.Ready })
	return l
}

func (l *library) send(what, query string) string {
	l.t.Helper()
	l.ids++
	id := fmt.Sprint(l.ids)
	line, err := json.Marshal(map[string]string{"do": what, "id": id, "query": query})
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.in.Write(append(line, '\n')); err != nil {
		l.t.Fatal(err)
	}
	return id
}

// stop stops what was sent under an id.
func (l *library) stop(id string) {
	l.t.Helper()
	if _, err := fmt.Fprintf(l.in, `{"do":"stop","id":%q}`+"\n", id); err != nil {
		l.t.Fatal(err)
	}
}

func (l *library) until(ok func(said) bool) said {
	l.t.Helper()
	end := time.After(patient)
	for {
		select {
		case x := <-l.out:
			if ok(x) {
				return x
			}
		case <-end:
			l.t.Fatal(l.name + ": nothing came")
		}
	}
}

// sees waits until a subscription is told of a status.
func (l *library) sees(id, text string) said {
	l.t.Helper()
	return l.until(func(x said) bool {
		if len(x.Errors) > 0 {
			l.t.Fatalf("%s: %s", l.name, x.result)
		}
		if x.ID == id && strings.Contains(text, "here") && !strings.Contains(x.String(), `"offline"`) && strings.Contains(x.String(), text) {
			l.t.Fatalf("%s sees a status that is not shown: %s", l.name, x.result)
		}
		return x.ID == id && strings.Contains(x.String(), text)
	})
}

func (l *library) run(query string) said {
	l.t.Helper()
	id := l.send("run", query)
	x := l.until(func(x said) bool { return x.ID == id })
	if len(x.Errors) > 0 {
		l.t.Fatalf("%s: %s: %s", l.name, query, x.result)
	}
	return x
}

// TestClientsOfAllLibraries: whoever uses graphql-ws, Apollo Client, urql or
// graphql-sse, on whichever node, sees snapshot and then changes, and of a
// hidden user what its settings allow.
func TestClientsOfAllLibraries(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := startNode(t, url), startNode(t, url)
	alice := one.library("apollo", demo.Alice)
	mine := alice.send("subscribe", `subscription { myPresenceChanged { status shownStatus invisible } }`)
	alice.sees(mine, `"status":"online"`)

	viewers := map[string]*library{ // each of another library, on the other node
		"contact":  two.library("graphql-ws", demo.Bob),
		"listed":   two.library("urql", demo.Carol),
		"stranger": two.library("apollo", demo.Dave),
		"blocked":  one.library("graphql-ws", demo.Erin),
		"sse":      one.library("sse", demo.Frank),
	}
	subs := map[string]string{}
	for who, l := range viewers {
		subs[who] = l.send("subscribe", watch(demo.Alice))
		want := `"online"`
		if who == "blocked" {
			want = `"offline"`
		}
		l.sees(subs[who], want)
	}
	expect := func(text string, who ...string) {
		t.Helper()
		for _, w := range who {
			viewers[w].sees(subs[w], text)
		}
	}
	alice.run(`mutation { setPresence(status: busy) { status } }`)
	expect(`"busy"`, "contact", "listed", "stranger", "sse")

	alice.run(`mutation { updatePresenceSettings(input: { visibility: contacts }) { visibility } }`)
	expect(`"offline"`, "stranger", "sse")
	alice.run(`mutation { setPresence(status: away) { status } }`)
	expect(`"away"`, "contact", "listed")

	alice.run(`mutation { updatePresenceSettings(input: { visibility: nobody }) { visibility } }`)
	expect(`"offline"`, "contact", "listed")
	alice.run(`mutation { updatePresenceSettings(input: { visibility: everyone, showOnlineStatus: false }) { visibility } }`)
	alice.run(`mutation { setCustomStatus(input: { text: "here" }) { status } }`)
	expect(`"here"`, "contact", "listed", "stranger", "sse")

	alice.run(`mutation { updatePresenceSettings(input: { showOnlineStatus: true }) { visibility } }`)
	expect(`"away"`, "contact", "listed", "stranger", "sse")
	alice.run(`mutation { setInvisibleMode(enabled: true) { invisibleMode } }`)
	expect(`"lastSeenAt":"2`, "contact", "listed", "stranger", "sse")
	alice.sees(mine, `"invisible":true`)
	alice.run(`mutation { setPresence(status: online) { status } }`)
	alice.run(`mutation { setInvisibleMode(enabled: false) { invisibleMode } }`)
	expect(`"online"`, "contact", "listed", "stranger", "sse")

	// Nothing of all this was told to the one she blocked.
	viewers["blocked"].send("run", `{ presence(userId: "`+demo.Alice.String()+`") { status lastSeenAt customStatus { text } } }`)
	x := viewers["blocked"].until(func(x said) bool { return len(x.Data) > 0 })
	if !strings.Contains(x.String(), `"presence":{"status":"offline","lastSeenAt":null,"customStatus":null}`) {
		t.Fatal("told to somebody blocked:", x.result)
	}
}
