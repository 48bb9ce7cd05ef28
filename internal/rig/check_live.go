package rig

import (
	"slices"
	"sort"
	"time"
)

// outs: who was removed from a channel was told what had been written there until
// shortly before, of what was written later nothing, soon nothing at all, and all again
// since it was back; and it wrote nothing there meanwhile.
func (v *Verdict) outs(h *History, b *book) {
	if !h.SetBack.IsZero() {
		return // what was told before a reset is void
	}
	sent := map[string]Ack{} // by message
	for _, a := range firsts(h.Acks) {
		sent[a.ID] = a
	}
	for _, c := range h.Clients {
		mine := slices.DeleteFunc(slices.Clone(h.Outs), func(o Out) bool { return o.User != c.User })
		if len(mine) == 0 {
			continue
		}
		knows := map[string]bool{}
		for _, t := range c.Told {
			if t.Kind != Created && t.Kind != Updated {
				continue
			}
			knows[t.ID] = true
			for _, o := range mine {
				if o.Channel != t.Channel {
					continue
				}
				if a, ok := sent[t.ID]; ok && o.holds(a.Began, 0) && (o.Back.IsZero() || a.At.Before(o.BackBegan)) {
					v.say("R17", "%s was told number %d of %s, which was written while it was no member", c.User, t.Seq, t.Channel)
				} else if o.holds(t.At, o.Bound) {
					v.say("R17", "%s was told number %d of %s %.2f s after it was removed", c.User, t.Seq, t.Channel, t.At.Sub(o.At).Seconds())
				}
			}
		}
		for _, a := range sent {
			v.through(c, a, mine, knows[a.ID], b)
		}
	}
}

// through: what was written while somebody was a member for certain it was told, and
// while it was none it wrote nothing.
func (v *Verdict) through(c *Client, a Ack, outs []Out, knows bool, b *book) {
	concerned, soon := false, time.Duration(0)
	for _, o := range outs {
		if o.Channel != a.Channel {
			continue
		}
		concerned = true
		if left := o.At.Sub(a.At); left > 0 && (soon == 0 || left < soon) {
			soon = left
		}
		if a.Sender == c.User && o.holds(a.Began, 0) && (o.Back.IsZero() || a.At.Before(o.BackBegan)) {
			v.say("R17", "%s wrote number %d of %s while it was no member", c.User, a.Seq, a.Channel)
		}
		if o.mayHold(a.Began, a.At.Add(o.Bound)) { // what was on its way is not told any more
			return
		}
	}
	began := int64(0) // it had fetched what is before
	for _, t := range c.Told {
		if t.Kind == Base && t.Channel == a.Channel {
			began = t.Seq
		}
	}
	if _, kept := b.at[place{a.Channel, a.Seq}]; concerned && kept && c.Live && !knows && a.Seq > began {
		v.Lost++
		v.say("R17", "%s was never told number %d of %s, written while it was a member; it was removed %.2f s after (0: never)", c.User, a.Seq, a.Channel, soon.Seconds())
	}
}

type pair struct{ viewer, target string }

// hiding are those whose status somebody may not see at times.
func hiding(h *History) map[pair][]Hidden {
	by := map[pair][]Hidden{}
	for _, x := range h.Hidden {
		p := pair{x.Viewer, x.Target}
		by[p] = append(by[p], x)
	}
	return by
}

// hid: somebody is not told of a status that it may not see any more, nor, of whom it may
// see nothing, that anything happened at all, but for a picture to begin with.
func (v *Verdict) hid(s Seen, hidden []Hidden, viewer []Span) {
	for _, x := range hidden {
		began := slices.ContainsFunc(viewer, func(sp Span) bool { return sp.From.After(x.Began) && !sp.From.After(s.At) })
		if x.holds(s.At, x.Bound) && (s.Online || x.All && !began) {
			v.say("R17", "%s was told of %s, whom it might not see for %.2f s", s.Viewer, s.Target, s.At.Sub(x.At).Seconds())
		}
	}
}

// shared: a viewer may see a status exactly if it was told the one there is, of
// whoever is connected.
func (v *Verdict) shared(h *History) {
	for _, x := range h.Shared {
		there := slices.ContainsFunc(h.Spans, func(s Span) bool {
			return s.User == x.Target && s.From.Before(x.At) && (s.Open || s.To.After(x.At))
		})
		told := false
		for _, s := range h.Seen {
			if s.Viewer == x.Viewer && s.Target == x.Target && !s.At.After(x.At) {
				told = s.Online
			}
		}
		if told != x.Can && (there || told) {
			v.say("I10", "%s may see %s: %t; it was told that it is online: %t", x.Viewer, x.Target, x.Can, told)
		}
	}
}

