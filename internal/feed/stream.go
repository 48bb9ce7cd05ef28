package feed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Reason is why a reader does not go on from where it was.
type Reason string

// The reasons. Started: there was no cursor. Expired: what came after it is
// forgotten. Changed: the database is another one, or was set back.
const (
	Started Reason = "started"
	Expired Reason = "expired"
	Changed Reason = "changed"
)

// lookAnyway is how often a stream goes on although nothing woke it.
const lookAnyway = 10 * time.Minute

// askAgain is how often a stream of channels it was asked for makes sure that
// they may still be read: whoever is no member leaves without an entry.
const askAgain = 30 * time.Second

// streamRead is how many entries one batch of a stream holds at most.
const streamRead = 500

// streamBytes is how many bytes of messages a stream reads for itself at once;
// the last of them may go past it.
const streamBytes = 2 << 20

// Batch is what a stream has to tell: a reset or entries, in order, each once.
type Batch struct {
	Reset Reason // "" but where the stream begins anew
	Items []Item
	Live  bool // everything up to now has been told, for the first time since the start or a reset
}

// Stream reads the log on for one viewer. For one goroutine.
type Stream struct {
	s     *Service
	v     viewer.Viewer
	only  []uuid.UUID // the channels asked for; nil: all of the viewer's
	keys  *keyring
	sub   *hub.Sub[topic]
	gs    grants
	epoch [8]byte
	pos   int64
	mark  int64  // of the entry at pos
	from  place  // where it went on from a cursor
	reset Reason // to be told first
	live  bool
	fresh bool // look without being woken
	pending
	counts bool // upTo is known
	upTo   int64
	turn   int // of the tail
	asked  time.Time
	anyway *time.Timer // has it look without being woken
	own    own
}

// pending is what a stream was told of, and has not looked at yet.
type pending struct {
	scan  bool // look at everything since pos, whatever it was told of
	dirty map[topic]struct{}
}

func (p *pending) note(told []topic, all bool) {
	for _, k := range told {
		p.dirty[k] = struct{}{}
	}
	p.scan = p.scan || all
}

// Begins is why the stream does not go on from a cursor, as the first batch of
// Next says; "": it does.
func (x *Stream) Begins() Reason { return x.reset }

// Cursor is where a reader stands after an entry.
func (x *Stream) Cursor(e Entry) string {
	return seal(x, place{epoch: x.epoch, pos: e.Pos, mark: e.Mark})
}

// Here is a cursor after everything told so far.
func (x *Stream) Here() string { return seal(x, placeOf(x)) }

func placeOf(x *Stream) place { return place{epoch: x.epoch, pos: x.pos, mark: x.mark} }

// Earlier reports whether a member of a channel may read messages from before
// it became one: an entry that it joined brings none of them.
func (x *Stream) Earlier(channel uuid.UUID) bool {
	g := x.gs[channel]
	return g.readable && (g.public || len(g.stints) > 1)
}

// Change is what an entry tells of a membership, as the viewer may know it.
func (x *Stream) Change(e Entry) MemberChange { return x.gs.change(e) }

// Close ends the stream; a waiting Next returns.
func (x *Stream) Close() {
	x.sub.Close()
	x.anyway.Stop()
	x.own.end()
}

// lookAgain has a stream look from time to time although nothing woke it.
func lookAgain(x *Stream) {
	every := lookAnyway
	if x.only != nil {
		every = askAgain
	}
	x.anyway = time.AfterFunc(math.MaxInt64, func() {
		if x.sub.Poke() {
			x.anyway.Reset(every)
		}
	})
	x.anyway.Reset(every)
}

// Next waits for something to tell. Errors: ctx's, access-denied once a channel
// asked for may not be read any more, hub.ErrClosed after Close.
func (x *Stream) Next(ctx context.Context) (Batch, error) { return x.next(ctx, true) }

