package e2e

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// client is one of a library's, at the one endpoint.
func (d *doored) client(name string, user uuid.UUID) *library {
	d.t.Helper()
	return d.script("client.mjs", name, d.base+throughDoor, token(d.t, user))
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
			if x := c.run(`mutation { add(into: "items", text: "second") }`); !strings.Contains(x.String(), `"add":2`) {
				t.Fatal(x.result)
			}
			c.sees(theirs, `"second"`)
			for i, code := range []int{1012, 1000, 0} {
				d.h.Close(code, "Server state changed, restarting the server")
				text := []string{"third", "fourth", "fifth"}[i]
				d.insert(text)
				// The next thing it hears is the news: no error, no end, and nothing twice.
				if x := c.until(func(said) bool { return true }); x.ID != theirs || x.End || len(x.Errors) > 0 || !strings.Contains(x.String(), text) {
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
			c.send("stop", "")
		})
	}
}
