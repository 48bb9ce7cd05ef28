package wsock

import (
	"net/http"

	"github.com/gorilla/websocket"
)

// reserve counts a socket in. A close code says that it is to be upgraded and
// told to go; an HTTP status, that it is not even that.
func (t *Transport) reserve(bucket string) (bye, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	most := t.o.Limits.SocketsPerIP
	switch {
	case t.drained:
		return 0, http.StatusServiceUnavailable
	case t.ips[bucket] >= 2*most, t.opening[bucket] >= 2*t.o.Limits.OpeningPerIP:
		return 0, http.StatusTooManyRequests
	case t.draining:
		bye = websocket.CloseServiceRestart
	case t.ips[bucket] >= most, t.opening[bucket] >= t.o.Limits.OpeningPerIP:
		bye = closeTryAgain
	}
	t.ips[bucket]++
	t.opening[bucket]++
	t.sockets++
	if bye == 0 {
		t.serving++
	}
	return bye, 0
}

// enlist makes a socket known; a close code, if a drain began meanwhile.
func (t *Transport) enlist(c *Conn) (bye int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[c.id] = c
	if t.draining {
		return websocket.CloseServiceRestart
	}
	return 0
}

// release counts out a socket that was reserved and never stood.
func (t *Transport) release(bucket string, turned, opening bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.releaseLocked(bucket, turned, opening)
}

func (t *Transport) releaseLocked(bucket string, turned, opening bool) {
	if opening {
		t.openedLocked(bucket)
	}
	if t.ips[bucket]--; t.ips[bucket] == 0 {
		delete(t.ips, bucket)
	}
	t.sockets--
	if !turned {
		t.serving--
	}
	t.left.Broadcast()
}

func (t *Transport) openedLocked(bucket string) {
	if t.opening[bucket]--; t.opening[bucket] == 0 {
		delete(t.opening, bucket)
	}
}

// enter counts an accepted socket for its user; false: one too many.
func (t *Transport) enter(c *Conn, user string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if user != "" && t.users[user] >= t.o.Limits.SocketsPerUser {
		return false
	}
	if user != "" {
		t.users[user]++
	}
	c.entered = true
	t.openedLocked(c.bucket)
	return true
}

// leave counts a socket out: all at once, so that whoever no longer sees it
// finds its place free.
func (t *Transport) leave(c *Conn, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c.id)
	if user != "" {
		if t.users[user]--; t.users[user] == 0 {
			delete(t.users, user)
		}
	}
	t.releaseLocked(c.bucket, c.turned, !c.entered)
}
