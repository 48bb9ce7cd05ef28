package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// person is what a user has chosen, and where it is connected.
type person struct {
	id        uuid.UUID
	tok       string
	manual    string
	nobody    bool // visibility
	invisible bool
	blocks    map[uuid.UUID]bool
	socks     map[*sock]*node
}

// shownTo is the model: what v sees of p.
func (p *person) shownTo(v uuid.UUID) string {
	switch {
	case p.id != v && (p.nobody || p.invisible || p.blocks[v]), len(p.socks) == 0:
		return "offline"
	case p.manual != "":
		return p.manual
	}
	return "online"
}

// town is six people on a changing set of nodes, doing things at random.
type town struct {
	t      *testing.T
	rng    *rand.Rand
	nodes  []*node
	people []*person
	done   []string
}

func (c *town) anywhere() *node { return c.nodes[c.rng.IntN(len(c.nodes))] }

// asks sends a mutation by any node, or by one of the user's own sockets.
func (c *town) asks(p *person, mutation string) {
	c.t.Helper()
	query := `mutation { ` + mutation + ` }`
	var r result
	if len(p.socks) > 0 && c.rng.IntN(2) == 0 {
		for s := range p.socks {
			r = s.run(query)
			break
		}
	} else {
		r = c.anywhere().post(query, bearer(p.tok))
	}
	if len(r.Errors) > 0 {
		c.t.Fatal(mutation, r)
	}
}

func (c *town) step() {
	c.t.Helper()
	p := c.people[c.rng.IntN(len(c.people))]
	what := ""
	switch c.rng.IntN(9) {
	case 0, 1:
		n := c.anywhere()
		p.socks[n.dial(p.tok)] = n
		what = "connects"
	case 2, 3:
		for s := range p.socks {
			abort(s)
			delete(p.socks, s)
			what = "is cut off"
			break
		}
	case 4:
		status := []string{"online", "away", "busy"}[c.rng.IntN(3)]
		c.asks(p, `setPresence(status: `+status+`) { status }`)
		if p.manual = status; status == "online" {
			p.manual = ""
		}
		what = "is " + status
	case 5:
		p.invisible = !p.invisible
		c.asks(p, fmt.Sprintf(`setInvisibleMode(enabled: %t) { id }`, p.invisible))
		what = fmt.Sprint("invisible ", p.invisible)
	case 6:
		p.nobody = !p.nobody
		visibility := map[bool]string{true: "nobody", false: "everyone"}[p.nobody]
		c.asks(p, `updatePresenceSettings(input: { visibility: `+visibility+` }) { id }`)
		what = "shows itself to " + visibility
	case 7:
		other := c.people[c.rng.IntN(len(c.people))]
		if other == p {
			return
		}
		verb := "blockUser"
		if p.blocks[other.id] {
			verb = "unblockUser"
		}
		p.blocks[other.id] = !p.blocks[other.id]
		c.asks(p, fmt.Sprintf(`%s(userId: %q)`, verb, other.id))
		what = verb + " " + other.id.String()
	case 8:
		c.asks(p, fmt.Sprintf(`setCustomStatus(input: { text: "%d" }) { status }`, c.rng.IntN(1000)))
		what = "writes its line"
	}
	c.done = append(c.done, p.id.String()[35:]+" "+what)
}

// loses kills a node, with all that was connected to it.
func (c *town) loses(n *node) {
	c.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	<-n.done
	c.nodes = slices.DeleteFunc(c.nodes, func(m *node) bool { return m == n })
	for _, p := range c.people {
		for s, at := range p.socks {
			if at == n {
				delete(p.socks, s)
			}
		}
	}
	c.done = append(c.done, "a node is killed")
}

// onlooker is a person's stream on one node, by a socket that does not count.
type onlooker struct {
	sock *sock
	of   *person
	at   *node
	sub  <-chan result
	last map[string]string
}

// fields are those that watch asks for, so that the two compare as text.
const fields = `{ userId status lastSeenAt customStatus { text } }`

func (o *onlooker) hear(t *testing.T) {
	t.Helper()
	for len(o.sub) > 0 {
		var got struct{ PresenceChanged json.RawMessage }
		var p presence
		r := <-o.sub
		if json.Unmarshal(r.Data, &got) != nil || json.Unmarshal(got.PresenceChanged, &p) != nil || len(r.Errors) > 0 {
			t.Fatal(r)
		}
		if o.last[p.UserID] == string(got.PresenceChanged) {
			t.Errorf("told twice of the same: %s", got.PresenceChanged)
		}
		o.last[p.UserID] = string(got.PresenceChanged)
	}
}

