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

// Now is Next without waiting, for the database or for news: what memory has, which
// nobody may change. None: there is nothing, and what comes wakes. ok false: Look is to be asked,
// which loses nothing by it. Decides nothing itself: where anything may have
// changed what the viewer may see, Look asks the database.
func (x *Stream) Now() (list []*Item, ok bool) {
	if x.reset != "" || x.fresh || x.scan || !x.live {
		return nil, false
	}
	ask := func() ([]*Item, bool) {
		x.fresh = true
		return nil, false
	}
	told, all, asked := x.sub.Now()
	if x.heard(told, all); all || asked {
		return ask()
	}
	if len(x.dirty) == 0 {
		return nil, true
	}
	items, st, turn, all, ok := x.s.tail.latest(x.sub, x.dirty, x.pos)
	if x.scan = all; all || !ok || turn != x.turn || st.epoch != x.epoch || len(items) > streamRead || x.due() || !x.plain(items) {
		return ask()
	}
	list = items[:0]
	for _, it := range items {
		if x.gs.sees(x.v, it.Entry, it.senders) {
			list = append(list, it)
		}
	}
	if st.pos > x.pos {
		x.pos, x.mark = st.pos, st.mark
	}
	clear(x.dirty)
	return list, true
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
func (x *Stream) plain(items []*Item) bool {
	for i, it := range items {
		if !it.loaded || x.gs.moves(x.v, it.Entry) {
			return false
		}
		if i > 0 && (it.Kind == Updated || it.Kind == Deleted) {
			if slices.ContainsFunc(items[:i], func(before *Item) bool { return before.Message == it.Message }) {
				return false
			}
		}
	}
	return true
}
