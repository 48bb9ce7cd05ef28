package presence

import (
	"bytes"
	"context"
	"errors"
	"sort"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Window streams a page of a channel's members. It ends with an error when the
// viewer may no longer see the channel; fail is called with it before the end.
func (wa *Watcher) Window(ctx context.Context, v viewer.Viewer, channel uuid.UUID, first *int, after *string, fail func(error)) (
	<-chan Batch, error) {
	n, err := PageSize(first)
	if err != nil {
		return nil, err
	}
	from, err := parsePosition(after)
	if err != nil {
		return nil, err
	}
	wa.mirror.rooms.open(channel)
	found, err := loadMembers(ctx, wa.w.pool, v.Key, []uuid.UUID{channel})
	members, ok := found[channel]
	if err == nil && !ok {
		err = fault.Access()
	}
	if err == nil {
		err = wa.w.watching(ctx, v, len(members), true)
	}
	if err != nil {
		wa.mirror.rooms.close(channel)
		return nil, err
	}
	out := make(chan Batch)
	go func() {
		defer close(out)
		defer wa.mirror.rooms.close(channel)
		w := &window{mirror: wa.mirror, v: v, channel: channel, size: n, from: from}
		if err := w.run(ctx, members, out); err != nil && ctx.Err() == nil {
			fail(err)
		}
	}()
	return out, nil
}

// A window looks at all of a channel whenever one of its members changes: it takes
// a tenth of the time for that, and tells within a second of it all the same.
const (
	windowShare = 10
	windowRest  = time.Second
)

// restAfter is how long a window rests after a look that took so long.
func restAfter(took time.Duration) time.Duration {
	return min((windowShare-1)*took, windowRest)
}

// window is one viewer's page of one channel's members. The whole channel is
// projected for that viewer, for the counts and for who stands on the page.
type window struct {
	mirror  *mirror
	v       viewer.Viewer
	channel uuid.UUID
	size    int
	from    position

	t      *tracker
	order  []position // every member, in list order
	counts Counts
	told   map[uuid.UUID]View // those on the page as the reader holds them
}

// run sends the snapshot and then what changes, until ctx ends or the viewer
// may no longer see the channel.
func (w *window) run(ctx context.Context, members []uuid.UUID, out chan<- Batch) error {
	w.t = w.mirror.track(w.v, members, w.channel)
	defer w.t.close()
	w.t.meet(ctx)
	w.mirror.catchUp(ctx, w.t.keys...)
	var told *Counts
	dirty, again := members, true
	for {
		began := time.Now()
		if err := w.refresh(ctx, dirty, again); err != nil {
			if f, ok := errors.AsType[*fault.Error](err); ok {
				return f
			}
			if !w.t.pause(ctx, err) {
				return nil
			}
			continue
		}
		b, news := w.batch(told)
		rest := restAfter(time.Since(began))
		if news {
			select {
			case out <- b:
			case <-ctx.Done():
				return nil
			}
			c := w.counts
			told = &c
		}
		if !wait.For(ctx, rest) { // what comes meanwhile is one look
			return nil
		}
		var err error
		if dirty, again, err = w.t.next(ctx); err != nil {
			return nil
		}
	}
}

// refresh projects those who changed, and the list of members if that did.
func (w *window) refresh(ctx context.Context, dirty []uuid.UUID, members bool) error {
	if members {
		found, err := w.t.members(ctx, w.channel)
		if err != nil {
			return err
		}
		ids, ok := found[w.channel]
		if !ok {
			return fault.Access()
		}
		dirty = append(w.arrive(ids), dirty...)
	}
	here := dirty[:0:0]
	for _, u := range dirty {
		if _, ok := w.t.rels[u]; ok || w.watches(u) {
			here = append(here, u)
		}
	}
	moved := false
	err := w.t.changes(ctx, here, func(View) bool { moved = true; return true })
	if moved || members {
		w.arrange()
	}
	return err
}

func (w *window) watches(u uuid.UUID) bool {
	i := sort.Search(len(w.t.users), func(i int) bool { return bytes.Compare(w.t.users[i][:], u[:]) >= 0 })
	return i < len(w.t.users) && w.t.users[i] == u
}

// arrive takes the list of members as it is now (by id, as it is read), and
// answers who is not known yet.
func (w *window) arrive(ids []uuid.UUID) []uuid.UUID {
	w.t.set(ids)
	var unknown []uuid.UUID
	for _, u := range ids {
		if _, ok := w.t.last[u]; !ok {
			unknown = append(unknown, u)
		}
	}
	return unknown
}

func (w *window) arrange() {
	w.order, w.counts = w.order[:0], Counts{}
	for _, v := range w.t.last {
		w.order = append(w.order, positionOf(v))
		w.counts.add(v.Status, 1)
	}
	sort.Slice(w.order, func(i, j int) bool { return w.order[i].before(w.order[j]) })
}

// batch is what the reader does not hold yet; false: nothing. Where it holds
// somebody who is no member any more, or as many beside the page as there are on
// it, it gets the page anew.
func (w *window) batch(told *Counts) (Batch, bool) {
	b := Batch{Presences: []View{}}
	at := sort.Search(len(w.order), func(i int) bool { return w.from.before(w.order[i]) })
	page := w.order[at:min(at+w.size, len(w.order))]
	next := make(map[uuid.UUID]View, len(page))
	for _, p := range page {
		next[p.id] = w.t.last[p.id]
	}
	ids, ok := w.beside(next)
	if b.Snapshot = told == nil || !ok; b.Snapshot {
		w.told, ids = nil, nil
	}
	for _, p := range page {
		ids = append(ids, p.id)
	}
	for _, id := range ids {
		view := w.t.last[id]
		if old, held := w.told[id]; !held || !old.equal(view) {
			b.Presences = append(b.Presences, view)
		}
		next[id] = view
	}
	w.told = next
	if b.Snapshot || *told != w.counts {
		c := w.counts
		b.Counts = &c
	}
	return b, b.Snapshot || b.Counts != nil || len(b.Presences) > 0
}

// beside are those whom the reader holds from before and who are not on the page
// any more: it must not go on holding what they were. false: it is to hold the page alone.
func (w *window) beside(page map[uuid.UUID]View) (ids []uuid.UUID, ok bool) {
	for id := range w.told {
		if _, on := page[id]; on {
			continue
		}
		if _, member := w.t.last[id]; !member || len(ids) == w.size {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}
