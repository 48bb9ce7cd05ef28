package wsock

import (
	"errors"
	"math"
	"net"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// chunk is how much of a message one write deadline is for: a slow link is not
// a dead one.
const chunk = 32 << 10

// writer sends what the socket's queue holds. It is nobody's goroutine: whoever
// has something to send and finds nobody writing writes, and an idle socket has
// none that waits for it.
type writer struct {
	c    *Conn
	done chan struct{} // closed when nothing is written any more
	beat *time.Timer   // the next ping
	due  atomic.Bool   // a ping is to be sent
}

func newWriter(c *Conn) *writer {
	w := &writer{c: c, done: make(chan struct{})}
	w.beat = time.AfterFunc(math.MaxInt64, w.pulse)
	return w
}

// start begins to ping.
func (w *writer) start() { w.beat.Reset(w.c.t.o.Limits.PingEvery) }

func (w *writer) pulse() {
	if w.c.ctx.Err() == nil {
		w.start()
		w.askPing()
		w.kick()
	}
}

// askPing queues one; false: the peer has left too many answers unread.
func (w *writer) askPing() bool {
	w.due.Store(true)
	return w.c.queue.urgent(frame{tick: true})
}

// kick sees to it that what is queued is written, by a goroutine of its own.
func (w *writer) kick() {
	if w.c.queue.claim() {
		go w.drain()
	}
}

// write is kick, where the caller may wait for the network: what is queued now
// it writes itself.
func (w *writer) write() {
	if w.c.queue.claim() && w.step() {
		go w.drain()
	}
}

// drain writes until nothing is queued.
func (w *writer) drain() {
	for w.step() {
	}
}

// step writes what one system call takes, control before data; false: nothing
// is left, or the socket is over. A closed queue ends with its close frame,
// after which the peer has a moment to answer.
func (w *writer) step() bool { return w.take(w.c.queue.next()) }

func (w *writer) take(f frame, ok, closed bool) bool {
	if !ok {
		if closed {
			w.farewell()
		}
		return false
	}
	return !w.ended(w.several(f))
}

// ended ends the writing for an error, if there is one.
func (w *writer) ended(err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, errUnfinished):
		w.farewell()
	default:
		w.broken(err)
		w.end()
	}
	return true
}

func (w *writer) end() {
	w.beat.Stop()
	close(w.done)
}

func (w *writer) farewell() {
	defer w.end()
	bye := w.c.queue.last()
	if bye == nil {
		_ = w.c.ws.NetConn().Close()
		return
	}
	err := w.c.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(goodbye))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) { // gorilla tells of a breach itself
		_ = w.c.ws.NetConn().Close()
		return
	}
	w.c.mu.Lock()
	w.c.told = true
	w.c.mu.Unlock()
}

// several writes a frame, and with it in one system call what has piled up
// behind it. A frame that needs more than one deadline goes by itself.
func (w *writer) several(f frame) error {
	w.c.out.turn <- struct{}{}
	defer func() { <-w.c.out.turn }()
	err := w.gather(f)
	if late := w.c.out.flush(w.c.t.o.Limits.WriteTimeout); err == nil {
		err = late
	}
	return err
}

// gather corks a frame and what has piled up behind it, as much as leaves in one
// system call. A frame that needs more than one deadline is not held: it goes.
func (w *writer) gather(f frame) error {
	for {
		if f.tick || f.due() {
			if len(f.data) <= chunk {
				w.c.out.cork()
			}
			if err := w.put(f); err != nil {
				f.over()
				return err
			}
			if !f.tick && f.kind == 0 && w.c.t.o.Observer.Written != nil {
				w.c.t.o.Observer.Written(len(f.data))
			}
		}
		f.over()
		if len(f.data) > chunk || w.c.out.waiting() >= corkMost {
			return nil
		}
		var more bool
		if f, more = w.c.queue.pop(chunk); !more {
			return nil
		}
	}
}

// try is step for a caller that has claimed the writing and may not wait: what the
// network does not take at once a goroutine writes.
func (w *writer) try() {
	f, ok, closed := w.c.queue.next()
	if !ok && !closed {
		return
	}
	goOn := func() {
		if w.take(f, ok, closed) {
			w.drain()
		}
	}
	if closed || len(f.data) > chunk || w.c.out.raw == nil {
		go goOn()
		return
	}
	select {
	case w.c.out.turn <- struct{}{}:
	default: // the reader answers a close frame
		go goOn()
		return
	}
	if err := w.gather(f); err != nil || !w.c.out.attempt() {
		go w.finish(err)
		return
	}
	<-w.c.out.turn
	if w.c.queue.more() {
		w.c.t.runner.write(w.c)
	}
}

// finish writes what an attempt left, or what was held before an error, and has
// the turn.
func (w *writer) finish(err error) {
	if late := w.c.out.flush(w.c.t.o.Limits.WriteTimeout); err == nil {
		err = late
	}
	<-w.c.out.turn
	if !w.ended(err) {
		w.drain()
	}
}

// errUnfinished says that the socket was closed while a message was being
// written. A close frame may come between its fragments, and nothing else may.
var errUnfinished = errors.New("closed within a message")

// put writes one frame. A socket into which nothing goes for the write deadline
// fails.
func (w *writer) put(f frame) error {
	timeout := w.c.t.o.Limits.WriteTimeout
	switch {
	case f.tick:
		return w.ping() // unless a long message had it
	case f.kind != 0:
		return w.c.ws.WriteControl(f.kind, f.data, time.Now().Add(timeout))
	}
	_ = w.c.ws.SetWriteDeadline(time.Now().Add(timeout))
	if len(f.data) <= chunk {
		return w.c.ws.WriteMessage(websocket.TextMessage, f.data)
	}
	out, err := w.c.ws.NextWriter(websocket.TextMessage)
	for rest := f.data; err == nil && len(rest) > 0; {
		if w.c.ctx.Err() != nil {
			return errUnfinished
		}
		if err := w.ping(); err != nil { // a peer that takes its time is asked for a sign of life all the same
			return err
		}
		_ = w.c.ws.SetWriteDeadline(time.Now().Add(timeout))
		n := min(chunk, len(rest))
		_, err = out.Write(rest[:n])
		rest = rest[n:]
	}
	if err != nil {
		return err
	}
	return out.Close()
}

// broken ends a socket that cannot be written to.
func (w *writer) broken(err error) {
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, websocket.ErrCloseSent): // the reader answered the peer's close frame, or gorilla said so itself, and ends the socket
		w.c.mu.Lock()
		w.c.told = true
		w.c.mu.Unlock()
		w.c.queue.close(nil)
		w.c.cancel()
	case isNet && timeout.Timeout():
		w.c.abort(closeSlow)
	default:
		w.c.abort(-websocket.CloseAbnormalClosure)
	}
}

// ping asks the peer for a sign of life, if that is due. Control frames, which every WebSocket
// answers by itself, so that a frozen page still counts as connected.
func (w *writer) ping() error {
	if !w.due.CompareAndSwap(true, false) || w.c.ops.at() != ready {
		return nil
	}
	if w.c.legacy {
		w.c.answer(frame{data: []byte(`{"type":"ka"}`)})
	}
	return w.c.ws.WriteControl(websocket.PingMessage, w.c.pulse.ping(), time.Now().Add(w.c.t.o.Limits.WriteTimeout))
}
