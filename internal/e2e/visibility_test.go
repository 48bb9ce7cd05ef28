package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// seen is a presence as a viewer was told it: the last-seen time only as
// whether there is one.
type seen struct {
	status, text string
	last         bool
}

var neverSeen = seen{status: "offline"}

type presence struct {
	UserID       string
	Status       string
	LastSeenAt   *time.Time
	CustomStatus *struct{ Text string }
}

func (p presence) seen() seen {
	s := seen{status: p.Status, last: p.LastSeenAt != nil}
	if p.CustomStatus != nil {
		s.text = p.CustomStatus.Text
	}
	return s
}

// setting is one combination of what alice may choose.
type setting struct {
	visibility       string
	status, lastSeen bool
	invisible        bool
}

// settings are all combinations, each a step away from the one before.
func settings() (all []setting) {
	for _, visibility := range []string{"everyone", "contacts", "nobody"} {
		for i := range 8 {
			gray := i ^ i>>1
			all = append(all, setting{visibility: visibility, status: gray&1 == 0, lastSeen: gray&2 == 0, invisible: gray&4 != 0})
		}
	}
	return all
}

func (s setting) mutation() string {
	return fmt.Sprintf(`mutation { updatePresenceSettings(input: { visibility: %s, showOnlineStatus: %t, showLastSeen: %t, invisibleMode: %t }) { visibility } }`,
		s.visibility, s.status, s.lastSeen, s.invisible)
}

// sees is the table of who is told what.
func (s setting) sees(who string) seen {
	switch {
	case who == "self":
		return seen{"busy", "deep work", true}
	case who == "blocked", s.visibility == "nobody", s.visibility == "contacts" && who == "stranger":
		return neverSeen
	}
	v := seen{status: "offline", text: "deep work", last: s.lastSeen}
	if s.status && !s.invisible {
		v.status = "busy"
	}
	return v
}

// viewer is one client that watches alice.
type viewer struct {
	who  string
	user uuid.UUID
	l    *library
	id   string
	last seen
	told int
	want int
}

// hear takes in what has come since.
func (v *viewer) hear(t *testing.T) {
	t.Helper()
	for {
		select {
		case x := <-v.l.out:
			if len(x.Errors) > 0 || x.End || x.Closed != 0 {
				t.Fatalf("%s: %+v", v.who, x)
			}
			var got struct{ PresenceChanged *presence }
			if x.ID != v.id || json.Unmarshal(x.Data, &got) != nil || got.PresenceChanged == nil {
				continue
			}
			p := *got.PresenceChanged
			if at := p.LastSeenAt; at != nil && v.who != "self" && !at.Equal(at.Truncate(time.Minute)) {
				t.Errorf("%s is told a last-seen time to the second: %v", v.who, at)
			}
			v.last = p.seen()
			v.told++
		default:
			return
		}
	}
}

// TestEachVisibilityToEachViewerThroughEachLibrary goes through every
// combination of settings: queries on both nodes and the streams of real
// clients say what the table says, and a stream is told of a change exactly
// once and of nothing else at all.
func TestEachVisibilityToEachViewerThroughEachLibrary(t *testing.T) {
	t.Parallel()
	url := database(t)
	env := []string{"OFFLINE_GRACE=500ms", "OPERATIONS_PER_MINUTE=100000"}
	one, two := startNode(t, url, env...), startNode(t, url, env...)
	alice := one.dial(token(t, demo.Alice))
	for _, m := range []string{`setPresence(status: busy) { status }`, `setCustomStatus(input: { text: "deep work" }) { status }`,
		`setInvisibleMode(enabled: true) { id }`} {
		if r := alice.run(`mutation { ` + m + ` }`); len(r.Errors) > 0 {
			t.Fatal(r)
		}
	}
	ask := `{ presence(userId: "` + demo.Alice.String() + `") { userId status lastSeenAt customStatus { text } } }`
	asks := func(n *node, user uuid.UUID) seen {
		var got struct{ Presence presence }
		if r := n.post(ask, bearer(token(t, user))); json.Unmarshal(r.Data, &got) != nil || len(r.Errors) > 0 {
			t.Fatal(r)
		}
		return got.Presence.seen()
	}
	eventually(t, "a last-seen time", func() bool { return asks(two, demo.Bob).last })
	if r := alice.run(`mutation { setInvisibleMode(enabled: false) { id } }`); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	viewers := []*viewer{
		{who: "self", user: demo.Alice, l: two.library("apollo", demo.Alice)},
		{who: "contact", user: demo.Bob, l: two.library("graphql-ws", demo.Bob)},
		{who: "contact", user: demo.Carol, l: one.library("urql", demo.Carol)},
		{who: "stranger", user: demo.Dave, l: two.library("apollo", demo.Dave)},
		{who: "stranger", user: demo.Frank, l: two.library("sse", demo.Frank)},
		{who: "contact", user: demo.Bob, l: one.library("subscriptions-transport-ws", demo.Bob)},
		{who: "blocked", user: demo.Erin, l: two.library("urql", demo.Erin)},
	}
	all := settings()
	for _, v := range viewers {
		v.id = v.l.send("subscribe", watch(demo.Alice))
		v.want = 1
		eventually(t, v.who+"'s snapshot", func() bool { v.hear(t); return v.told == 1 })
		if v.last != all[0].sees(v.who) {
			t.Fatalf("%s's snapshot is %+v", v.who, v.last)
		}
	}
	for i, s := range all {
		if r := alice.run(s.mutation()); len(r.Errors) > 0 {
			t.Fatal(r)
		}
		for _, v := range viewers {
			want := s.sees(v.who)
			if i > 0 && want != all[i-1].sees(v.who) {
				v.want++
			}
			name := fmt.Sprintf("%+v: %s (%s)", s, v.who, v.l.name)
			eventually(t, name+" is told", func() bool { v.hear(t); return v.told >= v.want && v.last == want })
			for _, n := range []*node{one, two} {
				eventually(t, name+" asks", func() bool { return asks(n, v.user) == want })
			}
		}
	}
	wait(t, 2*time.Second)
	for _, v := range viewers {
		// Who looks at itself sees its last-seen time move to the second.
		if v.hear(t); v.told != v.want && v.who != "self" {
			t.Errorf("%s (%s) was told %d times, of %d changes", v.who, v.l.name, v.told, v.want)
		}
	}
	if len(all) != 24 || strings.Contains(fmt.Sprint(viewers[len(viewers)-1].last), "busy") {
		t.Error(len(all), viewers[len(viewers)-1].last)
	}
}
