package app

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/door"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

const (
	closeForbidden = 4403
	signOutDelay   = 250 * time.Millisecond
)

// live is who is behind each socket of this node, now: a refreshed token
// changes it without the socket noticing.
type live struct {
	mu      sync.Mutex
	all     map[uuid.UUID]*behind     // guarded by mu
	streams map[*eventStream]struct{} // guarded by mu
	counts  map[string]int            // guarded by mu: event streams of a user or address
}

// eventStream is a subscription over server-sent events: there is no socket
// behind it, but a token that expires or is revoked ends it all the same.
type eventStream struct {
	id     auth.Identity
	cancel context.CancelFunc
}

type behind struct {
	conn *wsock.Conn
	id   atomic.Pointer[auth.Identity]
	link atomic.Pointer[door.Link] // what it has at Hasura; nil: nothing
}

func newLive() *live {
	return &live{all: map[uuid.UUID]*behind{}, streams: map[*eventStream]struct{}{}, counts: map[string]int{}}
}

func (l *live) add(c *wsock.Conn, id auth.Identity) {
	b := &behind{conn: c}
	b.id.Store(&id)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[c.ID()] = b
}

// link notes what a socket may have at Hasura.
func (l *live) link(id uuid.UUID, link *door.Link) {
	if b, ok := l.get(id); ok {
		b.link.Store(link)
	}
}

func (l *live) remove(id uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, id)
}

func (l *live) get(id uuid.UUID) (*behind, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.all[id]
	return b, ok
}

// refuse closes every socket that runs on a revoked token.
func (l *live) refuse(r *auth.Revocations) {
	l.mu.Lock()
	all := make([]*behind, 0, len(l.all))
	for _, b := range l.all {
		all = append(all, b)
	}
	for st := range l.streams {
		if r.Refused(st.id) {
			st.cancel()
		}
	}
	l.mu.Unlock()
	for _, b := range all {
		if r.Refused(*b.id.Load()) {
			b.conn.Close(closeForbidden, "Token revoked")
		}
	}
}

// stream admits a subscription over server-sent events, most for each owner,
// and ends it with its token.
func (l *live) stream(ctx context.Context, owner string, most int, id auth.Identity, r *auth.Revocations) (context.Context, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts[owner] >= most {
		return nil, nil, fault.Later(fault.RateLimited, time.Second, "more than %d event streams", most)
	}
	var cancel context.CancelFunc
	if until := socketDeadline(id, time.Now()); until.IsZero() {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithDeadline(ctx, until)
	}
	st := &eventStream{id, cancel}
	l.counts[owner]++
	l.streams[st] = struct{}{}
	if r.Refused(id) { // revoked since it was let in: nobody else would see it
		cancel()
	}
	return ctx, func() {
		cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.streams, st)
		if l.counts[owner]--; l.counts[owner] == 0 {
			delete(l.counts, owner)
		}
	}, nil
}

// session is a socket as presence sees it.
type session struct{ c *wsock.Conn }

func (s session) Extend(expires time.Time) { s.c.Extend(expires) }

// SignOut closes a moment later, so that whoever asked for it over this very
// socket has its answer first.
func (s session) SignOut() {
	time.AfterFunc(signOutDelay, func() { s.c.Close(closeForbidden, "Signed out") })
}

func (s session) Latency() (time.Duration, bool) { return s.c.Latency() }

// socketDeadline is until when a socket may run on an identity: a token that
// never expires holds one for an hour; secrets hold one for good.
func socketDeadline(id auth.Identity, now time.Time) time.Time {
	if id.ExpiresAt.IsZero() && id.Via == auth.ViaJWT {
		return now.Add(auth.MaxSocketAge)
	}
	return id.ExpiresAt
}
