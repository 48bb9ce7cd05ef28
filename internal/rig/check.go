package rig

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"
)

// Violation is a promise that did not hold: which invariant, and how.
type Violation struct{ Invariant, What string }

// Verdict is what Check found, with what it counted on the way.
type Verdict struct {
	Violations               []Violation
	Events                   int // told to clients: messages, and changes of them
	Acked                    int // messages, each once
	Lost, Doubled, Reordered int // events, and acknowledged messages that are no more
	LostTail                 int // acknowledged, and gone with a database that was set back
	Resets                   int
	Flaps                    int           // times that a viewer was told of an absence that was none
	Absence                  time.Duration // the longest until a viewer was told of one who left for good
}

const mostSaid = 40 // violations that are spelled out; all are counted

func (v *Verdict) say(invariant, format string, args ...any) {
	if len(v.Violations) < mostSaid {
		v.Violations = append(v.Violations, Violation{invariant, fmt.Sprintf(format, args...)})
	}
}

type place struct {
	channel string
	seq     int64
}

// book is the log as the database holds it in the end.
type book struct {
	at   map[place]Row
	key  map[string]Row // by sender and key
	last map[string]int64
}

func keyOf(sender, key string) string { return sender + " " + key }

// Check decides I1 to I7 and I10 to I12 over a history: nothing acknowledged is lost or
// doubled, each client was told each number of its channels once and in order and
// none is missing, the numbers agree with the order of answers, a sync brings what
// was answered, and what is unread, received, read, who is there and who types is what a
// model makes of the same history; nobody is told what it may not know any more; and
// what servers counted adds up.
func Check(h *History) Verdict {
	var v Verdict
	b := v.rows(h)
	v.acks(h, b)
	v.order(h)
	v.queues(h)
	for _, c := range h.Clients {
		v.client(h, b, c)
	}
	v.reads(h)
	v.counts(h)
	v.presence(h)
	v.outs(h, b)
	v.shared(h)
	v.typing(h)
	v.tallies(h)
	return v
}

// rows are numbered densely from the first, each key once.
func (v *Verdict) rows(h *History) *book {
	b := &book{map[place]Row{}, map[string]Row{}, map[string]int64{}}
	for _, r := range h.Rows {
		if r.Seq == 0 {
			v.say("I1", "message %s of %s has no number", r.ID, r.Channel)
			continue
		}
		if old, twice := b.key[keyOf(r.Sender, r.Key)]; twice {
			v.Doubled++
			v.say("I2", "key %s is messages %s and %s", r.Key, old.ID, r.ID)
		}
		if old, twice := b.at[place{r.Channel, r.Seq}]; twice {
			v.Doubled++
			v.say("I3", "number %d of %s is messages %s and %s", r.Seq, r.Channel, old.ID, r.ID)
		}
		b.key[keyOf(r.Sender, r.Key)], b.at[place{r.Channel, r.Seq}] = r, r
		b.last[r.Channel] = max(b.last[r.Channel], r.Seq)
	}
	for c, last := range b.last {
		for seq := int64(1); seq <= last; seq++ {
			if _, ok := b.at[place{c, seq}]; !ok {
				v.say("I1", "%s has no number %d of %d", c, seq, last)
			}
		}
	}
	return b
}

// acks: what was answered is there as answered, and each answer to a key is the same.
func (v *Verdict) acks(h *History, b *book) {
	first := map[string]Ack{}
	for _, a := range h.Acks {
		before := !h.SetBack.IsZero() && a.At.Before(h.SetBack)
		if f, again := first[keyOf(a.Sender, a.Key)]; !again {
			first[keyOf(a.Sender, a.Key)] = a
			v.Acked++
		} else if f.ID != a.ID || f.Seq != a.Seq {
			if h.SetBack.IsZero() || !f.At.Before(h.SetBack) {
				v.Doubled++
				v.say("P-6", "key %s was answered %s (%d), then %s (%d)", a.Key, f.ID, f.Seq, a.ID, a.Seq)
			}
		} else {
			continue
		}
		r, kept := b.key[keyOf(a.Sender, a.Key)]
		switch {
		case (!kept || r.ID != a.ID) && before:
			v.LostTail++
		case !kept:
			v.Lost++
			v.say("I1", "acknowledged and lost: key %s, number %d of %s", a.Key, a.Seq, a.Channel)
		case (r.ID != a.ID || r.Seq != a.Seq || r.Channel != a.Channel) && !before:
			v.say("I1", "key %s was answered as %s (%d) and is %s (%d)", a.Key, a.ID, a.Seq, r.ID, r.Seq)
		}
	}
}

// order: whatever was answered before another was sent has the smaller number: the
// log is one that a single server could have written, one message after another.
func (v *Verdict) order(h *History) {
	by := map[string][]Ack{}
	for _, a := range h.Acks {
		by[a.Channel] = append(by[a.Channel], a)
	}
	for c, began := range by {
		if !h.SetBack.IsZero() { // numbers that were lost are given anew
			began = slices.DeleteFunc(began, func(a Ack) bool { return a.Began.Before(h.SetBack) })
		}
		began = firsts(began)
		ended := slices.Clone(began)
		sort.Slice(began, func(i, j int) bool { return began[i].Began.Before(began[j].Began) })
		sort.Slice(ended, func(i, j int) bool { return ended[i].At.Before(ended[j].At) })
		var highest Ack
		next := 0
		for _, a := range began {
			for ; next < len(ended) && ended[next].At.Before(a.Began); next++ {
				if ended[next].Seq > highest.Seq {
					highest = ended[next]
				}
			}
			if a.Seq < highest.Seq {
				v.Reordered++
				v.say("I3", "%s: key %s was sent after the answer to %s and has number %d, before its %d", c, a.Key, highest.Key, a.Seq, highest.Seq)
			}
		}
	}
}

