package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestTypingIsWorkForEachPicture: while nobody types a hundred subscriptions are not
// one goroutine; somebody who begins to is executed once for all who see the same; and
// those who may see less are told what they may see, and nothing where that is nothing.
func TestTypingIsWorkForEachPicture(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t), "MAX_OPERATIONS_PER_SOCKET=100")
	alice, carol := n.dial(token(t, demo.Alice)), n.dial(token(t, demo.Carol))
	if r := alice.run(`mutation { updatePresenceSettings(input: {typingVisibility: contacts}) { id } }`); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	people := map[uuid.UUID]*sock{demo.Bob: n.dial(token(t, demo.Bob)), demo.Dave: n.dial(token(t, demo.Dave))}
	base, _ := n.goroutines()
	told := map[uuid.UUID][]<-chan result{}
	for who, s := range people {
		for range 50 {
			told[who] = append(told[who], s.start(typing(inChannel(demo.General))))
		}
	}
	for _, list := range told {
		for _, c := range list {
			if r := next(t, c); !strings.Contains(r.String(), `"totalCount":0`) {
				t.Fatal("it begins with", r)
			}
		}
	}
	n.rests(base)
	executed := func() float64 { return n.metric("realtime_events_executed_total", "") }
	before, began := executed(), time.Now()
	costs := func(what string, want float64) {
		t.Helper()
		// On a slow machine there are a few more pictures: of one that stops and begins again meanwhile,
		// or whose beginning some learned of later than others. Of each subscriber there would be a hundred.
		if cost := executed() - before; cost < want || cost > 3*want && (time.Since(began) < 4*time.Second || cost > 10) {
			t.Errorf("%s, which is executed %v times, want %v", what, cost, want)
		}
	}
	alice.run(startTyping(inChannel(demo.General)))
	for _, c := range told[demo.Bob] {
		until(t, c, `"Alice is typing..."`)
	}
	costs("fifty are told that one types", 1)
	for _, c := range told[demo.Dave] {
		if len(c) > 0 {
			t.Fatal("who may not see it is told", next(t, c))
		}
	}
	carol.run(startTyping(inChannel(demo.General)))
	for _, c := range told[demo.Dave] {
		if r := next(t, c); !strings.Contains(r.String(), `"Carol is typing..."`) || strings.Contains(r.String(), demo.Alice.String()) {
			t.Fatal("who may see one of two is told", r)
		}
	}
	for _, c := range told[demo.Bob] {
		until(t, c, demo.Carol.String())
	}
	costs("a hundred are told of another, half of them of both", 3)
}

// rests waits until no more goroutines than base run in our code.
func (n *node) rests(base int) {
	n.t.Helper()
	profile, rests := "", false
	defer func() {
		if !rests {
			n.t.Log(profile)
		}
	}()
	eventually(n.t, fmt.Sprintf("no more than %d goroutines", base), func() bool {
		var now int
		now, profile = n.goroutines()
		rests = now <= base
		return rests
	})
}
