package presence

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Changes is Watcher.Presence for one who asks, instead of a channel: each user's
// state, then every change this viewer may notice, each as it is when it is asked
// for. Its methods are for one goroutine at a time, but for Close.
type Changes struct {
	mu     sync.Mutex
	closed bool        // guarded by mu
	t      *tracker    // guarded by mu; its sub is not
	dirty  []uuid.UUID // guarded by mu: to be looked at
	begun  bool        // guarded by mu
}

// Changes begins what Presence streams.
func (wa *Watcher) Changes(v viewer.Viewer, users []uuid.UUID) *Changes {
	t := wa.mirror.track(v, distinct(users))
	return &Changes{t: t, dirty: t.users}
}

// Woken has f called whenever there may be more. f must not block.
func (c *Changes) Woken(f func()) { c.t.sub.Woken(f) }

// Close ends it; a Next that waits returns.
func (c *Changes) Close() {
	c.t.sub.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.t.close()
	}
}

// Now is the next change, without waiting for anything: what memory has. told
// false: there is none, and what comes wakes. ok false: Look is to be asked, which
// loses nothing by it.
func (c *Changes) Now() (v View, told, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.begun {
		return View{}, false, false
	}
	for {
		if len(c.dirty) == 0 {
			news, all, asked := c.t.sub.Now()
			if asked {
				return View{}, false, false
			}
			if c.dirty, _ = c.t.concerned(news, all); len(c.dirty) == 0 {
				return View{}, false, true
			}
		}
		view, ok := c.t.peek(c.dirty[0])
		if !ok {
			return View{}, false, false
		}
		if c.differs(view) {
			return view, true, true
		}
	}
}

// differs takes the first user off, and reports whether its view is not what was
// told last. The reader's mu is held.
func (c *Changes) differs(view View) bool {
	u := c.dirty[0]
	c.dirty = c.dirty[1:]
	if old, told := c.t.last[u]; told && old.equal(view) {
		return false
	}
	c.t.last[u] = view
	return true
}

// Look is Now, and asks the database where that is needed. Errors: ctx's, and
// hub.ErrClosed after Close.
func (c *Changes) Look(ctx context.Context) (v View, told bool, err error) { return c.next(ctx, false) }

// Next waits for the next change. Errors: as Look.
func (c *Changes) Next(ctx context.Context) (View, error) {
	v, _, err := c.next(ctx, true)
	return v, err
}

func (c *Changes) next(ctx context.Context, waits bool) (View, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return View{}, false, hub.ErrClosed
	}
	if !c.begun {
		c.t.meet(ctx)
		c.t.mirror.catchUp(ctx, c.t.keys...)
		c.begun = true
	}
	for {
		view, told, err := c.first(ctx)
		switch {
		case told:
			return view, true, nil
		case err != nil && !c.t.pause(ctx, err):
			return View{}, false, err
		case err != nil:
			continue // the same again: what was told is not told twice
		}
		if waits {
			c.dirty, _, err = c.t.next(ctx)
		} else {
			if !c.t.sub.Open() {
				return View{}, false, hub.ErrClosed
			}
			news, all := c.t.sub.Take() // and what it was poked for: Now would ask for ever
			if c.dirty, _ = c.t.concerned(news, all); len(c.dirty) == 0 {
				return View{}, false, nil
			}
		}
		if err != nil {
			return View{}, false, err
		}
	}
}

// first is the first of those to be looked at whose view changed. The reader's mu
// is held.
func (c *Changes) first(ctx context.Context) (View, bool, error) {
	if err := c.t.relate(ctx, c.dirty); err != nil {
		return View{}, false, err
	}
	for len(c.dirty) > 0 {
		view, err := c.t.current(ctx, c.dirty[0])
		if err != nil {
			return View{}, false, err
		}
		if c.differs(view) {
			return view, true, nil
		}
	}
	return View{}, false, nil
}
