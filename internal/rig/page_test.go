package rig

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// page is a user with a page: a client in TypeScript, of those that a process of Node
// has. What it was told is in the lines that this one writes; heard makes of them what
// other clients record.
//
// Left out are invariants of what it does not do here: it does not edit, read, type or
// watch anybody (I5, I7, I10, and I6 as a viewer), and is removed from no room (R17).
type page struct {
	r     *rig
	user  string
	token string
	rand  *rand.Rand // of the writer alone

	told     *Client          // guarded by the pages' mu, as are the rest
	known    map[string]int64 // by channel
	versions map[string]int   // by message, what was told
	aside    []Told           // its own messages, told by their answers before what others wrote before them
	void     bool             // a fresh start is not over
	up       bool
	waits    map[string]bool // keys that were queued and have no answer
	taken    int             // messages queued and answered in this dose
}

func (r *rig) newPage(i int, seed uint64) *page {
	user := userID(r.size.people + i).String()
	return &page{r: r, user: user, rand: rand.New(rand.NewPCG(seed, uint64(i)+1e6)), told: &Client{User: user, Hold: held},
		known: map[string]int64{}, versions: map[string]int{}, void: true, waits: map[string]bool{}}
}

// line is what the process says of a page: see web/client/test/rig/client.ts.
type line struct {
	Kind, Channel, ID, Key, What          string
	At, Began, Alive                      int64 // in milliseconds
	Seq                                   int64
	Page, Version, Place, Socket, Node, N int
	Read, Code                            int64
	Reads                                 map[int]int64 // by socket
	Own, Here                             bool
}

// moment is when, as a browser's clock has it; what is said to have been after may have
// been a millisecond later.
func moment(ms, after int64) time.Time { return time.UnixMilli(ms + after) }

// heard takes in what is told of a page, but for what concerns its sockets.
func (p *page) heard(l line) {
	t := Told{Channel: l.Channel, Seq: l.Seq, ID: l.ID, Version: l.Version, At: moment(l.At, 0)}
	switch l.Kind {
	case "base":
		t.Kind, p.void = Base, false
		p.told.Told, p.known[t.Channel] = append(p.told.Told, t), t.Seq
		p.aside = slices.DeleteFunc(p.aside, func(x Told) bool { return x.Channel == t.Channel && x.Seq <= t.Seq }) // fetched
		p.placed(t.Channel)
	case "reset":
		p.told.Told, p.void = append(p.told.Told, Told{Kind: Reset}), true
		p.known, p.versions, p.aside = map[string]int64{}, map[string]int{}, nil
	case "created":
		t.Kind = Created
		if _, again := p.versions[t.ID]; l.Own && !again && (p.void || t.Seq != p.known[t.Channel]+1) {
			p.aside = append(p.aside, t)
			return
		}
		p.tell(t)
		p.placed(t.Channel)
	case "updated":
		t.Kind = Updated
		p.tell(t)
	case "sent":
		p.taken++
		delete(p.waits, l.Key)
		p.r.acked(Ack{Key: l.Key, Channel: l.Channel, Sender: p.user, ID: l.ID, Seq: l.Seq, Began: moment(l.Began, 0), At: moment(l.At, 1), Place: l.Place})
		read := Read{User: p.user, Channel: l.Channel, Known: l.Seq - 1, Need: l.Seq} // what it shows, as the queue says that it is sent
		if l.Here {
			read.Brought = []int64{l.Seq}
		}
		p.r.synced(read)
	case "failed":
		delete(p.waits, l.Key)
		p.r.odd("in TypeScript: " + l.What)
	case "odd":
		p.r.odd("in TypeScript: " + l.What)
	case "there":
		p.up = true
		p.r.enter(p.user, moment(l.At, 1))
	case "silent": // it asks every ten seconds whether its server lives; one that says nothing for five may have been paused, and called dead
		if p.up {
			p.r.span(p.user, moment(l.Alive, 0))
			p.r.enter(p.user, moment(l.At, 1))
		}
	case "gone":
		p.up = false
		p.r.span(p.user, moment(l.Alive, 0))
	}
}

func (p *page) tell(t Told) {
	p.told.Told = append(p.told.Told, t)
	p.versions[t.ID] = max(p.versions[t.ID], t.Version)
	if t.Kind == Created {
		p.known[t.Channel] = max(p.known[t.Channel], t.Seq)
	}
}

// placed tells those of its own messages whose turn it is now: a page shows them where
// they belong as soon as they are answered, and is told what others wrote before later.
func (p *page) placed(channel string) {
	for {
		i := slices.IndexFunc(p.aside, func(t Told) bool { return t.Channel == channel && t.Seq == p.known[channel]+1 })
		if i < 0 {
			return
		}
		t := p.aside[i]
		p.aside = slices.Delete(p.aside, i, i+1)
		p.tell(t)
	}
}

// last tells what of its own never had a turn: the checker says what is wrong then.
func (p *page) last() {
	slices.SortStableFunc(p.aside, func(a, b Told) int { return int(a.Seq - b.Seq) })
	for _, t := range p.aside {
		p.tell(t)
	}
	p.aside = nil
}

// all reports whether it is there, and knows every number, and every version of what it
// holds.
func (p *page) all(rows []Row, last map[string]int64) bool {
	ok := p.up && !p.void
	for _, ch := range p.r.channelsOf(0) {
		ok = ok && p.known[ch] >= last[ch]
	}
	for _, x := range rows {
		v, told := p.versions[x.ID]
		ok = ok && (!told || v >= x.Version || x.Seq <= last[x.Channel]-held)
	}
	return ok
}

// write has the page's queue take a message every so often until ctx ends. It does not
// wait for answers: what is queued meanwhile goes together.
func (p *page) write(ctx context.Context, pace time.Duration) {
	for range paced(ctx, p.rand, pace) {
		mine, key := p.r.channelsOf(0), p.r.key()
		p.r.pages.send(p, mine[p.rand.IntN(len(mine))], key)
	}
}