// typing: whoever types for somebody has said so, not longer ago than a signal lasts,
// is a member, and is not hidden from it.
func (v *Verdict) typing(h *History) {
	said := map[[2]string][]Signal{}
	for _, s := range h.Signals {
		k := [2]string{s.User, s.Channel}
		said[k] = append(said[k], s)
	}
	for _, list := range said {
		slices.SortFunc(list, func(a, b Signal) int { return a.Began.Compare(b.Began) })
	}
	next := map[[2]string]Typing{} // of a viewer's channel, the picture after
	hidden := hiding(h)
	for _, p := range slices.Backward(h.Typing) {
		k := [2]string{p.Viewer, p.Channel}
		until := p.At
		if n, ok := next[k]; ok && n.Before.After(until) {
			until = n.Before
		}
		next[k] = p
		for _, u := range p.Users {
			v.types(p, u, until, said[[2]string{u, p.Channel}], h)
			for _, x := range hidden[pair{p.Viewer, u}] {
				if x.All && x.heldIn(p.At, until) {
					v.say("I7", "%s sees %s typing, whom it may not see", p.Viewer, u)
				}
			}
		}
		for _, o := range h.Outs {
			if o.User == p.Viewer && o.Channel == p.Channel && len(p.Users) > 0 && o.heldIn(p.At, until) {
				v.say("R17", "%s is told who types in %s, of which it is no member", p.Viewer, p.Channel)
			}
		}
	}
}

// answered is how long a signal may have been under way, and counts nevertheless.
const answered = 30 * time.Second

// types: somebody typed from when a picture came until the next: at each moment until
// its next word, and at the end, the last word was not too long ago.
func (v *Verdict) types(p Typing, user string, until time.Time, said []Signal, h *History) {
	before := func(at time.Time) []Signal {
		return said[:sort.Search(len(said), func(i int) bool { return !said[i].Began.Before(at) })]
	}
	moments := []time.Time{until}
	for _, s := range slices.Backward(before(until)) {
		if !s.Began.After(p.At) {
			break
		}
		moments = append(moments, s.Began)
	}
	for _, at := range moments {
		last := time.Time{}
		for _, s := range slices.Backward(before(at)) {
			if s.Began.Before(at.Add(-h.Signal - answered)) {
				break
			}
			if s.At.After(last) {
				last = s.At
			}
		}
		if last.IsZero() || at.Sub(last) > h.Signal {
			v.say("I7", "%s sees %s typing in %s, whose last word was %.2f s ago or never", p.Viewer, user, p.Channel, at.Sub(last).Seconds())
			break
		}
	}
	for _, o := range h.Outs {
		if o.User == user && o.Channel == p.Channel && o.heldIn(p.At, until) {
			v.say("I7", "%s sees %s typing in %s, of which it is no member", p.Viewer, user, p.Channel)
		}
	}
}

// tallies: sockets that were opened are open or closed, and those that are open are
// clients'; what was written is what clients read, but for what was on its way where
// sockets ended; every server heard what all have rung.
func (v *Verdict) tallies(h *History) {
	before := map[string]Tally{}
	for _, now := range h.Tallies {
		var rung, heard int64
		whole := true
		for i, t := range now {
			old, known := before[t.Process]
			if t.Opened != t.Closed+t.Open || t.Open != t.There {
				v.say("I11", "%s: %d sockets opened, %d closed, %d open, %d clients", t.Process, t.Opened, t.Closed, t.Open, t.There)
			}
			// What was written and is not read yet, or never will be, may grow only where
			// sockets ended; it shrinks if the last count was taken with frames on their way.
			away := t.Written - t.Read
			if away < 0 || away > old.Written-old.Read && t.Ended == old.Ended {
				v.say("I11", "%s: %d frames written, %d read, %d of them not read before, and no socket ended", t.Process, t.Written, t.Read, old.Written-old.Read)
			}
			whole = whole && known && t.Deaf == old.Deaf
			rung += t.Rung - old.Rung
			if got := t.Heard - old.Heard; i == 0 {
				heard = got
			} else if whole && got != heard {
				v.say("I11", "%s heard %d doorbells, another server %d", t.Process, got, heard)
			}
		}
		if whole && heard < rung {
			v.say("I11", "%d doorbells were rung, %d heard", rung, heard)
		}
		for _, t := range now {
			before[t.Process] = t
		}
	}
}
