package door

import (
	"maps"
	"slices"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// missed ends what has waited long enough; false: nothing waits any more.
func (l *Link) missed() bool {
	l.mu.Lock()
	l.failed++
	l.fell = time.Now()
	over := l.overdueLocked()
	more := len(l.waiting) > 0
	l.dialing = more
	l.mu.Unlock()
	l.d.away(over)
	return more
}

// lateLocked has what waits end in time, also while nobody tries to dial.
func lateLocked(l *Link) {
	if l.closed || len(l.waiting) == 0 {
		return
	}
	now := time.Now()
	next := l.d.times.again
	for _, o := range l.waiting {
		next = min(next, l.d.times.patience(o)-now.Sub(o.since))
	}
	next = max(next, time.Millisecond)
	at := now.Add(next)
	if l.late != nil && (!at.Before(l.lateAt) || !l.late.Stop()) { // soon enough, or about to look itself
		return
	}
	l.lateAt = at
	l.late = time.AfterFunc(next, func() {
		l.mu.Lock()
		l.late = nil
		over := l.overdueLocked()
		lateLocked(l)
		l.mu.Unlock()
		l.d.away(over)
	})
}

// patience is how long an operation waits for an upstream.
func (t times) patience(o *op) time.Duration {
	if o.has.Load() {
		return t.again
	}
	return t.first
}

// overdueLocked takes out what has waited for an upstream long enough.
func (l *Link) overdueLocked() (over []*op) {
	l.waiting = slices.DeleteFunc(l.waiting, func(o *op) bool {
		late := time.Since(o.since) >= l.d.times.patience(o)
		if late {
			over = append(over, o)
		}
		return late
	})
	return over
}

func (d *Door) away(over []*op) {
	for _, o := range over {
		d.end(o, fault.Later(fault.Upstream, 0, "Hasura cannot be reached"))
	}
}

// end ends an operation with an error of the door's.
func (d *Door) end(o *op, f *fault.Error) {
	if d.o.Observer.Ended != nil {
		d.o.Observer.Ended(string(f.Code))
	}
	o.end(wsock.End{Err: f})
}

// lost sorts what an upstream's end leaves behind.
func (l *Link) lost(up *upstream, why string) {
	ends := map[*op]*fault.Error{} // nil: it has had all it was to have
	l.mu.Lock()
	delete(l.ups, up)
	current := l.cur == up
	if current {
		l.cur = nil
		if time.Since(up.began) > l.d.times.steady {
			l.failed = 0
		}
		l.failed++
		l.fell = time.Now()
	}
	for _, o := range slices.SortedFunc(maps.Values(up.ops), byAge) {
		over := true
		switch {
		case !o.wrote.Load():
			over = false
		case o.kind == live:
			over = false
		case o.kind.once() && o.has.Load(): // but for its end
			ends[o] = nil
		case o.kind == query && !o.again:
			o.again, over = true, false
		case o.kind == mutation || o.kind == unsure:
			ends[o] = fault.New(fault.Unknown, "Hasura went away while it ran this: look whether it was done before it is sent again")
		default:
			ends[o] = fault.Later(fault.Upstream, 0, "Hasura went away: subscribe again from where you are")
		}
		if !over {
			o.up.Store(nil)
			if o.fresh.Swap(false) {
				o.since = time.Now()
			}
			l.waiting = append(l.waiting, o)
		}
	}
	up.ops = nil
	up.pulse.Stop()
	over := l.overdueLocked()
	next := l.cur
	list := l.takeWaitingLocked(next)
	lateLocked(l)
	if len(l.waiting) > 0 {
		l.dialLocked()
	}
	quiet := l.closed
	l.mu.Unlock()
	if !quiet && (!up.left.Load() || len(ends) > 0) && l.d.o.Observer.Lost != nil {
		l.d.o.Observer.Lost(why)
	}
	for o, f := range ends {
		if f == nil {
			o.end(wsock.End{})
			continue
		}
		l.d.end(o, f)
	}
	l.d.away(over)
	if next != nil {
		sendAll(next, list)
	}
}
