package rig

import (
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return noon.Add(time.Duration(seconds * float64(time.Second)))
}

func tells(kind Kind, channel string, seq int64, id string, version int) Told {
	return Told{Kind: kind, Channel: channel, Seq: seq, ID: id, Version: version}
}

// good is a history in which all held: two people, one channel, three messages.
func good() *History {
	row := func(seq int64, by string) Row {
		n := string(rune('0' + seq))
		return Row{Key: "k" + n, Channel: "c", Sender: by, ID: "m" + n, Seq: seq, Version: 1}
	}
	told := func() []Told {
		return []Told{{Kind: Base, Channel: "c"}, tells(Created, "c", 1, "m1", 1), tells(Created, "c", 2, "m2", 1), tells(Updated, "c", 1, "m1", 2), tells(Created, "c", 3, "m3", 1)}
	}
	h := &History{
		Members: map[string][]string{"c": {"ann", "ben"}},
		Clients: []*Client{{User: "ann", Told: told(), Live: true}, {User: "ben", Told: told(), Live: true}},
		Rows:    []Row{row(1, "ann"), row(2, "ben"), row(3, "ann")},
		Reads:   []Read{{User: "ann", Channel: "c", Known: 1, Need: 3, Brought: []int64{1, 2, 3, 3}}},
		Marks:   []Mark{{"ben", "c", 1}},
		Counts:  []Count{{User: "ben", Channel: "c", Unread: 1}, {User: "ann", Channel: "c", Unread: 1}, {Channel: "c", Message: "m1", User: "ann", Seq: 1, Total: 1, Delivered: 1, Read: 1}},
		Spans:   []Span{{User: "ann", From: at(0), To: at(10)}, {User: "ann", From: at(12), Open: true}, {User: "ben", From: at(0), Open: true}},
		Seen:    []Seen{{"ben", "ann", true, at(1)}, {"ann", "ben", true, at(1)}},
		Grace:   5 * time.Second, End: at(100),
	}
	h.Rows[0].Version = 2
	for i, r := range h.Rows {
		h.Acks = append(h.Acks, Ack{r.Key, r.Channel, r.Sender, r.ID, r.Seq, at(float64(i)), at(float64(i) + 0.5), 0})
	}
	return h
}

func TestAGoodHistoryIsFoundGood(t *testing.T) {
	t.Parallel()
	v := Check(good())
	if len(v.Violations) > 0 || v.Events != 8 || v.Acked != 3 || v.Lost+v.Doubled+v.Reordered+v.Resets+v.Flaps != 0 {
		t.Errorf("%+v", v)
	}
}

