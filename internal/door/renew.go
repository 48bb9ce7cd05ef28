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
	if l.cur == nil && !l.dialing || l.closed { // what is being dialled may say the old one
		return
	}
	l.renewals++
	if l.renewals == 1 {
		l.all.Go(l.renew)
	}
}

// renew dials for the last token there was, no more often than what was lost is
// dialled again: thousands of tokens may end in the same minute.
func (l *Link) renew() {
	for {
		l.mu.Lock()
		asked := l.renewals
		l.mu.Unlock()
		if l.d.pace.Wait(l.ctx) != nil {
			return
		}
		up, err := l.dial()
		if err != nil && l.ctx.Err() == nil { // the old one lasts as long as its token, and is then dialled anew
			l.d.o.Log.WarnContext(l.ctx, "a refreshed session was not taken upstream", "error", err)
		}
		if l.renewed(up, asked) {
			return
		}
	}
}

// renewed has what lives upstream go on at up, which was dialled when so many
// tokens had been given; nil: in vain. false: another has come meanwhile.
func (l *Link) renewed(up *upstream, asked int) bool {
	l.mu.Lock()
	last := l.renewals == asked
	if last {
		l.renewals = 0
	}
	if up == nil || l.closed || !last {
		over := last || l.closed
		l.mu.Unlock()
		if up != nil {
			up.bye()
		}
		return over
	}
	old := l.cur
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
	return true
}
