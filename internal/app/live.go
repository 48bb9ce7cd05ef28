package app

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/door"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/presence"
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
	cancel context.CancelCauseFunc
}

type behind struct {
	conn   *wsock.Conn
	extend func(time.Time) // its own
	id     atomic.Pointer[auth.Identity]
	link   atomic.Pointer[door.Link] // what it has at Hasura; nil: nothing

	changing sync.Mutex // whose token it runs on, here and at Hasura, and until when it may are changed together
	until    time.Time  // guarded by changing: zero: for good
}

func newLive() *live {
	return &live{all: map[uuid.UUID]*behind{}, streams: map[*eventStream]struct{}{}, counts: map[string]int{}}
}

func (l *live) add(c *wsock.Conn, id auth.Identity, until time.Time) {
	b := &behind{conn: c, extend: c.Extend, until: until}
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
			st.cancel(auth.Revoked())
		}
	}
	l.mu.Unlock()
	for _, b := range all {
		b.judge(r)
	}
}

// judge closes a socket that runs on a revoked token.
func (b *behind) judge(r *auth.Revocations) {
	if r.Refused(*b.id.Load()) {
		b.conn.Close(closeForbidden, "Token revoked")
	}
}

// before reports whether a token was issued before another; who does not say when is
// before nobody, and nobody before it.
func before(issued, other time.Time) bool {
	return !issued.IsZero() && !other.IsZero() && issued.Before(other)
}

// renew puts the socket on a token that it was refreshed with elsewhere, unless
// it runs on one issued later.
func (b *behind) renew(to presence.Token) {
	b.changing.Lock()
	defer b.changing.Unlock()
	id := *b.id.Load()
	if before(to.IssuedAt, id.IssuedAt) {
		return
	}
	id.TokenID, id.IssuedAt, id.ExpiresAt = to.ID, to.IssuedAt, to.ExpiresAt
	b.id.Store(&id)
	b.until = to.ExpiresAt
	b.extend(b.until)
}

// take puts the socket on an identity until then, and what it has at Hasura by link,
// unless it runs on a token issued later. It answers whom it runs on, and until when.
func (b *behind) take(id auth.Identity, until time.Time, link func(*door.Link)) (auth.Identity, time.Time) {
	b.changing.Lock()
	defer b.changing.Unlock()
	if on := *b.id.Load(); before(id.IssuedAt, on.IssuedAt) {
		return on, b.until
	}
	b.id.Store(&id)
	b.until = until
	b.extend(until)
	if l := b.link.Load(); l != nil {
		link(l)
	}
	return id, until
}

// stream admits a subscription over server-sent events, most for each owner,
// and ends it as a socket of its token ends.
func (l *live) stream(ctx context.Context, owner string, most int, id auth.Identity, r *auth.Revocations) (context.Context, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts[owner] >= most {
		return nil, nil, fault.Later(fault.RateLimited, time.Second, "more than %d event streams", most)
	}
	l.counts[owner]++
	ctx, st, end := l.holdLocked(ctx, id, r, socketDeadline(id, time.Now()))
	return ctx, func() {
		end()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.streams, st)
		if l.counts[owner]--; l.counts[owner] == 0 {
			delete(l.counts, owner)
		}
	}, nil
}

// while bounds what waits to its caller's token, to the very end of it: its client is not
// told of an earlier one. The context's cause says what became of the token.
func (l *live) while(ctx context.Context, id auth.Identity, r *auth.Revocations) (context.Context, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, st, end := l.holdLocked(ctx, id, r, tokenEnd(id, time.Now()))
	return ctx, func() {
		end()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.streams, st)
	}
}

func (l *live) holdLocked(ctx context.Context, id auth.Identity, r *auth.Revocations, until time.Time) (context.Context, *eventStream, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(context.Canceled) }
	if !until.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadlineCause(ctx, until, auth.Expired())
		end = func() { stop(); cancel(context.Canceled) }
	}
	st := &eventStream{id, cancel}
	l.streams[st] = struct{}{}
	if r.Refused(id) { // revoked since it was let in: nobody else would see it
		cancel(auth.Revoked())
	}
	return ctx, st, end
}

// session is a socket as presence sees it.
type session struct {
	c       *wsock.Conn
	live    *live
	revoked *auth.Revocations
}

// Renew takes a token over that the socket was refreshed with on another node.
func (s session) Renew(to presence.Token) {
	if b, ok := s.live.get(s.c.ID()); ok {
		b.renew(to)
		b.judge(s.revoked)
	}
}

// SignOut closes a moment later, so that whoever asked for it over this very
// socket has its answer first.
func (s session) SignOut() {
	time.AfterFunc(signOutDelay, func() { s.c.Close(closeForbidden, "Signed out") })
}

func (s session) Latency() (time.Duration, bool) { return s.c.Latency() }

// apart is over how long sockets are closed whose tokens end in the same moment, a tenth
// of what is left at most: they are not all to come back at once.
const apart = time.Minute

// tokenEnd is until when an identity may be used: a token that never expires holds what
// runs on it for an hour; secrets hold it for good.
func tokenEnd(id auth.Identity, now time.Time) time.Time {
	if id.ExpiresAt.IsZero() && id.Via == auth.ViaJWT {
		return now.Add(auth.MaxSocketAge)
	}
	return id.ExpiresAt
}

// socketDeadline is until when a socket may run on an identity. It is never later
// than the token's end, and is what its client is told.
func socketDeadline(id auth.Identity, now time.Time) time.Time {
	end := tokenEnd(id, now)
	if early := min(apart, end.Sub(now)/10); !end.IsZero() && early > 0 {
		end = end.Add(-rand.N(early))
	}
	return end
}
