package door

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// Peer is the client's socket.
type Peer interface {
	Subprotocol() string
	Close(code int, reason string)
}

const closeForbidden = 4403

// Link is what a client's socket has upstream: nothing, until it asks for
// something that is Hasura's.
type Link struct {
	d      *Door
	peer   Peer
	path   string
	legacy bool
	ctx    context.Context //nolint:containedctx // the socket's lifetime, and it ends with it
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	upgrade http.Header       // guarded by mu: what of the client's goes into ours
	init    map[string]string // guarded by mu: the headers of connection_init
	cur     *upstream         // guarded by mu: takes operations; nil: none yet
	ups     map[*upstream]struct{}
	dialing bool        // guarded by mu
	waiting []*op       // guarded by mu: for an upstream
	held    int         // guarded by mu: bytes of all operations
	failed  int         // guarded by mu: dials and losses in a row
	fell    time.Time   // guarded by mu: the last of them
	rest    *time.Timer // guarded by mu: closes an idle upstream
	late    *time.Timer // guarded by mu: ends what waits too long; nil: nothing waits
	lateAt  time.Time   // guarded by mu: when it does
	closed  bool        // guarded by mu

	renewals int // guarded by mu: tokens given since the one that is being dialled with
}

type linkKey struct{}

// Link is a socket's, for the context of its operations: upgrade and given are
// the headers of its upgrade and of its connection_init, by which it was let in.
// It is closed when the socket has ended.
func (d *Door) Link(ctx context.Context, peer Peer, upgrade, given http.Header) (context.Context, *Link) {
	t, ok := ctx.Value(throughKey{}).(through)
	if !ok {
		return ctx, nil
	}
	admin := asAdmin(upgrade, given)
	l := &Link{d: d, peer: peer, path: t.path, legacy: peer.Subprotocol() == wsock.LegacyWS, ups: map[*upstream]struct{}{},
		upgrade: forward(upgrade, admin, d.o.Header), init: payloadOf(given, admin, d.o.Header)}
	maps.Copy(l.upgrade, t.told)
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return context.WithValue(ctx, linkKey{}, l), l
}

// Elsewhere is wsock's: it runs what is the upstream's.
func (d *Door) Elsewhere(ctx context.Context, f wsock.Foreign) (wsock.End, bool) {
	l, ok := ctx.Value(linkKey{}).(*Link)
	if !ok {
		return wsock.End{}, false
	}
	back, err := d.o.Take(ctx) // to plan it costs something, too
	if err != nil {
		return wsock.End{Err: err, Refused: true}, true
	}
	params := f.Params()
	p := plan{}
	if params.Query != "" { // a persisted query is the upstream's to know
		p = d.planner.plan(params.Query, params.OperationName)
	}
	switch {
	case p.err != nil:
		return wsock.End{Err: p.err, Refused: true}, true
	case p.side == ours:
		if p.text != "" {
			params.Query = p.text
			delete(params.Extensions, "persistedQuery") // it was the hash of the other text
		}
		back() // our engine counts it
		return wsock.End{}, false
	}
	meta := p.side == schema && l.path == pathGraphQL
	if !meta && p.kind.once() && d.direct(ctx, p, params) {
		back()
		return wsock.End{}, false
	}
	if meta {
		return l.introspect(ctx, f)
	}
	f.Taken() // for as long as it runs, Hasura is sent what was sent
	return l.run(ctx, f, p.kind), true
}

// run has an operation run upstream, until it or its client ends it.
func (l *Link) run(ctx context.Context, f wsock.Foreign, k kind) wsock.End {
	o := &op{f: f, kind: k, sent: f.Sent(), done: make(chan wsock.End, 1), since: time.Now()}
	up, err := l.enter(o)
	if err != nil {
		return wsock.End{Err: err, Refused: true}
	}
	if up != nil {
		up.send(o)
	}
	select {
	case end := <-o.done:
		l.mu.Lock()
		l.held -= len(o.sent)
		l.mu.Unlock()
		return end
	case <-ctx.Done():
		l.drop(o)
		return wsock.End{}
	}
}

// enter takes an operation in: up is where to send it, nil: it waits.
func (l *Link) enter(o *op) (up *upstream, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held+len(o.sent) > l.d.o.HeldBytes {
		return nil, fault.Later(fault.RateLimited, time.Second, "this socket's operations have more than %d bytes", l.d.o.HeldBytes)
	}
	l.held += len(o.sent)
	if l.cur != nil {
		l.cur.takeLocked(o)
		return l.cur, nil
	}
	l.waiting = append(l.waiting, o)
	lateLocked(l)
	l.dialLocked()
	return nil, nil
}

