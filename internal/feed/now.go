package feed

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Woken has f called whenever Now or Next may have more. f must not block; nil:
// nothing is called any more.
func (x *Stream) Woken(f func()) { x.sub.Woken(f) }

// Now is Next without waiting, for the database or for news: what memory has, which
// nobody may change. None: there is nothing, and what comes wakes. ok false: Look is to be asked,
// which loses nothing by it. Decides nothing itself: where anything may have
// changed what the viewer may see, Look asks the database.
func (x *Stream) Now() (list []*Item, ok bool) {
	x.own.letGo()
	if x.reset != "" || x.fresh || x.scan || !x.live {
		return nil, false
	}
	ask := func() ([]*Item, bool) {
		x.fresh = true
		return nil, false
	}
	told, all, asked := x.sub.Now()
	if x.note(told, all); all || asked {
		return ask()
	}
	if len(x.dirty) == 0 {
		return nil, true
	}
	items, st, all, ok := x.s.tail.latest(x.sub, x.dirty, x.pos)
	if x.scan = all; all || !ok || st.turn != x.turn || st.epoch != x.epoch || len(items) > streamRead || due(x.asked, x.only) || !plain(x.gs, x.v, items) {
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
	x.note(told, all)
	x.fresh = true
	return x.next(ctx, false)
}

// due reports whether rights that were asked for at a time, for these channels or
// all, are to be read again.
func due(asked time.Time, only []uuid.UUID) bool {
	return asked.IsZero() || only != nil && time.Since(asked) >= askAgain-time.Second
}

// plain reports whether entries can be told as they are here: they change
// nobody's rights, their messages are in memory, and none was changed by a later
// one of them.
func plain(gs grants, v viewer.Viewer, items []*Item) bool {
	for i, it := range items {
		if !it.loaded || gs.moves(v, it.Entry) {
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
