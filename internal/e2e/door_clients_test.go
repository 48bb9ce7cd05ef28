package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	behind "github.com/nself-org/nchat-realtime/internal/door/double"
)

// client is one of a library's, at the one endpoint.
func (d *doored) client(name string, user uuid.UUID) *library {
	d.t.Helper()
	return d.script("client.mjs", name, d.base+throughDoor, token(d.t, user))
}

// changes runs a mutation and waits for its answer and for what a subscription is
// told of it, whichever comes first.
func (l *library) changes(query, id, text string) {
	l.t.Helper()
	ran := l.send("run", query)
	seen := map[string]bool{}
	l.until(func(x said) bool {
		if len(x.Errors) > 0 {
			l.t.Fatalf("%s: %s", l.name, x.result)
		}
		seen[ran] = seen[ran] || x.ID == ran && len(x.Data) > 4
		seen[id] = seen[id] || x.ID == id && strings.Contains(x.String(), text)
		return seen[ran] && seen[id]
	})
}

// TestClientsThroughTheDoor: unmodified clients, each over one socket and at one
// URL, live through changes of Hasura's metadata without seeing any.
func TestClientsThroughTheDoor(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"apollo", "apollo-3", "urql", "graphql-ws", "subscriptions-transport-ws"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoored(t, nil, nil)
			c := d.client(name, demo.Bob)
			ours := c.send("subscribe", watch(demo.Alice))
			c.sees(ours, `"offline"`)
			theirs := c.send("subscribe", `subscription { items { id text } }`)
			c.sees(theirs, `"first"`)
			if x := c.run(`{ items { text } }`); !strings.Contains(x.String(), `"first"`) {
				t.Fatal(x.result)
			}
			c.changes(`mutation { add(into: "items", text: "second") }`, theirs, `"second"`)
			for i, code := range []int{1012, 1000, 0} {
				d.h.Close(code, "Server state changed, restarting the server")
				text := []string{"third", "fourth", "fifth"}[i]
				d.insert(text)
				// The next thing it hears is the news: no error, no end, and nothing twice.
				if x := c.until(func(x said) bool { return x.ID == theirs }); x.End || len(x.Errors) > 0 || !strings.Contains(x.String(), text) {
					t.Fatalf("after %d: %+v", code, x)
				}
			}
			alice := d.open()
			if r := alice.run(`mutation { heartbeat(input: {active: true}) { id } }`); len(r.Errors) > 0 {
				t.Fatal(r)
			}
			c.sees(ours, `"online"`)
			both := c.send("subscribe", `subscription { items { id } presenceSettingsChanged { visibility } }`)
			x := c.until(func(x said) bool { return x.ID == both && len(x.Errors) > 0 })
			if !strings.Contains(x.String(), "two servers") {
				t.Fatal(x.result)
			}
			log := c.send("subscribe", `subscription { items_stream(batch_size: 10, cursor: {initial_value: {id: 0}}) { id text } }`)
			c.sees(log, `"fifth"`)
			d.h.Close(1012, "")
			x = c.until(func(x said) bool { return x.ID == log && len(x.Errors) > 0 })
			if !strings.Contains(x.String(), "Hasura went away") {
				t.Fatal(x.result)
			}
			c.stop(theirs)
			eventually(t, "what is stopped ends at Hasura", func() bool { return d.h.Doing.Load() == 0 })
		})
	}
}

// TestWhatCodeGeneratorsSee: graphql-js, which they are made of, takes the schema
// of both and holds documents of both to it.
func TestWhatCodeGeneratorsSee(t *testing.T) {
	t.Parallel()
	d := newDoored(t, func(o *behind.Options) { o.Schema = shown(t, hasuraSDL) }, nil)
	g := d.script("schema.mjs", "codegen", d.base+throughDoor, token(t, demo.Alice))
	for query, valid := range map[string]bool{
		`subscription { presenceChanged(userIds: ["x"]) { userId status } }`:                             true,
		`subscription S($c: uuid!) { items { id text } x: typingChanged(channelId: $c) { __typename } }`: false,
		`subscription { items { id text } }`:                                                             true,
		`query { items { id } }`:                                                                         true,
		`subscription { messageChanged(channelId: "x") { __typename } }`:                                 false, // at odds
		`query { presenceChanged(userIds: []) { userId } }`:                                              false,
	} {
		id := g.send("", query)
		x := g.until(func(x said) bool { return x.ID == id })
		if got := strings.Contains(x.String(), `"valid":true`); got != valid {
			t.Errorf("%s: %s", query, x.result)
		}
	}
}