// firsts are the answers without those that repeat one: of each key the first sending.
func firsts(acks []Ack) []Ack {
	at, out := map[string]int{}, []Ack{}
	for _, a := range acks {
		k := keyOf(a.Sender, a.Key)
		i, again := at[k]
		if !again {
			at[k], out = len(out), append(out, a)
		} else if a.Began.Before(out[i].Began) {
			out[i].Began = a.Began
		}
	}
	return out
}

// queues: what somebody queued for a channel has its numbers in that order.
func (v *Verdict) queues(h *History) {
	queued := slices.DeleteFunc(slices.Clone(h.Acks), func(a Ack) bool { return a.Place == 0 || a.Began.Before(h.SetBack) })
	slices.SortStableFunc(queued, func(a, b Ack) int { return cmp.Compare(a.Place, b.Place) })
	last := map[[2]string]Ack{}
	for _, a := range queued {
		k := [2]string{a.Sender, a.Channel}
		if b, ok := last[k]; ok && a.Seq < b.Seq {
			v.Reordered++
			v.say("I3", "%s: key %s was queued after %s and has number %d, before its %d", a.Channel, a.Key, b.Key, a.Seq, b.Seq)
		}
		last[k] = a
	}
}

// client: each number of its channels once, in order, none missing, and what the
// number is in the log.
func (v *Verdict) client(h *History, b *book, c *Client) {
	known, seen, version := map[string]int64{}, map[place]Told{}, map[string]int{}
	anew, out := map[string]bool{}, map[string]bool{}
	void := true
	for _, t := range c.Told {
		at := place{t.Channel, t.Seq}
		switch t.Kind {
		case Base:
			known[t.Channel], void = t.Seq, false
		case Reset:
			v.Resets++
			if h.SetBack.IsZero() {
				v.say("I12", "%s was reset, and nothing was set back", c.User)
			}
			known, seen, version, void = map[string]int64{}, map[place]Told{}, map[string]int{}, true
		case Left:
			out[t.Channel] = true
		case Joined:
			known[t.Channel], anew[t.Channel], out[t.Channel] = t.Seq, true, false
			maps.DeleteFunc(seen, func(at place, _ Told) bool { return at.channel == t.Channel })
		case Created:
			v.Events++
			if anew[t.Channel] { // where it joined is outs' to say
				known[t.Channel], anew[t.Channel] = t.Seq-1, false
			}
			v.created(c, t, known, seen, void)
			known[t.Channel], seen[at], version[t.ID] = max(known[t.Channel], t.Seq), t, t.Version
		case Updated:
			v.Events++
			if t.Seq > known[t.Channel] || t.Version < version[t.ID] {
				v.Reordered++
				v.say("I3", "%s was told of version %d of number %d of %s after version %d and number %d", c.User, t.Version, t.Seq, t.Channel, version[t.ID], known[t.Channel])
			}
			version[t.ID] = max(version[t.ID], t.Version)
		}
		if out[t.Channel] && t.Kind != Left {
			v.say("R17", "%s was told number %d of %s after it was told that it had left", c.User, t.Seq, t.Channel)
		}
	}
	for at, t := range seen {
		if r, ok := b.at[at]; !ok || r.ID != t.ID {
			v.say("P-1", "%s was told number %d of %s is %s; the log has %q: a wrong resume", c.User, at.seq, at.channel, t.ID, r.ID)
		} else if c.Live && version[t.ID] != r.Version && (c.Hold == 0 || at.seq > b.last[at.channel]-int64(c.Hold)) {
			v.Lost++
			v.say("I1", "%s knows version %d of %s, which has %d", c.User, version[t.ID], t.ID, r.Version)
		}
	}
	for ch, members := range h.Members {
		if missing := b.last[ch] - known[ch]; c.Live && slices.Contains(members, c.User) && missing != 0 {
			v.Lost += max(int(missing), 0)
			v.say("I1", "%s knows %s up to number %d of %d", c.User, ch, known[ch], b.last[ch])
		}
	}
}

func (v *Verdict) created(c *Client, t Told, known map[string]int64, seen map[place]Told, void bool) {
	last := known[t.Channel]
	_, again := seen[place{t.Channel, t.Seq}]
	switch {
	case void:
		v.say("P-1", "%s was told number %d of %s after a reset, and before it had fetched anew", c.User, t.Seq, t.Channel)
	case again:
		v.Doubled++
		v.say("I2", "%s was told number %d of %s again", c.User, t.Seq, t.Channel)
	case t.Seq <= last:
		v.Reordered++
		v.say("I3", "%s was told number %d of %s after %d", c.User, t.Seq, t.Channel, last)
	case t.Seq > last+1:
		v.Lost += int(t.Seq - last - 1)
		v.say("I1", "%s was told number %d of %s after %d", c.User, t.Seq, t.Channel, last)
	}
}
