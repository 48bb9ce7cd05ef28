package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// samplesOfACost are taken of each read at least, and mostSamples where those are not as is to be.
const (
	samplesOfACost = 4
	mostSamples    = 80
)

// TestWhatIsHiddenCostsNothing: each question of TestNoninterference, and each stream that begins
// with a picture, asks Postgres for as much where hidden users do all they can as where they do
// nothing: as many statements, which are what an answer waits for, and as many rows. So
// there is nothing that time could tell but what Postgres does within a statement.
//
// It is counted on the wire between a whole server and Postgres; what the server does there of
// itself counts too. So each is asked of both worlds in turn until the fewest of each are
// the same, however busy the machine is: what costs more in one world never costs as little as in the other.
func TestWhatIsHiddenCostsNothing(t *testing.T) {
	whole(t)
	db := pgtest.NewURL(t)
	wire, url := pgtest.NewWire(t, db)
	nodes := []*node{inside(t, url, map[string]string{"OFFLINE_GRACE": "0s", "IDLE_AFTER": "1h", "OPERATIONS_PER_MINUTE": "1000000", "FRAMES_PER_SECOND": "10000"})}
	worlds := make([]*world, 2)
	for i := range worlds {
		worlds[i] = newWorld(t, nodes, i, 1)
	}
	populate(t, pgtest.Pool(t, db), worlds)
	for _, w := range worlds {
		w.settleIn()
	}
	busy := worlds[1].doAll()
	for _, w := range worlds { // a stream that begins has its viewer's own record read beside it, unless another holds that: sometimes before its first picture, sometimes after
		text := streams[streamAt("presence")].text
		next(t, w.viewer.startWith(text, w.given(text, map[string]any{"all": []uuid.UUID{w.user(theViewer)}})))
	}
	asks := func(text string) [2]func() {
		return [2]func(){func() { worlds[0].askOnce(text) }, func() { worlds[1].askOnce(text) }}
	}
	for _, text := range slices.Concat(questions, []string{streams[streamAt("presence")].text, streams[streamAt("window")].text, streams[streamAt("typing")].text}) {
		least, same := fewest(wire, asks(text), func() {
			if strings.Contains(text, "typing") {
				busy()
			}
		}, func(quiet, busy pgtest.Work) bool { return quiet == busy })
		if !same || least[0].Statements == 0 {
			t.Errorf("where nothing hidden happens %+v, where something does %+v: %s", least[0], least[1], text)
		}
	}
	// The measure sees what it is for: whoever may be seen typing is asked for by name.
	text := streams[streamAt("typing")].text
	seen, more := fewest(wire, asks(text), func() {
		worlds[1].friend.runWith(`mutation($c: uuid!) { startTyping(room: {channelId: $c}) { accepted } }`, worlds[1].given("$c", nil))
	}, func(quiet, busy pgtest.Work) bool {
		return busy.Statements > quiet.Statements && busy.Rows > quiet.Rows
	})
	if !more {
		t.Errorf("where nobody types %+v, where the friend does %+v", seen[0], seen[1])
	}
}

// fewest are the least that either of two took, after before; ok: they became as is to be.
func fewest(wire *pgtest.Wire, do [2]func(), before func(), is func(a, b pgtest.Work) bool) (least [2]pgtest.Work, ok bool) {
	for n := range mostSamples {
		for i := range do {
			before()
			took := wire.During(do[i])
			if n > 0 {
				took = took.Least(least[i])
			}
			least[i] = took
		}
		if n+1 >= samplesOfACost && is(least[0], least[1]) {
			return least, true
		}
	}
	return least, false
}

// settleIn is what happens in both worlds: the viewer has written, and the friend has read it.
func (w *world) settleIn() {
	w.t.Helper()
	w.friend, w.viewer = w.nodes[0].dial(token(w.t, w.user(theFriend))), w.nodes[0].dial(token(w.t, w.user(theViewer)))
	w.choose()
	w.vars["h"] = w.user(firstHidden)
	w.vars["m"] = w.sent(w.viewer.runWith, "one")
	w.vars["tm"] = w.sentIn(w.viewer.runWith, "t", "in the thread")
	w.friendDoes("here", "online")
	w.stand()
}

// doAll has the hidden do one of each; what it answers has them type, as often as may be.
func (w *world) doAll() func() {
	w.t.Helper()
	typing, thread := typist[0], typist[5]
	var open []*sock
	for g, why := range reasons {
		user := w.groups[0].first + g
		s := w.nodes[0].dial(w.token(user))
		open = append(open, s)
		for i, act := range []string{comings[0], comings[2], lines[0], reads[0], reads[1], reads[4], elsewhere[0], elsewhere[1], typing, thread} {
			if !slices.Contains(why.acts, act) {
				continue
			}
			text := mutation(act)
			r := s.runWith(text, w.given(text, map[string]any{"key": fmt.Sprint("h", i)}))
			if len(r.Errors) > 0 {
				w.t.Fatal(act, r)
			}
			w.secret(r)
		}
	}
	return func() {
		for _, s := range open {
			s.runWith(mutation(typing, thread), w.given("$c $t", nil))
		}
	}
}

// askOnce puts a question, or begins a stream up to its first picture and ends it.
func (w *world) askOnce(text string) {
	w.t.Helper()
	sub := w.viewer.startWith(text, w.given(text, nil))
	w.valid(next(w.t, sub))
	if strings.HasPrefix(text, "subscription") {
		w.viewer.mu.Lock()
		id := fmt.Sprint(w.viewer.next)
		w.viewer.mu.Unlock()
		w.viewer.write(map[string]any{"id": id, "type": "complete"})
	}
}
