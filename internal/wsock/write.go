package wsock

import (
	"errors"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// chunk is how much of a message one write deadline is for: a slow link is not
// a dead one.
const chunk = 32 << 10

// writer sends what the socket's queue holds.
type writer struct{ c *Conn }

// run sends what is queued, control before data, until the queue is closed;
// then the close frame, after which the peer has a moment to answer.
func (w *writer) run() {
	tick := time.NewTicker(w.c.t.o.Limits.PingEvery)
	defer tick.Stop()
	for {
		f, ok := w.c.queue.take(tick.C)
		if !ok {
			break
		}
		err := w.several(f, tick.C)
		if errors.Is(err, errUnfinished) {
			break
		}
		if err != nil {
			w.broken(err)
			return
		}
	}
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
func (w *writer) several(f frame, tick <-chan time.Time) error {
	timeout := w.c.t.o.Limits.WriteTimeout
	w.c.out.turn <- struct{}{}
	defer func() { <-w.c.out.turn }()
	for {
		if f.tick || f.due() {
			if len(f.data) > chunk {
				if err := w.c.out.flush(timeout); err != nil {
					return err
				}
			} else {
				w.c.out.cork()
			}
			if err := w.put(f, tick); err != nil {
				_ = w.c.out.flush(timeout)
				return err
			}
			if !f.tick && f.kind == 0 && w.c.t.o.Observer.Written != nil {
				w.c.t.o.Observer.Written(len(f.data))
			}
		}
		more := false
		if w.c.out.waiting() < corkMost {
			f, more, _ = w.c.queue.pop()
		}
		if !more {
			return w.c.out.flush(timeout)
		}
	}
}

// errUnfinished says that the socket was closed while a message was being
// written. A close frame may come between its fragments, and nothing else may.
var errUnfinished = errors.New("closed within a message")

// put writes one frame. A socket into which nothing goes for the write deadline
// fails.
func (w *writer) put(f frame, tick <-chan time.Time) error {
	timeout := w.c.t.o.Limits.WriteTimeout
	switch {
	case f.tick:
		return w.ping()
	case f.kind != 0:
		return w.c.ws.WriteControl(f.kind, f.data, time.Now().Add(timeout))
	}
	_ = w.c.ws.SetWriteDeadline(time.Now().Add(timeout))
	if len(f.data) <= chunk {
		return w.c.ws.WriteMessage(websocket.TextMessage, f.data)
	}
	out, err := w.c.ws.NextWriter(websocket.TextMessage)
	for rest := f.data; err == nil && len(rest) > 0; {
		select {
		case <-w.c.ctx.Done():
			return errUnfinished
		case <-tick: // a peer that takes its time is asked for a sign of life all the same
			if err := w.ping(); err != nil {
				return err
			}
		default:
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
	case errors.Is(err, websocket.ErrCloseSent): // the reader answered the peer's close frame, and ends the socket
		w.c.queue.close(nil)
		w.c.cancel()
	case isNet && timeout.Timeout():
		w.c.abort(closeSlow)
	default:
		w.c.abort(-websocket.CloseAbnormalClosure)
	}
}

// ping asks the peer for a sign of life. Control frames, which every WebSocket
// answers by itself, so that a frozen page still counts as connected.
func (w *writer) ping() error {
	if w.c.ops.at() != ready {
		return nil
	}
	if w.c.legacy {
		w.c.answer(frame{data: []byte(`{"type":"ka"}`)})
	}
	return w.c.ws.WriteControl(websocket.PingMessage, w.c.pulse.ping(), time.Now().Add(w.c.t.o.Limits.WriteTimeout))
}
