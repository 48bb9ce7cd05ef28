package rig

import (
	"slices"
	"testing"
	"time"
)

// lively is good, and besides: cid was removed and is back, ben was hidden from ann for
// a while, ben typed, and two servers counted.
func lively() *History {
	h := good()
	h.Members["c"] = append(h.Members["c"], "cid")
	h.Counts = h.Counts[:2]
	turn := func(from, back float64) Turn {
		return Turn{at(from), at(from + 0.1), at(back), at(back + 0.1), time.Second}
	}
	h.Rows = append(h.Rows, Row{"k4", "c", "ben", "m4", 4, 1}, Row{"k5", "c", "ben", "m5", 5, 1})
	h.Acks = append(h.Acks, Ack{"k4", "c", "ben", "m4", 4, at(20), at(20.5), 0}, Ack{"k5", "c", "ben", "m5", 5, at(30), at(30.5), 0})
	for i := range h.Clients {
		h.Clients[i].Told = append(h.Clients[i].Told, tells(Created, "c", 4, "m4", 1), tells(Created, "c", 5, "m5", 1))
	}
	first := []Told{{Kind: Base, Channel: "c"}}
	for _, t := range h.Clients[0].Told[1:5] {
		t.At = at(3)
		first = append(first, t)
	}
	last := tells(Created, "c", 5, "m5", 1)
	last.At = at(30.6)
	h.Clients = append(h.Clients, &Client{User: "cid", Live: true, Told: append(first, Told{Kind: Left, Channel: "c"}, Told{Kind: Joined, Channel: "c", Seq: 4}, last)})
	h.Counts = h.Counts[:0]
	h.Outs = []Out{{"cid", "c", turn(15, 25)}}
	h.Hidden = []Hidden{{"ann", "ben", true, turn(40, 50)}}
	h.Seen = append(h.Seen, Seen{"ann", "ben", false, at(40.3)}, Seen{"ann", "ben", true, at(50.2)})
	h.Shared = []Shared{{"ann", "ben", true, at(39)}, {"ann", "ben", false, at(45)}, {"ann", "ben", true, at(60)}}
	h.Signal = 6 * time.Second
	h.Signals = []Signal{{"ben", "c", at(70), at(70.1)}, {"ben", "c", at(74), at(74.1)}}
	h.Typing = []Typing{{"ann", "c", nil, at(69), at(69)}, {"ann", "c", []string{"ben"}, at(70), at(70.2)}, {"ann", "c", nil, at(79), at(79.1)}}
	h.Tallies = [][]Tally{
		{{"one", 3, 1, 2, 2, 100, 90, 1, 10, 30, 0}, {"two", 1, 0, 1, 1, 50, 50, 0, 20, 30, 0}},
		{{"one", 3, 1, 2, 2, 150, 140, 1, 15, 45, 0}, {"two", 1, 0, 1, 1, 60, 60, 0, 30, 45, 0}},
	}
	return h
}

func TestALivelyHistoryIsFoundGood(t *testing.T) {
	t.Parallel()
	if v := Check(lively()); len(v.Violations) > 0 || v.Flaps > 0 {
		t.Errorf("%+v", v)
	}
}