// next is the next batch; an empty one where there is none and it is not to wait.
func (x *Stream) next(ctx context.Context, waits bool) (Batch, error) {
	for {
		x.own.letGo()
		if x.reset != "" {
			b := Batch{Reset: x.reset}
			x.reset = ""
			return b, nil
		}
		if !x.fresh && !waits {
			return Batch{}, nil
		}
		if !x.fresh {
			told, all, err := x.sub.Next(ctx) // not so long that a quiet stream is overtaken by the retention: see anyway
			if x.note(told, all); err != nil {
				return Batch{}, err
			}
		}
		x.fresh = false
		b, err := x.read(ctx)
		if err != nil {
			if f, ok := errors.AsType[*fault.Error](err); ok {
				return b, f
			}
			if ctx.Err() != nil || errors.Is(err, hub.ErrClosed) {
				return b, err
			}
			x.s.o.Log.DebugContext(ctx, "stream of the log", "error", err)
			x.fresh = true // an outage: nothing is lost, it only comes later
			if !wait.For(ctx, pollTail) {
				return b, ctx.Err()
			}
			continue
		}
		if len(b.Items) > 0 || b.Live {
			return b, nil
		}
	}
}

// look is what came since pos and concerns the viewer. ok false: it is to be
// read from the table. What it was told of stays dirty until it is told.
func (x *Stream) look() (items []Item, st state, ok bool) {
	if !x.scan {
		var all bool
		items, st, all, ok = x.s.tail.news(x.sub, x.dirty, x.pos)
		if !all {
			return items, st, ok
		}
		x.scan = true
	}
	return x.s.tail.since(x.pos)
}

// read takes the next entries, from memory where it reaches back far enough.
func (x *Stream) read(ctx context.Context) (Batch, error) {
	if _, err := x.s.tail.known(ctx); err != nil {
		return Batch{}, err
	}
	items, st, ok := x.look()
	if st.turn != x.turn || st.epoch != x.epoch {
		x.turn = st.turn
		return Batch{}, x.begin(st, Changed)
	}
	if !ok {
		if _, err := x.own.hold(ctx, x.s.o.Holding); err != nil {
			return Batch{}, err
		}
		return wait.InTurn(ctx, x.s.o.Turn, func() (Batch, error) { return x.readTable(ctx, st) })
	}
	if due(x.asked, x.only) || slices.ContainsFunc(items, func(it Item) bool { return x.gs.moves(x.v, it.Entry) }) {
		if !x.scan { // of what it may read anew it was not told
			x.scan = true
			return x.read(ctx)
		}
		var now state
		var why Reason
		if err := x.s.o.Turn.Do(ctx, func() (err error) { now, why, err = x.regrant(ctx, upTo(x, items)); return err }); err != nil {
			return Batch{}, err
		}
		if why != "" {
			return Batch{}, anew(x, now, why)
		}
		x.fresh = true // what came between reading the rights and listening
	}
	return x.take(ctx, items, st)
}

// take tells what the viewer may see of the next entries, as many as go into a
// batch, and goes on to where that ends.
func (x *Stream) take(ctx context.Context, items []Item, st state) (Batch, error) {
	later := changes(items)
	part := len(items) > streamRead
	if part {
		items = items[:streamRead]
	}
	b := x.visible(items)
	for i := range b.Items {
		if last := later[b.Items[i].Message]; last != nil && last.Pos > b.Items[i].Pos { // the tail has it as it was: what was taken back since is told nobody
			b.Items[i].become(last)
		}
	}
	n := len(b.Items)
	if slices.ContainsFunc(b.Items, func(it Item) bool { return !it.loaded }) {
		held, err := x.own.hold(ctx, x.s.o.Holding)
		switch {
		case err != nil:
			return Batch{}, err
		case !held: // and may have waited long: what was taken back meanwhile is told nobody
			return x.read(ctx)
		}
		var now state
		if n, err = wait.InTurn(ctx, x.s.o.Turn, func() (n int, err error) { n, now, err = x.s.load(ctx, b.Items, streamBytes); return n, err }); err != nil {
			return Batch{}, err
		}
		if why := judge(upTo(x, b.Items), now); why != "" {
			return Batch{}, anew(x, now, why)
		}
	}
	switch {
	case n < len(b.Items):
		b.Items = b.Items[:n]
		x.pos, x.mark = b.Items[n-1].Pos, b.Items[n-1].Mark
		x.fresh = true
	case part:
		x.pos, x.mark = items[len(items)-1].Pos, items[len(items)-1].Mark
		x.fresh, x.scan = true, true // which copies nothing
	default:
		if st.pos > x.pos {
			x.pos, x.mark = st.pos, st.mark
		}
		clear(x.dirty)
		x.scan = x.fresh
	}
	if !x.live && !x.fresh {
		x.live, b.Live = true, true
	}
	return b, nil
}

