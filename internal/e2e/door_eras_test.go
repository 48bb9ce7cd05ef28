package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/demo"
	behind "github.com/nself-org/nchat-realtime/internal/door/double"
)

// TestClientsInEveryEra: whatever Hasura's version does, unmodified clients get results,
// errors and large frames, stop what they started, go on after losses, and are told
// when Hasura does not let them in.
func TestClientsInEveryEra(t *testing.T) {
	t.Parallel()
	all := []string{"apollo", "apollo-3", "urql", "graphql-ws", "subscriptions-transport-ws"}
	for what, c := range map[string]struct {
		era     behind.Era
		code    int // with which it closes when its metadata change
		kb      int
		clients []string
	}{
		"the newest":               {behind.Newest, 1012, 10 << 10, all[3:4]}, // TestClientsThroughTheDoor has them all
		"errors are texts":         {behind.Era{Refusal: 4403, Payload: behind.Text}, 0, 100, all},
		"it closes with 1000":      {behind.Era{EarlyKeepAlive: true, Refusal: 4400, Payload: behind.Object}, 1000, 100, all[3:]},
		"it resets what it leaves": {behind.Era{Refusal: 4400, Payload: behind.Object}, -1, 100, all[3:]},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d := newDoored(t, func(o *behind.Options) { o.Era = c.era }, nil)
			for _, name := range c.clients {
				d.lives(name, c.code, c.kb)
			}
		})
	}
}

// lives is a client from its first result to its refusal.
func (d *doored) lives(name string, code, kb int) {
	d.t.Helper()
	c := d.client(name, demo.Bob)
	live := c.send("subscribe", `subscription { items { id text } }`)
	c.sees(live, `"first"`)
	wrong := c.send("subscribe", `subscription { nothing { id } }`)
	c.until(func(x said) bool { return x.ID == wrong && len(x.Errors) > 0 })
	big := c.send("subscribe", fmt.Sprintf(`subscription { big(kb: %d) }`, kb))
	c.until(func(x said) bool {
		return x.ID == big && strings.Contains(x.String(), fmt.Sprintf(`{"big":%d}`, kb<<10))
	})
	c.stop(big)
	eventually(d.t, name+": what is stopped ends at Hasura", func() bool { return d.h.Doing.Load() == 1 })
	for i, lose := range []func(){
		func() { d.h.Close(code, "Server state changed, restarting the server") },
		func() { d.h.Say(`{"type":`) },
	} {
		lose()
		text := fmt.Sprintf("%s %d", name, i)
		d.insert(text)
		x := c.until(func(x said) bool { return x.ID == live || x.Closed != 0 })
		if x.Closed != 0 || x.End || len(x.Errors) > 0 || !strings.Contains(x.String(), text) {
			d.t.Fatalf("%s, after loss %d: %+v", name, i, x)
		}
	}
	d.h.Refuse(func(string) bool { return true })
	d.h.Close(code, "")
	if x := c.until(func(x said) bool { return x.Closed != 0 }); x.Closed != 4403 {
		d.t.Errorf("%s is refused with %d", name, x.Closed)
	}
	d.h.Refuse(nil)
}

// TestOurSchemaStitchedByOthers: a gateway that nobody here wrote has this server as
// its remote schema and stands behind the door. What is asked of both at once, what is
// changed and what is refused goes through all three, and comes back as news here.
func TestOurSchemaStitchedByOthers(t *testing.T) {
	t.Parallel()
	url := database(t)
	remote := inside(t, url, map[string]string{"HASURA_WEBHOOK_SECRET": hookSecret})
	others := remote.script("upstream.mjs", "upstream", remote.base+"/graphql", hookSecret)
	d := &doored{node: inside(t, url, map[string]string{"HASURA_UPSTREAM_URL": fmt.Sprintf("http://127.0.0.1:%v", others.told.Ack["port"])})}
	alice, bob := d.client("apollo-3", demo.Alice), d.client("graphql-ws", demo.Bob)
	mine, news := alice.send("subscribe", watch(demo.Bob)), bob.send("subscribe", watch(demo.Alice))
	alice.sees(mine, `"status"`)
	bob.sees(news, `"online"`)
	for c, user := range map[*library]string{alice: demo.Alice.String(), bob: demo.Bob.String()} {
		if x := c.run(`{ count myPresence { userId } }`); !strings.Contains(x.String(), `"count":0`) || !strings.Contains(x.String(), user) {
			t.Error(c.name, x.result)
		}
		refused := c.send("run", fmt.Sprintf(`mutation { acknowledgeRead(input: [{channelId: %q, messageId: %q}]) { id } }`, demo.Team, demo.Bob))
		if x := c.until(func(x said) bool { return x.ID == refused }); !strings.Contains(x.String(), `"code":"access-denied"`) {
			t.Error(c.name, x.result)
		}
	}
	alice.run(`mutation { setPresence(status: busy) { status } }`)
	bob.sees(news, `"busy"`)
	bob.run(`mutation { setPresence(status: away) { status } }`)
	alice.sees(mine, `"away"`)
	_, got := d.at(`{ __schema { subscriptionType { fields { name } } } }`)
	for _, want := range []string{"counts", "presenceChanged", "messageChanged"} {
		if !strings.Contains(got, `{"name":"`+want+`"}`) {
			t.Errorf("%s is not shown: %s", want, got)
		}
	}
}