// TestEachLiveBreachIsFound: as TestEachBreachIsFound.
func TestEachLiveBreachIsFound(t *testing.T) {
	t.Parallel()
	cid := func(h *History) *Client { return h.Clients[2] }
	for name, c := range map[string]struct {
		invariant string
		breach    func(h *History)
	}{
		"told what was written while it was no member": {"R17", func(h *History) {
			cid(h).Told = slices.Insert(cid(h).Told, 7, tells(Created, "c", 4, "m4", 1))
		}},
		"told long after it was removed":      {"R17", func(h *History) { cid(h).Told[4].At = at(17) }},
		"told after it was told that it left": {"R17", func(h *History) { cid(h).Told[4], cid(h).Told[5] = cid(h).Told[5], cid(h).Told[4] }},
		"not told the last before it left":    {"R17", func(h *History) { cid(h).Told = slices.Delete(cid(h).Told, 4, 5) }},
		"not told the first after it was back": {"R17", func(h *History) {
			cid(h).Told, cid(h).Told[6].Seq = cid(h).Told[:7], 5
		}},
		"a gap after it was back": {"I1", func(h *History) {
			h.Rows = append(h.Rows, Row{"k6", "c", "ben", "m6", 6, 1}, Row{"k7", "c", "ben", "m7", 7, 1})
			cid(h).Told = append(cid(h).Told, tells(Created, "c", 7, "m7", 1))
		}},
		"it wrote while it was no member": {"R17", func(h *History) { h.Rows[3].Sender, h.Acks[3].Sender = "cid", "cid" }},
		"a status that is hidden is told": {"R17", func(h *History) { h.Seen = slices.Insert(h.Seen, 3, Seen{"ann", "ben", true, at(42)}) }},
		"a change that is hidden is told": {"R17", func(h *History) { h.Seen = slices.Insert(h.Seen, 3, Seen{"ann", "ben", false, at(42)}) }},
		"hidden from nobody, and unseen":  {"I6", func(h *History) { h.Hidden = nil }},
		"called visible, and not told":    {"I10", func(h *History) { h.Shared[1].Can = true }},
		"called hidden, and told":         {"I10", func(h *History) { h.Shared[2].Can = false }},
		"typing, and never said so":       {"I7", func(h *History) { h.Signals = nil }},
		"typing before it said so":        {"I7", func(h *History) { h.Typing[1].At = at(69.5); h.Signals = h.Signals[1:] }},
		"typing for too long":             {"I7", func(h *History) { h.Typing[2].Before = at(81) }},
		"typing between two signals":      {"I7", func(h *History) { h.Signals[1].Began, h.Signals[1].At = at(78), at(78.1) }},
		"typing where it is no member": {"I7", func(h *History) {
			h.Outs[0].User, h.Outs[0].Turn = "ben", Turn{at(71), at(71.1), at(90), at(91), time.Second}
		}},
		"typing, and no member for a while": {"I7", func(h *History) {
			h.Outs[0].User, h.Outs[0].Turn = "ben", Turn{at(71), at(71.1), at(73), at(73.1), time.Second}
		}},
		"typing, hidden from who sees it":   {"I7", func(h *History) { h.Hidden[0].Turn = Turn{at(71), at(71.1), at(90), at(91), time.Second} }},
		"typing, told to who was removed":   {"R17", func(h *History) { h.Typing[1].Viewer, h.Typing[1].At = "cid", at(20) }},
		"a socket is neither open nor shut": {"I11", func(h *History) { h.Tallies[1][0].Closed = 0 }},
		"a socket of nobody's":              {"I11", func(h *History) { h.Tallies[1][0].There = 1 }},
		"more is read than written":         {"I11", func(h *History) { h.Tallies[0][1].Read = 51 }},
		"a frame is lost":                   {"I11", func(h *History) { h.Tallies[1][0].Read-- }},
		"a doorbell one server never heard": {"I11", func(h *History) { h.Tallies[1][1].Heard-- }},
		"doorbells nobody heard":            {"I11", func(h *History) { h.Tallies[1][0].Rung += 10 }},
	} {
		h := lively()
		c.breach(h)
		v := Check(h)
		if !slices.ContainsFunc(v.Violations, func(x Violation) bool { return x.Invariant == c.invariant }) {
			t.Errorf("%s: %s does not see it: %v", name, c.invariant, v.Violations)
		}
	}
}

// TestWhatIsNoLiveBreach: what is on its way when something ends, and what a viewer
// begins with.
func TestWhatIsNoLiveBreach(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h *History){
		"told just before it was removed": func(h *History) { h.Clients[2].Told[4].At = at(15.2) },
		"hidden, and shown as nothing to who comes": func(h *History) {
			h.Spans = append(h.Spans, Span{User: "ann", From: at(44), Open: true})
			h.Seen = slices.Insert(h.Seen, 3, Seen{"ann", "ben", false, at(44)})
		},
		"typing goes on with a signal whose answer came late": func(h *History) { h.Signals[0].At = at(73) },
		"a frame on its way as a socket ended":                func(h *History) { h.Tallies[1][0].Read--; h.Tallies[1][0].Ended++ },
		"a frame on its way as a count was taken, and read since": func(h *History) {
			h.Tallies[1][0].Read += 4
		},
		"a doorbell lost with its link": func(h *History) { h.Tallies[1][1].Heard--; h.Tallies[1][1].Deaf++ },
		"a doorbell of a trigger's":     func(h *History) { h.Tallies[1][0].Heard++; h.Tallies[1][1].Heard++ },
		"a server that is another process": func(h *History) {
			h.Tallies[1][1] = Tally{"three", 1, 0, 1, 1, 7, 7, 0, 1, 3, 0}
		},
	} {
		h := lively()
		change(h)
		if v := Check(h); len(v.Violations) > 0 {
			t.Errorf("%s: %v", name, v.Violations)
		}
	}
}
