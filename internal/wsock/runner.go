package wsock

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// runner does what has to be done for many subscriptions and sockets, each a
// little at a time, with as many goroutines as there are processors and none
// while there is nothing to do. What it runs never waits.
type runner struct {
	mu      sync.Mutex
	steps   ring[*task] // guarded by mu: what to send next
	writes  ring[*Conn] // guarded by mu: to be written to, after those that fill them
	workers int         // guarded by mu
	most    int         // guarded by mu: workers; 0: not asked yet
}

// stepsAtOnce is how many subscriptions are asked before what they say is
// written: one of many frames to a socket is one system call.
const stepsAtOnce = 32

// step has a task run.
func (r *runner) step(t *task) {
	r.mu.Lock()
	r.steps.push(t)
	more := r.moreLocked()
	r.mu.Unlock()
	if more {
		go r.work()
	}
}

// write has a socket written to.
func (r *runner) write(c *Conn) {
	r.mu.Lock()
	r.writes.push(c)
	more := r.moreLocked()
	r.mu.Unlock()
	if more {
		go r.work()
	}
}

func (r *runner) moreLocked() bool {
	if r.most == 0 {
		r.most = runtime.GOMAXPROCS(0)
	}
	if r.workers >= r.most {
		return false
	}
	r.workers++
	return true
}

// work runs until nothing is left.
func (r *runner) work() {
	steps, writes := make([]*task, 0, stepsAtOnce), make([]*Conn, 0, stepsAtOnce)
	for {
		r.mu.Lock()
		steps, writes = r.steps.take(steps[:0], stepsAtOnce), writes[:0]
		if len(steps) == 0 {
			writes = r.writes.take(writes, stepsAtOnce)
		}
		if len(steps)+len(writes) == 0 {
			r.workers--
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		for i, t := range steps {
			t.do()
			steps[i] = nil
		}
		if len(steps) > 0 {
			r.mu.Lock()
			writes = r.writes.take(writes, stepsAtOnce)
			r.mu.Unlock()
		}
		for i, c := range writes {
			c.writer.try()
			writes[i] = nil
		}
	}
}

// ring is a queue that keeps no more memory than it lately needed.
type ring[T any] struct {
	list []T
	at   int
}

func (q *ring[T]) push(x T) {
	if q.at > 1024 && q.at > len(q.list)/2 {
		n := copy(q.list, q.list[q.at:])
		clear(q.list[n:])
		q.list, q.at = q.list[:n], 0
	}
	q.list = append(q.list, x)
}

func (q *ring[T]) take(into []T, most int) []T {
	n := min(most, len(q.list)-q.at)
	into = append(into, q.list[q.at:q.at+n]...)
	clear(q.list[q.at : q.at+n])
	if q.at += n; q.at == len(q.list) {
		q.at = 0
		if q.list = q.list[:0]; cap(q.list) > 4096 {
			q.list = nil
		}
	}
	return into
}

// task is what is to be done whenever it is woken, by one at a time. It begins
// owned: by whoever made it.
type task struct {
	r     *runner
	do    func()
	state atomic.Int32
}

const (
	owned   int32 = iota // somebody does it, or will
	again                // and was woken meanwhile
	resting              // nobody does; the next wake has it done
)

// wake never blocks.
func (t *task) wake() {
	for {
		switch t.state.Load() {
		case again:
			return
		case owned:
			if t.state.CompareAndSwap(owned, again) {
				return
			}
		case resting:
			if t.state.CompareAndSwap(resting, owned) {
				t.r.step(t)
				return
			}
		}
	}
}

// rest gives a task up until it is woken; false: it was, and is the owner's still.
func (t *task) rest() bool {
	if t.state.CompareAndSwap(owned, resting) {
		return true
	}
	t.state.Store(owned)
	return false
}
