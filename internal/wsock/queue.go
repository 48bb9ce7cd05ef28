package wsock

import (
	"context"
	"slices"
	"sync"
)

// frame is one message to write.
type frame struct {
	data []byte
	kind int        // of a control frame, as WebSocket numbers them; 0: a text message
	op   *operation // whose: nothing is sent of an operation the peer has completed
	last bool       // the operation's end: its id is free once this is written
	tick bool       // nothing to write, but time to ping
	done func()     // called when it is written, or never will be; nil: nobody asks
}

// over says that a frame is needed no more.
func (f frame) over() {
	if f.done != nil {
		f.done()
	}
}

// queue holds what waits to be written: urgent frames (the ack, pongs, what is
// refused at once) before data. Data waits for room. Urgent frames do not, for
// it is the reader that makes them: a peer that asks and does not read what it
// is answered is given up.
type queue struct {
	most, mostBytes int

	mu        sync.Mutex
	fast      []frame        // guarded by mu
	data      []frame        // guarded by mu
	fastBytes int            // guarded by mu: of fast
	bytes     int            // guarded by mu: of data
	closed    bool           // guarded by mu
	writing   bool           // guarded by mu: somebody writes
	bye       []byte         // guarded by mu
	line      []*place       // guarded by mu: who waits for room, first come first served; not empty only while data is not
	turns     map[*task]bool // guarded by mu: true: its turn has come; false: it is in line
}

// place is one in the line for room.
type place struct {
	t  *task // to be woken; nil: f waits
	f  frame
	in chan struct{} // closed when f is queued, or the queue closed
	ok bool          // f is queued
}

func newQueue(frames, bytes int) *queue {
	return &queue{most: frames, mostBytes: bytes}
}

// urgentMost bounds the urgent lane, beside its bytes.
const urgentMost = 1024

// urgent queues ahead of data; false: the peer has left too many unread.
func (q *queue) urgent(f frame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return true
	}
	if len(q.fast) >= urgentMost || len(q.fast) > 0 && q.fastBytes+len(f.data) > q.mostBytes {
		return false
	}
	q.fast = append(q.fast, f)
	q.fastBytes += len(f.data)
	return true
}

// forget drops what is urgent and of an id.
func (q *queue) forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range q.fast {
		if f.op != nil && f.op.id == id {
			f.op.gone.Store(true)
		}
	}
}

// put queues data, waiting for room until ctx ends. A frame larger than the
// whole queue goes when the queue is empty.
func (q *queue) put(ctx context.Context, f frame) bool {
	q.mu.Lock()
	if q.closed || ctx.Err() != nil {
		q.mu.Unlock()
		return false
	}
	if len(q.line) == 0 && q.fitsLocked(f) {
		q.addLocked(f)
		q.mu.Unlock()
		return true
	}
	p := &place{f: f, in: make(chan struct{})}
	q.line = append(q.line, p)
	q.mu.Unlock()
	select {
	case <-p.in:
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaveLocked(func(x *place) bool { return x == p })
	return p.ok
}

func (q *queue) fitsLocked(f frame) bool {
	return len(q.data) == 0 || len(q.data) < q.most && q.bytes+len(f.data) <= q.mostBytes
}

// space reports whether there is room for one frame that add queues; otherwise a task
// is woken once it is its turn.
func (q *queue) space(t *task) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	turn, waits := q.turns[t]
	switch {
	case q.closed:
		return true
	case (turn || len(q.line) == 0) && q.spaceLocked():
		delete(q.turns, t)
		return true
	case turn: // others had theirs at the same time: it is still the first
		q.line = slices.Insert(q.line, 0, &place{t: t})
	case !waits:
		q.line = append(q.line, &place{t: t})
	}
	if q.turns == nil {
		q.turns = map[*task]bool{}
	}
	q.turns[t] = false
	return false
}

