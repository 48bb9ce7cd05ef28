package rig

import (
	"slices"
	"time"
)

// reads: a sync right after an answer brings all from where its cursor was up to
// what was answered, with no number missing.
func (v *Verdict) reads(h *History) {
	for _, r := range h.Reads {
		if r.Reset {
			if h.SetBack.IsZero() {
				v.say("I12", "%s: a sync was reset, and nothing was set back", r.User)
			}
			continue
		}
		brought := slices.DeleteFunc(slices.Clone(r.Brought), func(s int64) bool { return s <= r.Known })
		slices.Sort(brought)
		brought = slices.Compact(brought) // one that is changed meanwhile comes on two pages
		next := r.Known + 1
		for _, s := range brought {
			if s > next {
				v.say("I12", "%s: a sync of %s from %d brought %d after %d", r.User, r.Channel, r.Known, s, next-1)
			}
			next = s + 1
		}
		if next <= r.Need {
			v.say("I4", "%s: number %d of %s had been answered, and a sync from %d brought them up to %d", r.User, r.Need, r.Channel, r.Known, next-1)
		}
	}
}

// counts are those of a model: marks never go back, and what follows a mark is unread.
func (v *Verdict) counts(h *History) {
	if !h.SetBack.IsZero() {
		return // marks may be gone with what was lost
	}
	mark := map[[2]string]int64{}
	for _, m := range h.Marks {
		k := [2]string{m.User, m.Channel}
		mark[k] = max(mark[k], m.Seq)
	}
	for _, c := range h.Counts {
		if slices.ContainsFunc(h.Outs, func(o Out) bool { return o.Channel == c.Channel }) {
			continue // who was a member when is outs' to say
		}
		if c.Message == "" {
			want := 0
			for _, r := range h.Rows {
				if r.Channel == c.Channel && r.Sender != c.User && r.Seq > mark[[2]string{c.User, c.Channel}] {
					want++
				}
			}
			if want != c.Unread {
				v.say("I5", "%s has %d unread in %s, want %d", c.User, c.Unread, c.Channel, want)
			}
			continue
		}
		read := 0
		for _, u := range h.Members[c.Channel] {
			if u != c.User && mark[[2]string{u, c.Channel}] >= c.Seq {
				read++
			}
		}
		if total := len(h.Members[c.Channel]) - 1; c.Total != total || c.Read != read || c.Delivered < c.Read || c.Delivered > c.Total {
			v.say("I5", "message %d of %s: %d received, %d read of %d; want %d read of %d", c.Seq, c.Channel, c.Delivered, c.Read, c.Total, read, total)
		}
	}
}

// late is how long before a viewer is told of an absence it may have been one: a
// viewer that was itself cut off, or a machine with much to do, hears later.
const late = 30 * time.Second

// presence: nobody was called absent who was not for longer than the grace; whoever
// left is called absent within its bound; in the end everybody is seen as they are.
func (v *Verdict) presence(h *History) {
	spans := map[string][]Span{}
	for _, s := range h.Spans {
		if s.Open {
			s.To = h.End
		}
		spans[s.User] = append(spans[s.User], s)
	}
	for _, list := range spans {
		slices.SortFunc(list, func(a, b Span) int { return a.From.Compare(b.From) })
	}
	hidden := hiding(h)
	last, fell := map[pair]Seen{}, map[pair]time.Time{}
	gone := map[string]Gone{}
	for _, g := range h.Gone {
		gone[g.User] = g
	}
	for _, s := range h.Seen {
		p := pair{s.Viewer, s.Target}
		v.hid(s, hidden[p], spans[s.Viewer])
		hid := slices.ContainsFunc(hidden[p], func(x Hidden) bool { return x.mayHold(s.At.Add(-late), s.At) })
		if !s.Online && last[p].Online {
			if !hid && !absent(spans[s.Target], s.At, h.Grace) {
				v.Flaps++
				v.say("I6", "%s was told that %s is offline, who was never away for %s", s.Viewer, s.Target, h.Grace)
			}
			if g, left := gone[s.Target]; !left || !fell[p].After(g.At) {
				fell[p] = s.At
			}
		}
		if g, left := gone[s.Target]; left && s.Online && fell[p].After(g.At) {
			v.say("I6", "%s was told that %s is back, who had left", s.Viewer, s.Target)
		}
		last[p] = s
	}
	for p, s := range last {
		g, left := gone[p.target]
		_, leftToo := gone[p.viewer]
		switch {
		case leftToo:
		case left && s.Online:
			v.say("P-3", "%s still sees %s, who left", p.viewer, p.target)
		case left:
			took := fell[p].Sub(g.At)
			v.Absence = max(v.Absence, took)
			if took > g.Bound {
				v.say("P-3", "%s was told that %s left %.1f s after, want at most %s", p.viewer, p.target, took.Seconds(), g.Bound)
			}
		case slices.ContainsFunc(hidden[p], func(x Hidden) bool { return x.Back.IsZero() }):
		case !s.Online && len(spans[p.target]) > 0:
			v.say("I6", "%s sees %s offline, who is there", p.viewer, p.target)
		}
	}
}

// absent reports whether somebody was away for at least the grace at some time in
// the last half minute before at.
func absent(spans []Span, at time.Time, grace time.Duration) bool {
	for i, s := range spans {
		back := at
		if i+1 < len(spans) {
			back = spans[i+1].From
		}
		if back.After(at) {
			back = at
		}
		if back.After(at.Add(-late)) && back.Sub(s.To) >= grace {
			return true
		}
	}
	return false
}
