package wsock

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// write sends what is queued, control before data, until the queue is closed;
// then the close frame, after which the peer has a moment to answer.
func (c *Conn) write() {
	tick := time.NewTicker(c.t.o.Limits.PingEvery)
	defer tick.Stop()
	for {
		f, ok := c.queue.take(tick.C)
		if !ok {
			break
		}
		if !f.tick && !f.due() {
			continue
		}
		err := c.put(f, tick.C)
		if errors.Is(err, errUnfinished) {
			break
		}
		if err != nil {
			c.broken(err)
			return
		}
		if !f.tick && f.kind == 0 && c.t.o.Observer.Written != nil {
			c.t.o.Observer.Written(len(f.data))
		}
	}
	bye := c.queue.last()
	if bye == nil {
		_ = c.ws.NetConn().Close()
		return
	}
	err := c.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(goodbye))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) { // gorilla tells of a breach itself
		_ = c.ws.NetConn().Close()
		return
	}
	c.mu.Lock()
	c.bidden = true
	c.mu.Unlock()
}

// errUnfinished says that the socket was closed while a message was being
// written. A close frame may come between its fragments, and nothing else may.
var errUnfinished = errors.New("closed within a message")

// put writes one frame. A socket into which nothing goes for the write deadline
// fails.
func (c *Conn) put(f frame, tick <-chan time.Time) error {
	timeout := c.t.o.Limits.WriteTimeout
	switch {
	case f.tick:
		return c.ping()
	case f.kind != 0:
		return c.ws.WriteControl(f.kind, f.data, time.Now().Add(timeout))
	}
	_ = c.ws.SetWriteDeadline(time.Now().Add(timeout))
	if len(f.data) <= chunk {
		return c.ws.WriteMessage(websocket.TextMessage, f.data)
	}
	w, err := c.ws.NextWriter(websocket.TextMessage)
	for rest := f.data; err == nil && len(rest) > 0; {
		select {
		case <-c.ctx.Done():
			return errUnfinished
		case <-tick: // a peer that takes its time is asked for a sign of life all the same
			if err := c.ping(); err != nil {
				return err
			}
		default:
		}
		_ = c.ws.SetWriteDeadline(time.Now().Add(timeout))
		n := min(chunk, len(rest))
		_, err = w.Write(rest[:n])
		rest = rest[n:]
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// broken ends a socket that cannot be written to.
func (c *Conn) broken(err error) {
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, websocket.ErrCloseSent): // the reader answered the peer's close frame, and ends the socket
		c.queue.close(nil)
		c.cancel()
	case isNet && timeout.Timeout():
		c.abort(closeSlow)
	default:
		c.abort(-websocket.CloseAbnormalClosure)
	}
}

// ping asks the peer for a sign of life. Control frames, which every WebSocket
// answers by itself, so that a frozen page still counts as connected.
func (c *Conn) ping() error {
	c.mu.Lock()
	up := c.stage == ready
	c.mu.Unlock()
	if !up {
		return nil
	}
	if c.legacy {
		c.urgent([]byte(`{"type":"ka"}`))
	}
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(time.Since(c.began)))
	return c.ws.WriteControl(websocket.PingMessage, at[:], time.Now().Add(c.t.o.Limits.WriteTimeout))
}

func (c *Conn) pong(data string) error {
	c.heard()
	defer func() { _ = c.pace.Wait(c.ctx) }()
	if len(data) != 8 {
		return nil
	}
	trip := time.Since(c.began) - time.Duration(binary.BigEndian.Uint64([]byte(data)))
	if trip < 0 || trip > c.t.o.Limits.silence() {
		return nil // not an answer to a ping of ours
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trips[c.tripped%pings] = trip
	c.tripped++
	return nil
}
