package share

import (
	"fmt"
	"strings"
	"testing"
)

// shaped is a shape with members, whose events are of some bytes, and how often one
// began to execute them.
func shaped(t *testing.T, x *Sharing, key string, members int) (s *shape, told func(class, bytes int) encoded, began *int) {
	t.Helper()
	for range members {
		s = x.enter(shapeKey{variables: key})
	}
	began = new(int)
	return s, func(class, bytes int) encoded {
		return s.bytes(piece{class: class, value: nothing{}}, func() *player {
			*began++
			return &player{play: &play{}, ctx: t.Context(), respond: respond(strings.Repeat("x", bytes-len(Hole)) + Hole)}
		})
	}, began
}

// keeps is how many bytes of events a shape holds for others.
func (s *shape) keeps() (n int) {
	for _, e := range s.kept {
		n += e.size()
	}
	return n
}

// TestManyShapesKeepWhatTheirMembersMay: subscriptions hold as much together, each two of
// them for themselves, as all for one document; the newest event is kept.
func TestManyShapesKeepWhatTheirMembersMay(t *testing.T) {
	t.Parallel()
	const shapes, each, of = 10, 40, 4 << 10
	x, kept := New(Options{}), 0
	for i := range shapes {
		s, told, _ := shaped(t, x, fmt.Sprint(i), 2)
		for n := range each {
			told(n, of)
		}
		kept += s.keeps()
		if _, r := s.ask(&member{}, each-1, nil); r != Ready {
			t.Fatal("the newest event is not kept")
		}
	}
	if most := 2 * shapes * keptEach; kept > most || kept < most/2 {
		t.Errorf("%d bytes are kept for %d subscriptions, want at most %d", kept, 2*shapes, most)
	}
	s, told, _ := shaped(t, x, "many", 100)
	for n := range each {
		told(n, of)
	}
	if kept := s.keeps(); kept < each*(of-len(Hole)) {
		t.Errorf("%d bytes are kept for many", kept)
	}
	for range 98 {
		x.exit(s)
	}
	if kept := s.keeps(); kept > 2*keptEach {
		t.Errorf("of many two are left, and %d bytes are kept", kept)
	}
	if x.exit(s); s.keeps() != 0 || s.player != nil || s.size != 0 {
		t.Errorf("%d bytes are kept for one, by a player %v", s.keeps(), s.player)
	}
	x.enter(s.key)
	if told(each, of) == nil || s.keeps() == 0 {
		t.Error("nothing is shared any more once there are two again")
	}
}

// TestWhatIsTooLargeWakesAll who wait for it, and each has it executed: not one after the
// other for all; nor is its buffer held for the next.
func TestWhatIsTooLargeWakesAll(t *testing.T) {
	t.Parallel()
	s, told, began := shaped(t, New(Options{}), "", 2)
	a, b, woken := &member{}, &member{}, 0
	if _, r := s.ask(a, 1, nil); r != Ask {
		t.Fatal(r)
	}
	if _, r := s.ask(b, 1, func() { woken++ }); r != Quiet {
		t.Fatal(r)
	}
	if e := told(1, 3*keptEach); e == nil || woken != 1 || s.player != nil || s.keeps() != 0 {
		t.Fatalf("%d bytes, woken %d, held by %v, kept %d", e.size(), woken, s.player, s.keeps())
	}
	if _, r := s.ask(b, 1, nil); r != Ask || s.claims[1] != nil {
		t.Error("it is to be executed for all once more:", r, s.claims)
	}
	if e := told(1, 3*keptEach); e != nil || *began != 1 {
		t.Error("it is executed for all once more")
	}
	if e := told(2, keptEach); e == nil || *began != 2 || s.player == nil {
		t.Error("the next is not shared")
	}
	if _, r := s.ask(b, 2, nil); r != Ready {
		t.Error("the next is not kept:", r)
	}
}
