package feed

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestTheIndexFindsWhatAScanFinds: whatever comes, and however seldom somebody
// looks, its topics bring exactly the entries that looking at all would.
func TestTheIndexFindsWhatAScanFinds(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's choices
	ids := make([]uuid.UUID, 12)
	for i := range ids {
		ids[i] = uuid.New()
	}
	kinds := []Kind{Created, Updated, Deleted, Joined, Left, Member, Channel, Opened, Gone, Mark, Notify}
	x := newTail()
	var all []Item
	type reader struct {
		topics []topic
		pos    int64
		dirty  map[topic]struct{}
	}
	const readers = 5
	rs, read := make([]reader, readers), 0
	subs := make([]func() ([]Item, state, bool, bool), readers)
	for i := range rs {
		rs[i] = reader{dirty: map[topic]struct{}{}, topics: []topic{{id: ids[r.IntN(len(ids))]}, {id: ids[r.IntN(len(ids))], rights: true}, topicOf(ids[i])}}
		sub := x.hub.Subscribe(rs[i].topics...)
		subs[i] = func() ([]Item, state, bool, bool) { return x.news(sub, rs[i].dirty, rs[i].pos) }
	}
	for len(all) < 5*kept {
		items := make([]Item, 1+r.IntN(40))
		for i := range items {
			items[i] = Item{Entry: Entry{Pos: int64(len(all) + i + 1), Kind: kinds[r.IntN(len(kinds))],
				Channel: ids[r.IntN(len(ids))], User: ids[r.IntN(len(ids))]}}
			if items[i].Kind == Mark {
				items[i].senders = map[uuid.UUID]struct{}{ids[r.IntN(len(ids))]: {}}
			}
		}
		all = append(all, items...)
		x.push(items)
		if r.IntN(20) > 0 {
			continue
		}
		i := r.IntN(readers)
		got, st, every, ok := subs[i]()
		if every {
			t.Fatal("told to look at everything")
		}
		var want []int64
		for _, it := range all[rs[i].pos:] {
			mine := false
			it.concerns(func(k topic) { mine = mine || slices.Contains(rs[i].topics, k) })
			if mine {
				want = append(want, it.Pos)
			}
		}
		if !ok { // it looked so seldom that the tail has forgotten something of its
			if len(want) == 0 || want[0] > st.pos-int64(len(x.items)) {
				t.Fatalf("position %d of %d: nothing of %v is forgotten", rs[i].pos, st.pos, want)
			}
			rs[i].pos = st.pos
			clear(rs[i].dirty)
			continue
		}
		var is []int64
		for _, it := range got {
			is = append(is, it.Pos)
		}
		if !slices.Equal(is, want) {
			t.Fatalf("got %v, want %v", is, want)
		}
		rs[i].pos, read = st.pos, read+len(got)
		clear(rs[i].dirty)
	}
	if read == 0 {
		t.Fatal("nothing was read")
	}
}

// TestAQuietStreamReadsFromMemory: what happens in a thousand other channels
// neither wakes it nor sends it to the table, and what it slept through it knows.
func TestAQuietStreamReadsFromMemory(t *testing.T) {
	t.Parallel()
	x, mine := newTail(), uuid.New()
	sub, dirty := x.hub.Subscribe(topic{id: mine}), map[topic]struct{}{}
	entry := func(pos int64, c uuid.UUID) []Item {
		return []Item{{Entry: Entry{Pos: pos, Kind: Created, Channel: c}}}
	}
	pos := int64(0)
	busy := func() {
		for range 3 * kept {
			pos++
			x.push(entry(pos, uuid.New()))
		}
	}
	busy()
	if told, all := sub.Take(); len(told) > 0 || all {
		t.Fatal("others' messages woke it")
	}
	pos++
	x.push(entry(pos, mine))
	items, st, _, ok := x.news(sub, dirty, 0)
	if !ok || len(items) != 1 || items[0].Pos != pos || st.pos != pos {
		t.Fatalf("%v %v", ok, items)
	}
	if n := len(x.index); n > 2*kept+2 {
		t.Errorf("%d topics are kept", n)
	}
	busy()
	if _, _, _, ok = x.news(sub, dirty, 0); ok {
		t.Error("it has forgotten an entry and does not say so")
	}
}

// TestASetBackDatabaseIsNoticedAtOnce: also where the tail hears of it while a stream looks,
// which takes away what woke it.
func TestASetBackDatabaseIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	s := &Service{tail: newTail(), seals: map[string]*sealer{}}
	s.tail.enter(state{})
	for i := range int64(5000) {
		s.tail.enter(state{pos: 9, mark: i + 1, standing: -1}) // another entry is there each time
		x := &Stream{s: s, turn: s.tail.turns(), pos: 9, mark: i + 1, live: true, asked: time.Now(), pending: pending{dirty: map[topic]struct{}{}}}
		x.sub = s.tail.hub.Subscribe(topicOf(uuid.Nil))
		done := make(chan struct{})
		go func() {
			s.tail.enter(state{pos: 5, mark: i + 1, standing: -1})
			close(done)
		}()
		b, err := x.read(t.Context())
		if err != nil || len(b.Items) > 0 {
			t.Fatal(b, err)
		}
		<-done
		if _, all := x.sub.Take(); !all && x.reset != Changed {
			t.Fatalf("at %d nothing tells it to look", i)
		}
		x.sub.Close()
	}
}
