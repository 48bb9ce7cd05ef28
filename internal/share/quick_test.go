package share

import (
	"context"
	"slices"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// TestWhoWaitsForAnEventIsWoken: one of all who meet it first has it encoded, the
// others wait; and where that one goes, the next does it.
func TestWhoWaitsForAnEventIsWoken(t *testing.T) {
	t.Parallel()
	s, members := &shape{}, []*member{{}, {}, {}}
	s.members.Store(3)
	var woken []int
	ask := func(i int) Readiness {
		_, r := s.ask(members[i], "event", func() { woken = append(woken, i) })
		return r
	}
	if ask(0) != Ask || ask(1) != Quiet || ask(2) != Quiet || ask(0) != Ask {
		t.Fatal("more than one is to have it encoded, or nobody")
	}
	s.disclaim(members[0])
	if slices.Sort(woken); !slices.Equal(woken, []int{1, 2}) {
		t.Fatal("woken:", woken)
	}
	woken = nil
	if ask(0) != Ask { // it was on its way when it was told to go
		t.Fatal("who has left waits")
	}
	if ask(1) != Ask || ask(2) != Quiet || ask(2) != Quiet {
		t.Fatal("nobody does what one left undone, or one who has left does")
	}
	p := piece{class: "event", value: nothing{}}
	e := s.bytes(p, func() *player {
		return &player{play: &play{}, ctx: t.Context(), respond: respond(`{"cursor":"` + Hole + `"}`)}
	})
	if got := string(e.appendTo(nil, "mine")); got != `{"cursor":"mine"}` || !slices.Equal(woken, []int{2}) {
		t.Fatal(got, woken)
	}
	if ask(2) != Ready {
		t.Error("it is encoded")
	}
}

// TestWhatCannotBeEncodedForAllWakesAll, once: each has it executed.
func TestWhatCannotBeEncodedForAllWakesAll(t *testing.T) {
	t.Parallel()
	s, a, b := &shape{}, &member{}, &member{}
	s.members.Store(2)
	woken := 0
	if _, r := s.ask(a, 1, nil); r != Ask {
		t.Fatal(r)
	}
	if _, r := s.ask(b, 1, func() { woken++ }); r != Quiet {
		t.Fatal(r)
	}
	failing := func() *player {
		return &player{play: &play{}, ctx: t.Context(), respond: failed}
	}
	if s.bytes(piece{class: 1, value: nothing{}}, failing) != nil || woken != 1 {
		t.Fatal("woken", woken)
	}
	if _, r := s.ask(b, 1, nil); r != Ask {
		t.Error("it waits for what will not come:", r)
	}
	if s.claims[1] != nil {
		t.Error("it is to be encoded again")
	}
}

type nothing struct{}

func (nothing) put()        {}
func (nothing) to(any) bool { return true }

func respond(data string) graphql.ResponseHandler {
	return func(context.Context) *graphql.Response { return &graphql.Response{Data: []byte(data)} }
}

func failed(context.Context) *graphql.Response {
	return &graphql.Response{Errors: gqlerror.List{{Message: "no"}}}
}