// drop ends an operation that its client completed, also upstream.
func (l *Link) drop(o *op) {
	l.mu.Lock()
	l.held -= len(o.sent)
	l.waiting = slices.DeleteFunc(l.waiting, func(x *op) bool { return x == o })
	up, id := o.up.Load(), o.id
	if up != nil {
		up.forgetLocked(o)
	}
	l.mu.Unlock()
	if up != nil {
		up.stop(o, id)
	}
}

// dialLocked has an upstream dialled, if nobody is at it.
func (l *Link) dialLocked() {
	if l.dialing || l.closed || l.ctx.Err() != nil {
		return
	}
	if time.Since(l.fell) > l.d.times.most {
		l.failed = 0
	}
	l.dialing = true
	l.all.Go(l.connect)
}

// connect dials until it has an upstream, or nobody waits for one any more.
func (l *Link) connect() {
	for {
		l.mu.Lock()
		failed := l.failed
		l.mu.Unlock()
		if failed > 0 && l.pause(failed) != nil {
			return
		}
		up, err := l.dial()
		if err == nil {
			l.adopt(up)
			return
		}
		if l.ctx.Err() != nil {
			return
		}
		if refused, ok := errors.AsType[*refusedError](err); ok {
			l.peer.Close(closeForbidden, "Hasura refuses this session: "+refused.why)
			return
		}
		if !l.missed() {
			return
		}
	}
}

// pause waits before a dial that is not the first: longer each time, at random,
// and no more of them on the whole node than Hasura takes at once.
func (l *Link) pause(failed int) error {
	most := min(l.d.times.most, l.d.times.least<<min(failed, 10))
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
	return l.d.pace.Wait(l.ctx)
}

// adopt makes an upstream the one that takes operations, and sends it what
// waits. Where another came first it takes what waits, and this one goes.
func (l *Link) adopt(up *upstream) {
	l.mu.Lock()
	l.dialing = false
	if l.closed || l.cur != nil {
		other := l.cur
		list := l.takeWaitingLocked(other)
		l.mu.Unlock()
		up.bye()
		sendAll(other, list)
		return
	}
	l.startLocked(up)
	list := l.takeWaitingLocked(up)
	l.restLocked(up)
	l.mu.Unlock()
	sendAll(up, list)
}

func (l *Link) startLocked(up *upstream) {
	l.cur = up
	l.ups[up] = struct{}{}
	if l.d.o.Observer.Upstream != nil {
		l.d.o.Observer.Upstream(1)
	}
	up.beatLocked()
	l.all.Go(up.read)
}

func (l *Link) takeWaitingLocked(up *upstream) []*op {
	if up == nil {
		return nil
	}
	list := l.waiting
	l.waiting = nil
	for _, o := range list {
		up.takeLocked(o)
	}
	return list
}

func sendAll(up *upstream, list []*op) {
	again := 0
	for _, o := range list {
		up.send(o)
		if o.has.Load() {
			again++
		}
	}
	if again > 0 && up.l.d.o.Observer.Resubscribed != nil {
		up.l.d.o.Observer.Resubscribed(again)
	}
}

// restLocked closes an upstream that has had nothing to do for a while.
func (l *Link) restLocked(up *upstream) {
	if l.cur != up || len(up.ops) > 0 || l.closed {
		return
	}
	if l.rest != nil {
		l.rest.Stop()
	}
	l.rest = time.AfterFunc(l.d.times.idle, func() {
		l.mu.Lock()
		idle := l.cur == up && len(up.ops) == 0
		if idle {
			l.cur = nil
		}
		l.mu.Unlock()
		if idle {
			up.bye()
		}
	})
}

// Close ends what the socket had upstream, and waits for it.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	if l.rest != nil {
		l.rest.Stop()
	}
	if l.late != nil {
		l.late.Stop()
	}
	ups := slices.Collect(maps.Keys(l.ups))
	l.mu.Unlock()
	l.cancel()
	for _, up := range ups {
		up.bye()
	}
	l.all.Wait()
}

// initFrame is the connection_init for the upstream.
func (l *Link) initFrame() ([]byte, http.Header, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := map[string]any{"type": "connection_init"}
	if len(l.init) > 0 {
		m["payload"] = map[string]any{"headers": l.init}
	}
	b, err := json.Marshal(m)
	return b, l.upgrade.Clone(), err
}
