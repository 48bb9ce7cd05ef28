package feed

import (
	"context"
	"slices"
	"time"

	"github.com/nself-org/nchat-realtime/internal/hub"
)

// Woken has f called whenever Now or Next may have more. f must not block; nil:
// nothing is called any more.
func (x *Stream) Woken(f func()) { x.sub.Woken(f) }

// Now is Next without waiting, for the database or for news: what memory has.
// An empty batch: nothing, and what comes wakes. ok false: Look is to be asked,
// which loses nothing by it. Decides nothing itself: where anything may have
// changed what the viewer may see, Look asks the database.
func (x *Stream) Now() (b Batch, ok bool) {
	if x.reset != "" || x.fresh || x.scan || !x.live {
		return Batch{}, false
	}
	ask := func() (Batch, bool) {
		x.fresh = true
		return Batch{}, false
	}
	told, all, asked := x.sub.Now()
	if x.heard(told, all); all || asked {
		return ask()
	}
	if len(x.dirty) == 0 {
		return Batch{}, true
	}
	items, st, turn, all, ok := x.s.tail.latest(x.sub, x.dirty, x.pos)
	if x.scan = all; all || !ok || turn != x.turn || st.epoch != x.epoch || len(items) > streamRead || x.due() || !x.plain(items) {
		return ask()
	}
	b = x.visible(items)
	if st.pos > x.pos {
		x.pos, x.mark = st.pos, st.mark
	}
	clear(x.dirty)
	return b, true
}

// Look is Next without waiting for news: an empty batch where there are none.
func (x *Stream) Look(ctx context.Context) (Batch, error) {
	if !x.sub.Open() {
		return Batch{}, hub.ErrClosed
	}
	told, all := x.sub.Take() // and what it was poked for
	x.heard(told, all)
	x.fresh = true
	return x.next(ctx, false)
}

// due reports whether the rights are to be read again.
func (x *Stream) due() bool {
	return x.asked.IsZero() || x.only != nil && time.Since(x.asked) >= askAgain-time.Second
}

// plain reports whether entries can be told as they are here: they change
// nobody's rights, their messages are in memory, and none was changed by a later
// one of them.
func (x *Stream) plain(items []Item) bool {
	later := changes(items)
	return !slices.ContainsFunc(items, func(it Item) bool {
		return !it.loaded || later[it.Message] > it.Pos || x.gs.moves(x.v, it.Entry)
	})
}
