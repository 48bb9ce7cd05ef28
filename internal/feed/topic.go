package feed

import (
	"slices"

	"github.com/google/uuid"
)

// topic is what streams of the log listen to: a user, what happens in a
// channel, or, apart from it, what changes who may read a channel. The last is
// for those who know a channel and may not read it now. A channel may have a user's
// id: whoever makes it chooses.
type topic struct {
	id     uuid.UUID
	user   bool
	rights bool
}

// topicOf is what happens to a user.
func topicOf(user uuid.UUID) topic { return topic{id: user, user: true} }

// concerns calls f with every topic of an entry, some perhaps twice.
func (it *Item) concerns(f func(topic)) {
	switch it.Kind {
	case Mark: // whoever else is in the channel has nothing to learn
		f(topicOf(it.User))
		for id := range it.senders {
			f(topicOf(id))
		}
	case Notify: // nobody's but its own
		f(topicOf(it.User))
	case Joined, Left, Member:
		if it.User != uuid.Nil {
			f(topicOf(it.User))
		}
		f(topic{id: it.Channel})
	case Channel, Opened, Gone:
		f(topic{id: it.Channel})
		f(topic{id: it.Channel, rights: true})
	default:
		f(topic{id: it.Channel})
	}
}

// trace is where in the tail a topic's entries are.
type trace struct {
	at   []int64 // positions, ascending
	lost int64   // the last that the tail has forgotten
}

// index finds a topic's entries without looking at those of others. It is as
// large as the tail.
type index map[topic]*trace

func (x index) add(k topic, pos int64) {
	t := x[k]
	if t == nil {
		t = &trace{}
		x[k] = t
	}
	if n := len(t.at); n == 0 || t.at[n-1] != pos {
		t.at = append(t.at, pos)
	}
}

// shrink forgets what is at a position and before it. Of a topic that somebody
// listens to it keeps that something was lost.
func (x index) shrink(to int64, watched func(topic) bool) {
	for k, t := range x {
		if n, _ := slices.BinarySearch(t.at, to+1); n > 0 {
			t.lost = t.at[n-1]
			t.at = slices.Clone(t.at[n:])
		}
		if len(t.at) == 0 && !watched(k) {
			delete(x, k)
		}
	}
}

// since are the positions after pos of some topics' entries, each once and in
// order; false: some are forgotten, or may be.
func (x index) since(topics map[topic]struct{}, pos int64) ([]int64, bool) {
	var out []int64
	for k := range topics {
		t := x[k]
		if t == nil || t.lost > pos {
			return nil, false
		}
		n, _ := slices.BinarySearch(t.at, pos+1)
		out = append(out, t.at[n:]...)
	}
	if len(topics) > 1 {
		slices.Sort(out)
		out = slices.Compact(out)
	}
	return out, true
}