// TestExamples: those in examples/hasura run as they are.
func TestExamples(t *testing.T) {
	t.Parallel()
	d := newDoored(t, nil, nil)
	if _, err := d.pool.Exec(t.Context(), `create view nchat_messages_aggregate as select 1 as id, 7 as count`); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	for _, name := range []string{"apollo.mjs", "urql.mjs"} {
		text, err := os.ReadFile("../../examples/hasura/" + name)
		if err != nil {
			t.Fatal(err)
		}
		dir := besideClients(t)
		// The double's rows have no aggregate around them.
		text = []byte(strings.ReplaceAll(string(text), "aggregate { count }", "count"))
		if err := os.WriteFile(dir+"/"+name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		// They are for browsers and Node 22; an older Node has no WebSocket of its own.
		if err := os.WriteFile(dir+"/socket.mjs", []byte(`import WebSocket from "ws"; globalThis.WebSocket ??= WebSocket;`), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "node", "--import", "./socket.mjs", name)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "URL="+d.base+throughDoor, "TOKEN="+token(t, demo.Alice))
		out := &logged{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		eventually(t, name+" shows both", func() bool {
			return strings.Contains(out.String(), `"status":"online"`) && strings.Contains(out.String(), `"count":7`)
		})
		_ = cmd.Process.Kill()
		<-ended
	}
}

// TestCodegen: GraphQL Code Generator, as examples/hasura configures it, writes types of
// both servers from the one schema, and takes the examples' own documents for it.
func TestCodegen(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	sdl := strings.Replace(hasuraSDL, "type subscription_root {", `type counted { count: Int! }
type nchat_messages_aggregate { aggregate: counted }
type subscription_root { nchat_messages_aggregate: nchat_messages_aggregate!`, 1)
	d := newDoored(t, func(o *behind.Options) { o.Schema = shown(t, sdl) }, nil)
	dir := besideClients(t)
	if err := os.CopyFS(dir, os.DirFS("../../examples/hasura")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "../../node_modules/.bin/graphql-codegen", "--config", "codegen.ts")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "URL="+d.base+throughDoor, "TOKEN="+token(t, demo.Alice))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(dir + "/gql/graphql.ts")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"export type MineSubscription ", "export type MessagesSubscription ", "shownStatus", "nchat_messages_aggregate"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%.3000s", want, text)
		}
	}
}

// TestAnUpstreamOfOthers: behind the door stands graphql-ws' own server with a
// schema that graphql-tools stitched. Its loss is seen by nobody either.
func TestAnUpstreamOfOthers(t *testing.T) {
	t.Parallel()
	url := database(t)
	up := &node{t: t}
	others := up.script("upstream.mjs", "upstream")
	n := inside(t, url, map[string]string{"HASURA_UPSTREAM_URL": fmt.Sprintf("http://127.0.0.1:%v", others.told.Ack["port"])})
	d := &doored{node: n}
	sockets, ups := 0, 0
	dialled := func() {
		t.Helper()
		sockets++
		others.until(func(x said) bool { return x.ID == fmt.Sprint(sockets) })
	}
	for _, name := range []string{"graphql-ws", "apollo-3"} {
		c := d.client(name, demo.Bob)
		ours, theirs := c.send("subscribe", watch(demo.Alice)), c.send("subscribe", `subscription { counts }`)
		seen := map[string]bool{}
		c.until(func(x said) bool { seen[x.ID] = seen[x.ID] || len(x.Data) > 4; return seen[ours] && seen[theirs] })
		dialled()
		if x := c.run(`{ hello count }`); !strings.Contains(x.String(), `"hello":"world"`) {
			t.Fatal(x.result)
		}
		for range 2 {
			if _, err := others.in.Write([]byte("lose\n")); err != nil {
				t.Fatal(err)
			}
			dialled()
			ups++
			c.changes(`mutation { up }`, theirs, fmt.Sprintf(`{"counts":%d}`, ups))
		}
		if _, got := d.at(`{ __schema { subscriptionType { name fields { name } } } }`); !strings.Contains(got, `{"name":"counts"}`) || !strings.Contains(got, `{"name":"presenceChanged"}`) {
			t.Error("one schema:", got)
		}
	}
}