func (q *queue) spaceLocked() bool {
	return len(q.data) == 0 || len(q.data) < q.most && q.bytes < q.mostBytes
}

// unwait takes back that a task is to be woken.
func (q *queue) unwait(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.turns, t)
	q.leaveLocked(func(x *place) bool { return x.t == t })
}

// leaveLocked takes one out of the line; those behind it may need less room.
func (q *queue) leaveLocked(who func(*place) bool) {
	if i := slices.IndexFunc(q.line, who); i >= 0 {
		q.line = slices.Delete(q.line, i, i+1)
		q.admitLocked()
	}
}

// admitLocked lets in those at the head of the line for whom there is room.
func (q *queue) admitLocked() {
	n := 0
	for _, p := range q.line {
		switch {
		case q.closed:
			delete(q.turns, p.t)
		case p.t != nil && q.spaceLocked():
			q.turns[p.t] = true
		case p.t == nil && q.fitsLocked(p.f):
			q.addLocked(p.f)
			p.ok = true
		default:
			q.line = slices.Delete(q.line, 0, n)
			return
		}
		if n++; p.t == nil {
			close(p.in)
		} else {
			p.t.wake()
		}
	}
	q.line = nil
}

// add queues data where there is space. The last may go past what there is.
func (q *queue) add(f frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		f.over()
		return
	}
	q.addLocked(f)
}

func (q *queue) addLocked(f frame) {
	q.data = append(q.data, f)
	q.bytes += len(f.data)
}

// claim makes the caller the one who writes; false: somebody does, or there is
// nothing to write.
func (q *queue) claim() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing || !q.closed && len(q.fast) == 0 && len(q.data) == 0 {
		return false
	}
	q.writing = true
	return true
}

// next is the next frame to write; neither: there is none, and the caller is no
// longer the one who writes. closed: the queue is, and everything that goes
// before the close frame is written; the caller writes that, and nobody again.
func (q *queue) next() (f frame, ok, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f, ok, closed = q.popLocked()
	q.writing = ok || closed
	return f, ok, closed
}

// pop is next for one who goes on writing, of what is no larger than most.
func (q *queue) pop(most int) (f frame, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if large := len(q.fast) > 0 && len(q.fast[0].data) > most || len(q.fast) == 0 && len(q.data) > 0 && len(q.data[0].data) > most; large {
		return frame{}, false
	}
	f, ok, _ = q.popLocked()
	return f, ok
}

func (q *queue) popLocked() (f frame, ok, closed bool) {
	switch {
	case len(q.fast) > 0: // also when closed: it was queued before
		f, q.fast[0] = q.fast[0], frame{}
		q.fast = q.fast[1:]
		q.fastBytes -= len(f.data)
		return f, true, false
	case q.closed:
		return frame{}, false, true
	case len(q.data) > 0:
		f, q.data[0] = q.data[0], frame{}
		q.data = q.data[1:]
		q.bytes -= len(f.data)
		q.admitLocked()
		return f, true, false
	}
	q.fast, q.data, q.turns = nil, nil, nil // an idle socket holds no buffers
	return frame{}, false, false
}

// close drops the data that waits; bye is what is said last. Without one,
// nothing more is.
func (q *queue) close(bye []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	for _, f := range q.data {
		f.over()
	}
	q.closed, q.bye, q.data = true, bye, nil
	if bye == nil {
		q.fast = nil
	}
	q.admitLocked()
}

// waiting is what has not been handed to the network, in frames and bytes.
func (q *queue) waiting() (frames, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.fast) + len(q.data), q.fastBytes + q.bytes
}

// last is what close was given.
func (q *queue) last() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bye
}

// more reports whether the one who writes has more to write; false: it is no
// longer the one.
func (q *queue) more() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = q.closed || len(q.fast) > 0 || len(q.data) > 0
	if !q.writing {
		q.fast, q.data, q.turns = nil, nil, nil // an idle socket holds no buffers
	}
	return q.writing
}
