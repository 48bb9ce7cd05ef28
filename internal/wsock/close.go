package wsock

import (
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// goodbye is how long a socket that is being closed has: to send the close
// frame, and the peer to answer it.
const goodbye = time.Second

// longestReason is what a close frame holds beside its code.
const longestReason = 123

// Close ends the socket with a code and a reason. It does not wait; only the
// first one counts. A second later the socket is gone, whatever the peer does.
func (c *Conn) Close(code int, reason string) {
	c.mu.Lock()
	if c.code != 0 {
		c.mu.Unlock()
		return
	}
	c.code = code
	c.kill = time.AfterFunc(goodbye, c.sever)
	c.mu.Unlock()
	c.queue.close(websocket.FormatCloseMessage(code, cut(reason, longestReason))) // before the writer can notice the next
	c.cancel()                                                                    // operations end; what they still say is not sent
	c.writer.kick()
}

// sever ends the connection under the socket. What the peer has not taken is
// thrown away, unless it is the close frame it has yet to read.
func (c *Conn) sever() {
	c.mu.Lock()
	told := c.told
	c.mu.Unlock()
	under := c.ws.NetConn()
	if tcp, ok := under.(interface{ SetLinger(sec int) error }); ok && !told {
		_ = tcp.SetLinger(0)
	}
	_ = under.Close()
}

// cut makes of a text what a close frame may carry: valid, printable, and no
// longer than most bytes, at a rune's border.
func cut(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= most {
		return text
	}
	for text = text[:most]; !utf8.ValidString(text); {
		text = text[:len(text)-1]
	}
	return text
}

// abort ends the socket without a word.
func (c *Conn) abort(code int) {
	c.note(code)
	c.queue.close(nil)
	c.cancel()
	c.sever()
	c.writer.kick()
}

// note remembers how the socket ended, unless that is known already.
func (c *Conn) note(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code = code
	}
}

// finish ends everything that belongs to the socket, and says so once.
func (c *Conn) finish() {
	c.cancel()
	c.queue.close(nil)
	if c.queue.last() == nil {
		_ = c.ws.NetConn().Close() // nothing is left to say, and the writer may be stuck
	}
	c.writer.kick()
	<-c.writer.done
	_ = c.ws.Close()
	c.ops.all.Wait()
	c.mu.Lock()
	for _, timer := range []*time.Timer{c.expiry, c.kill} {
		if timer != nil {
			timer.Stop()
		}
	}
	info := CloseInfo{Code: c.code, LastSeen: c.LastSeen()}
	if info.Code < 0 {
		info.Code, info.ByPeer = -info.Code, true
	}
	user, closed := c.user, c.closed
	c.mu.Unlock()
	c.tell(closed, info)
	if c.t.o.Observer.Closed != nil {
		c.t.o.Observer.Closed(info.Code)
	}
	c.t.leave(c, user)
}

// tell calls Accepted.Closed; its panic must not keep the socket counted.
func (c *Conn) tell(closed func(CloseInfo), info CloseInfo) {
	defer func() {
		if p := recover(); p != nil {
			c.log.ErrorContext(c.ctx, "panic as a socket ended", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if closed != nil {
		closed(info)
	}
}
