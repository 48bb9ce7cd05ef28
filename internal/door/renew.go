package door

import (
	"maps"
	"net/http"
	"slices"
)

// Renew puts what is upstream on a new token: a second socket is dialled, what
// lives moves there, and the first is closed when it has nothing left. Without
// an upstream the token is kept for when there is one. The role stays what it was,
// whatever the token's default is.
func (l *Link) Renew(header, value, role string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init = maps.Clone(l.init)
	l.init[http.CanonicalHeaderKey(header)] = value
	l.init[headerRole] = role
	if l.cur == nil || l.closed {
		return
	}
	l.all.Go(l.renew)
}

func (l *Link) renew() {
	up, err := l.dial()
	if err != nil {
		l.d.o.Log.WarnContext(l.ctx, "a refreshed session was not taken upstream", "error", err)
		return // the old one lasts as long as its token, and is then dialled anew
	}
	l.mu.Lock()
	old := l.cur
	if l.closed {
		l.mu.Unlock()
		up.bye()
		return
	}
	l.startLocked(up)
	var moved []*op
	ids := map[*op]string{}
	if old != nil {
		for _, o := range slices.SortedFunc(maps.Values(old.ops), byAge) {
			if o.kind == live || !o.wrote.Load() {
				ids[o] = o.id
				old.forgetLocked(o)
				up.takeLocked(o)
				moved = append(moved, o)
			}
		}
		old.left.Store(true)
	}
	moved = append(moved, l.takeWaitingLocked(up)...)
	done := old != nil && len(old.ops) == 0
	l.restLocked(up)
	l.mu.Unlock()
	for o, id := range ids {
		old.stop(o, id)
	}
	sendAll(up, moved)
	if done {
		old.bye()
	}
}