// TestEachBreachIsFound: a history that breaks one promise, and the invariant that sees it.
func TestEachBreachIsFound(t *testing.T) {
	t.Parallel()
	ann := func(h *History) *Client { return h.Clients[0] }
	for name, c := range map[string]struct {
		invariant string
		breach    func(h *History)
	}{
		"an acknowledged message is gone":        {"I1", func(h *History) { h.Rows = h.Rows[:2] }},
		"a message has no number":                {"I1", func(h *History) { h.Rows[2].Seq = 0 }},
		"a number is left out":                   {"I1", func(h *History) { h.Rows[2].Seq = 4 }},
		"a number is another message's now":      {"I1", func(h *History) { h.Rows[1].ID = "other" }},
		"a number is given twice":                {"I3", func(h *History) { h.Rows[2].Seq = 2 }},
		"a key makes two messages":               {"I2", func(h *History) { h.Rows = append(h.Rows, Row{"k3", "c", "ann", "m4", 4, 1}) }},
		"a key is answered with another message": {"P-6", func(h *History) { h.Acks = append(h.Acks, Ack{"k3", "c", "ann", "m9", 3, at(3), at(4), 0}) }},
		"a later message has a smaller number":   {"I3", func(h *History) { h.Acks[0].Began, h.Acks[0].At = at(8), at(9) }},
		"a client misses one in the middle":      {"I1", func(h *History) { ann(h).Told = slices.Delete(ann(h).Told, 2, 3) }},
		"a client misses the last":               {"I1", func(h *History) { ann(h).Told = ann(h).Told[:4] }},
		"a client misses a change":               {"I1", func(h *History) { ann(h).Told = slices.Delete(ann(h).Told, 3, 4) }},
		"a client is told twice":                 {"I2", func(h *History) { ann(h).Told = append(ann(h).Told, tells(Created, "c", 3, "m3", 1)) }},
		"a client is told in another order":      {"I1", func(h *History) { ann(h).Told[1], ann(h).Told[2] = ann(h).Told[2], ann(h).Told[1] }},
		"a client is told of what it had fetched": {"I3", func(h *History) {
			ann(h).Told = []Told{{Kind: Base, Channel: "c", Seq: 3}, tells(Created, "c", 2, "m2", 1)}
		}},
		"a change before its message":      {"I3", func(h *History) { ann(h).Told[3].Seq, ann(h).Told[3].ID = 3, "m3" }},
		"an older version after a newer":   {"I3", func(h *History) { ann(h).Told = append(ann(h).Told, tells(Updated, "c", 1, "m1", 1)) }},
		"another message under the number": {"P-1", func(h *History) { ann(h).Told[4].ID = "other" }},
		"a reset for nothing": {"I12", func(h *History) {
			ann(h).Told = append(ann(h).Told, Told{Kind: Reset}, Told{Kind: Base, Channel: "c", Seq: 3})
		}},
		"news after a reset without a base": {"P-1", func(h *History) { h.SetBack = at(50); ann(h).Told = slices.Insert(ann(h).Told, 1, Told{Kind: Reset}) }},
		"a resume on a database set back":   {"P-1", func(h *History) { h.SetBack = at(50); h.Rows[2].ID, h.Rows[2].Key = "new", "new" }},
		"lost after it was set back":        {"I1", func(h *History) { h.SetBack = at(0); h.Rows = h.Rows[:2] }},
		"a sync lacks what was answered":    {"I4", func(h *History) { h.Reads[0].Brought = []int64{2} }},
		"a sync leaves one out":             {"I12", func(h *History) { h.Reads[0].Brought = []int64{3} }},
		"a sync begins anew":                {"I12", func(h *History) { h.Reads[0].Reset = true }},
		"too much is unread":                {"I5", func(h *History) { h.Counts[0].Unread = 2 }},
		"a mark went back":                  {"I5", func(h *History) { h.Marks = nil }},
		"a reader is not counted":           {"I5", func(h *History) { h.Counts[2].Read = 0 }},
		"more have read than received":      {"I5", func(h *History) { h.Counts[2].Delivered = 0 }},
		"an absence within the grace": {"I6", func(h *History) {
			h.Seen = append(h.Seen, Seen{"ben", "ann", false, at(11)}, Seen{"ben", "ann", true, at(12)})
		}},
		"an absence of somebody connected": {"I6", func(h *History) {
			h.Seen = append(h.Seen, Seen{"ann", "ben", false, at(11)}, Seen{"ann", "ben", true, at(12)})
		}},
		"offline in the end":          {"I6", func(h *History) { h.Spans[0].To = at(2); h.Seen = append(h.Seen, Seen{"ben", "ann", false, at(10)}) }},
		"online in the end, and gone": {"P-3", func(h *History) { h.Gone = []Gone{{"ann", at(50), 8 * time.Second}} }},
		"gone, and back from the dead": {"I6", func(h *History) {
			h.Spans = []Span{{User: "ann", From: at(0), To: at(50)}, {User: "ben", From: at(0), Open: true}}
			h.Gone = []Gone{{"ann", at(50), 8 * time.Second}}
			h.Seen = append(h.Seen, Seen{"ben", "ann", false, at(56)}, Seen{"ben", "ann", true, at(57)}, Seen{"ben", "ann", false, at(58)})
		}},
		"gone, and told of it too soon": {"I6", func(h *History) {
			h.Spans = []Span{{User: "ann", From: at(0), To: at(50)}, {User: "ben", From: at(0), Open: true}}
			h.Gone = []Gone{{"ann", at(50), 8 * time.Second}}
			h.Seen = append(h.Seen, Seen{"ben", "ann", false, at(54.5)})
		}},
		"gone, and told of it late": {"P-3", func(h *History) {
			h.Spans = []Span{{User: "ann", From: at(0), To: at(50)}, {User: "ben", From: at(0), Open: true}}
			h.Gone = []Gone{{"ann", at(50), 8 * time.Second}}
			h.Seen = append(h.Seen, Seen{"ben", "ann", false, at(59)})
		}},
	} {
		h := good()
		c.breach(h)
		v := Check(h)
		if !slices.ContainsFunc(v.Violations, func(x Violation) bool { return x.Invariant == c.invariant }) {
			t.Errorf("%s: %s does not see it: %v", name, c.invariant, v.Violations)
		}
	}
}

// TestWhatIsNoBreach: what a database that was set back, a real absence and a
// departure in time look like.
func TestWhatIsNoBreach(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h *History){
		"the newest part is gone, and all begin anew": func(h *History) {
			h.SetBack = at(10)
			h.Rows[2].ID, h.Rows[2].Key = "new", "new"
			for _, c := range h.Clients {
				c.Told = append(c.Told, Told{Kind: Reset}, Told{Kind: Base, Channel: "c", Seq: 2}, tells(Created, "c", 3, "new", 1))
			}
		},
		"away for longer than the grace": func(h *History) {
			h.Spans[1].From = at(20)
			h.Seen = append(h.Seen, Seen{"ben", "ann", false, at(16)}, Seen{"ben", "ann", true, at(20)})
		},
		"gone, and told of it in time": func(h *History) {
			h.Spans = []Span{{User: "ann", From: at(0), To: at(50)}, {User: "ben", From: at(0), Open: true}}
			h.Gone = []Gone{{"ann", at(50), 8 * time.Second}}
			h.Seen = append(h.Seen, Seen{"ben", "ann", false, at(57)})
		},
		"sent twice, answered alike": func(h *History) {
			h.Acks = append(h.Acks, Ack{"k1", "c", "ann", "m1", 1, at(8), at(9), 0})
		},
		"a client that left need not know the last": func(h *History) {
			h.Clients[0].Told, h.Clients[0].Live = h.Clients[0].Told[:2], false
		},
	} {
		h := good()
		change(h)
		if v := Check(h); len(v.Violations) > 0 {
			var said []string
			for _, x := range v.Violations {
				said = append(said, x.Invariant+" "+x.What)
			}
			t.Errorf("%s: %s", name, strings.Join(said, "; "))
		}
	}
}