// become has an entry speak of its message as a later one found it, or leaves that to
// be read. The memo is its own: what is told of it is of its place and kind.
func (it *Item) become(last *Item) {
	it.Body, it.size, it.loaded, it.memo = nil, 0, false, nil
	if last.loaded && last.Channel == it.Channel {
		it.Body, it.size, it.loaded, it.memo = last.Body, last.size, true, &memo{}
	}
}

// changes are the last entries of messages that were changed or deleted.
func changes(items []Item) (out map[uuid.UUID]*Item) {
	for i := range items {
		it := &items[i]
		if it.Kind == Updated || it.Kind == Deleted {
			if out == nil { // mostly there are none
				out = map[uuid.UUID]*Item{}
			}
			out[it.Message] = it
		}
	}
	return out
}

// begin starts the stream anew where the log ended, and says why first.
func (x *Stream) begin(st state, why Reason) error {
	keys, err := x.s.sealerOf(st).keyring(x.v, nil)
	if err != nil {
		return err
	}
	x.keys, x.epoch, x.pos, x.mark, x.reset, x.live, x.fresh, x.scan = keys, st.epoch, st.pos, st.mark, why, false, true, true
	x.asked = time.Time{} // the rights were those of the history before
	return nil
}

// upTo is the place of the last entry that is to be told.
func upTo(x *Stream, items []Item) place {
	p := placeOf(x)
	if n := len(items); n > 0 {
		p.pos, p.mark = items[n-1].Pos, items[n-1].Mark
	}
	return p
}

// errOther is that the database is another one than the tail has read.
var errOther = errors.New("the database is another one than was read before")

// anew is what becomes of entries of the tail where what was read for them in the database
// is not of their history. That the database is another one the tail finds out too, and all
// its streams by that, each once: until then nothing is told.
func anew(x *Stream, now state, why Reason) error {
	if why == Changed {
		x.s.tail.wake.Raise()
		return errOther
	}
	return x.begin(now, why)
}

func (x *Stream) visible(items []Item) (b Batch) {
	for _, it := range items {
		if x.gs.sees(x.v, it.Entry, it.senders) {
			b.Items = append(b.Items, it)
		}
	}
	return b
}

// readTable catches up by the table, with rights read after the entries: what
// may not be read any more is not told.
func (x *Stream) readTable(ctx context.Context, st state) (Batch, error) {
	now, why, err := x.regrant(ctx, placeOf(x))
	if err != nil {
		return Batch{}, err
	}
	if why != "" {
		return Batch{}, x.begin(now, why)
	}
	db, release, err := oneOf(ctx, x.s.o.Pool) // as readOn does
	if err != nil {
		return Batch{}, fmt.Errorf("reading the log: %w", err)
	}
	defer release()
	list, end, err := x.s.look.on(ctx, db, x.v, x.gs.readable(), x.only == nil, x.pos, st.pos, streamRead)
	if err != nil {
		return Batch{}, err
	}
	mark := st.mark
	if len(list) < streamRead && end < st.pos {
		if mark, err = markAt(ctx, db, end); err != nil {
			return Batch{}, err
		}
	}
	// Read again after the entries: one forgotten meanwhile would be a silent gap.
	if now, err = loadState(ctx, db, x.pos); err != nil {
		return Batch{}, err
	}
	if why := judge(placeOf(x), now); why != "" {
		return Batch{}, x.begin(now, why)
	}
	items, err := x.s.fill(ctx, db, list, streamBytes, all)
	if err != nil {
		return Batch{}, err
	}
	x.fresh, x.scan = true, true
	x.pos, x.mark = end, mark
	if len(list) == streamRead {
		x.pos, x.mark = list[len(list)-1].Pos, list[len(list)-1].Mark
	}
	if n := slices.IndexFunc(items, func(it Item) bool { return !it.loaded }); n > 0 {
		items = items[:n]
		x.pos, x.mark = items[n-1].Pos, items[n-1].Mark
	}
	return x.visible(items), nil
}
