package wsock

import (
	"context"
	"sync"
	"time"
)

// frame is one message to write. op is whose, for messages that are not to be
// sent once their operation was cancelled.
type frame struct {
	data []byte
	op   *operation
	tick bool
}

// queue holds what waits to be written: urgent frames (answers to the peer's
// pings, the ack) before data. Data waits for room; urgent frames are few, one
// for each frame of the peer's that is read, and reading stops when they pile up.
type queue struct {
	most, mostBytes int
	wake            chan struct{} // for the writer

	mu     sync.Mutex
	fast   []frame       // guarded by mu
	data   []frame       // guarded by mu
	bytes  int           // guarded by mu: of data
	closed bool          // guarded by mu
	bye    []byte        // guarded by mu
	room   chan struct{} // guarded by mu: closed and replaced when there is room again
}

func newQueue(frames, bytes int) *queue {
	return &queue{most: frames, mostBytes: bytes, wake: make(chan struct{}, 1), room: make(chan struct{})}
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// urgentMost bounds the urgent lane: a peer that pings and does not read.
const urgentMost = 1024

// urgent queues ahead of data; false: the peer has left too many unread.
func (q *queue) urgent(data []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return true
	}
	if len(q.fast) >= urgentMost {
		return false
	}
	q.fast = append(q.fast, frame{data: data})
	q.poke()
	return true
}

// put queues data, waiting for room until ctx ends. A frame larger than the
// whole queue goes when the queue is empty.
func (q *queue) put(ctx context.Context, f frame) bool {
	for {
		q.mu.Lock()
		if q.closed || ctx.Err() != nil {
			q.mu.Unlock()
			return false
		}
		if len(q.data) == 0 || len(q.data) < q.most && q.bytes+len(f.data) <= q.mostBytes {
			q.data = append(q.data, f)
			q.bytes += len(f.data)
			q.poke()
			q.mu.Unlock()
			return true
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return false
		}
	}
}

// take is the next frame to write, or a tick; false: the queue was closed.
func (q *queue) take(tick <-chan time.Time) (frame, bool) {
	for {
		select {
		case <-tick: // also when there is always something to write
			return frame{tick: true}, true
		default:
		}
		q.mu.Lock()
		switch {
		case len(q.fast) > 0: // also when closed: it was queued before
			f := q.fast[0]
			q.fast = q.fast[1:]
			q.mu.Unlock()
			return f, true
		case q.closed:
			q.mu.Unlock()
			return frame{}, false
		case len(q.data) > 0:
			f := q.data[0]
			q.data[0] = frame{}
			q.data = q.data[1:]
			q.bytes -= len(f.data)
			close(q.room)
			q.room = make(chan struct{})
			q.mu.Unlock()
			return f, true
		}
		q.fast, q.data = nil, nil // an idle socket holds no buffers
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-tick:
			return frame{tick: true}, true
		}
	}
}

// nudge asks the writer for a ping.
func (q *queue) nudge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.fast = append(q.fast, frame{tick: true})
		q.poke()
	}
}

// close drops the data that waits; bye is what is said last. Without one,
// nothing more is.
func (q *queue) close(bye []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.closed, q.bye, q.data = true, bye, nil
	if bye == nil {
		q.fast = nil
	}
	close(q.room)
	q.room = make(chan struct{})
	q.poke()
}

func (q *queue) last() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bye
}