// wrong says where the onlooker's stream, a fresh answer on its node and the
// model differ; "": nowhere.
func (o *onlooker) wrong(c *town) string {
	c.t.Helper()
	select {
	case e := <-o.sock.closed:
		c.t.Fatal("a stream's socket was closed: ", e)
	default:
	}
	o.hear(c.t)
	if o.sock.ended(o.sub) {
		c.t.Fatal("a stream has ended")
	}
	ids := make([]string, len(c.people))
	for i, p := range c.people {
		ids[i] = `"` + p.id.String() + `"`
	}
	var got struct{ Presences []json.RawMessage }
	r := o.at.post(`{ presences(userIds: [`+strings.Join(ids, ",")+`]) `+fields+` }`, bearer(o.of.tok))
	if json.Unmarshal(r.Data, &got) != nil || len(got.Presences) != len(c.people) {
		c.t.Fatal(r)
	}
	for i, p := range c.people {
		answer, streamed, want := string(got.Presences[i]), o.last[p.id.String()], p.shownTo(o.of.id)
		if answer != streamed || !strings.Contains(answer, `"status":"`+want+`"`) {
			return fmt.Sprintf("%s of %s: answered %s, streamed %s, should be %s", o.of.id, p.id, answer, streamed, want)
		}
	}
	return ""
}

// TestStreamsAnswersAndModelAgreeInTheEnd: whatever people do on whichever
// node, and though one is killed and one joins, everybody's stream on every
// node ends at what a fresh answer says, which is what was chosen.
func TestStreamsAnswersAndModelAgreeInTheEnd(t *testing.T) {
	t.Parallel()
	url := database(t)
	env := []string{"OFFLINE_GRACE=300ms", "OPERATIONS_PER_MINUTE=100000", "MAX_SOCKETS_PER_USER=1000", "MAX_SOCKETS_PER_IP=1000"}
	doomed, stays := startNode(t, url, env...), startNode(t, url, env...)
	c := &town{t: t, rng: rand.New(rand.NewPCG(20, 26)), nodes: []*node{doomed, stays}}
	for i := range 6 {
		id := demo.User(i + 1)
		c.people = append(c.people, &person{id: id, tok: token(t, id), blocks: map[uuid.UUID]bool{}, socks: map[*sock]*node{}})
	}
	c.people[0].blocks[demo.Erin] = true
	var on []*onlooker
	look := func(n *node) {
		for _, p := range c.people {
			s := n.dial(p.tok, map[string]any{"presence": false})
			sub := s.start(watch(demo.Alice, demo.Bob, demo.Carol, demo.Dave, demo.Erin, demo.Frank))
			on = append(on, &onlooker{of: p, at: n, sock: s, sub: sub, last: map[string]string{}})
		}
	}
	agree := func(when string) {
		t.Helper()
		why := ""
		defer func() {
			if t.Failed() {
				t.Logf("%s: %s\nafter %s", when, why, strings.Join(c.done, "; "))
				for _, o := range on {
					if w := o.wrong(c); w != "" {
						t.Logf("by %s: %s", o.at.base, w)
					}
				}
				for _, n := range c.nodes {
					t.Logf("the node at %s, and where each of its goroutines is:\n%s", n.base, n.stacks())
				}
			}
		}()
		eventually(t, when+" all agree", func() bool {
			for _, o := range on {
				if why = o.wrong(c); why != "" {
					return false
				}
			}
			return true
		})
	}
	rounds := func(n int, when string) {
		t.Helper()
		for range n {
			for range 30 {
				c.step()
			}
			agree(when)
		}
	}
	look(stays)
	rounds(4, "on two nodes")
	joins := startNode(t, url, env...)
	c.nodes = append(c.nodes, joins)
	look(joins)
	rounds(2, "on three nodes")
	settled(t, joins)
	c.loses(doomed)
	rounds(2, "after one was killed")
	for _, p := range c.people { // everybody comes out: only blocks hide
		p.invisible, p.nobody = false, false
		c.asks(p, `updatePresenceSettings(input: { visibility: everyone, invisibleMode: false }) { id }`)
		p.socks[c.anywhere().dial(p.tok)] = stays
	}
	agree("with only blocks left")
}
