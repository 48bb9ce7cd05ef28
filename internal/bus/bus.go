// Package bus is the doorbell between nodes, over Postgres LISTEN and NOTIFY, and
// over NATS where there is one: what nodes ring then goes there, and topics of
// rooms only to the nodes that attend the room. What triggers ring goes by
// Postgres always, and so does everything while NATS is away.
//
// A topic says what to look at and never what changed: losing one costs
// latency, not data. Rings are coalesced: while one NOTIFY is under way
// everything rung meanwhile goes into the next, in the order in which it was first
// rung: what says that less may be seen is heard before what follows it. Over NATS
// what is for all goes before what is for rooms. The package knows no domain,
// only prefixes of topics; which there are, who rings and who hears is in
// docs/architecture.md. lib/pq, which listens, and nats.go are imported here
// alone; pgx does everything else.
package bus

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Channel is the one NOTIFY channel. A payload is topics, one a line.
const Channel = "nchat_realtime"

const (
	maxPayload = 7999  // bytes; Postgres takes fewer than 8,000
	maxTopic   = 512   // bytes
	maxPending = 10000 // topics; past it everybody is asked to look at everything
	everything = "resync"
	sendLimit  = 3 * time.Second
	sendEvery  = 5 * time.Millisecond   // under load; the first after a pause goes at once
	retryFirst = 100 * time.Millisecond // doubling to retryMost
	retryMost  = 2 * time.Second
	fullQueue  = 0.5 // of the server's notification queue: then doorbells wait and nodes poll
)

// Handler answers the topics of one prefix. Its methods must not block.
type Handler interface {
	Notify(topic string) // one doorbell
	Resync()             // doorbells may have been lost: look at everything
}

// Observer is told what a metric may count.
type Observer struct {
	Sent  func(topics int)      // a NOTIFY went out
	Heard func(topics int)      // one came in
	Lag   func(d time.Duration) // a probe came back
	Stale func(stale bool)      // doorbells (do not) arrive
	Full  func(congested bool)  // the server's queue is half full

	NATS            func(connected bool) // it does (not) carry what is rung
	NATSIn, NATSOut func()               // a message came in, went out
	NATSDropped     func()               // more came in than could wait
	NATSGap         func(why string)     // messages may have been missed: connect, full
}

// Options are what a bus needs. ProbeEvery defaults to one second.
type Options struct {
	Pool       *pgxpool.Pool
	Listen     *pgx.ConnConfig // a direct connection: LISTEN dies behind a transaction pooler
	Log        *slog.Logger
	ProbeEvery time.Duration
	Observer   Observer
	NATS       string   // servers, a comma between; "": none
	Rooms      []string // prefixes of topics of rooms: what follows, up to the next slash, is the room
}

// Bus rings and hears. Handlers are set before Run.
type Bus struct {
	o        Options
	node     string
	handlers []prefixed
	wake     wait.Flag
	nats     *natsRoad // nil: none

	mu      sync.Mutex
	pending rung // guarded by mu

	stale     atomic.Bool
	congested atomic.Bool
	asked     time.Time // the send loop's alone: when the queue's fill was read

	probeMu sync.Mutex
	sent    map[int64]time.Time // guarded by probeMu: probes not heard yet
	heard   time.Time           // guarded by probeMu
}

type prefixed struct {
	prefix string
	h      Handler
}

// New is a bus that is stale until Run has connected it.
func New(o Options) *Bus {
	if o.ProbeEvery == 0 {
		o.ProbeEvery = time.Second
	}
	o.Observer = o.Observer.complete()
	b := &Bus{o: o, node: uuid.NewString(), wake: wait.NewFlag(), pending: rung{has: map[string]struct{}{}}, sent: map[int64]time.Time{}}
	b.stale.Store(true)
	if o.NATS != "" {
		b.nats = newNATS(b, o.NATS)
	}
	return b
}

func (o Observer) complete() Observer {
	if o.Sent == nil {
		o.Sent = func(int) {}
	}
	if o.Heard == nil {
		o.Heard = func(int) {}
	}
	if o.Lag == nil {
		o.Lag = func(time.Duration) {}
	}
	if o.Stale == nil {
		o.Stale = func(bool) {}
	}
	if o.Full == nil {
		o.Full = func(bool) {}
	}
	if o.NATS == nil {
		o.NATS = func(bool) {}
	}
	if o.NATSIn == nil {
		o.NATSIn = func() {}
	}
	if o.NATSOut == nil {
		o.NATSOut = func() {}
	}
	if o.NATSDropped == nil {
		o.NATSDropped = func() {}
	}
	if o.NATSGap == nil {
		o.NATSGap = func(string) {}
	}
	return o
}

// Handle sends topics that begin with prefix to h. Before Run only.
func (b *Bus) Handle(prefix string, h Handler) { b.handlers = append(b.handlers, prefixed{prefix, h}) }

// Ring tells every node, this one included, to look at topics. It never
// blocks. Call it after the commit. A topic that cannot be carried (empty,
// longer than 512 bytes, more than a line) is replaced by one that asks
// everybody to look at everything.
func (b *Bus) Ring(topics ...string) {
	b.mu.Lock()
	b.pending.add(topics)
	b.mu.Unlock()
	b.wake.Raise()
}

// rung is topics that are to go out, each once, as they were first rung.
type rung struct {
	has   map[string]struct{}
	order []string
}

func (r *rung) add(topics []string) {
	for _, t := range topics {
		if t == "" || len(t) > maxTopic || strings.ContainsAny(t, "\n\x00") || len(r.order) >= maxPending {
			r.take()
			t = everything
		}
		_, all := r.has[everything]
		if _, twice := r.has[t]; !all && !twice {
			r.has[t] = struct{}{}
			r.order = append(r.order, t)
		}
	}
}

// again puts what did not go out before all that was rung meanwhile.
func (r *rung) again(topics []string) {
	since := r.take()
	r.add(topics)
	r.add(since)
}

func (r *rung) take() []string {
	topics := r.order
	r.order = nil
	clear(r.has)
	return topics
}

// Selective reports whether topics of rooms are heard only where they are
// attended.
func (b *Bus) Selective() bool { return b.nats != nil }

// Attend has this node hear of a room, such as "typing/<channel>", until on is
// false. It never blocks. Where the bus is not selective everything is heard anyway.
func (b *Bus) Attend(room string, on bool) {
	if b.nats != nil {
		b.nats.attend(room, on)
	}
}

// roomOf is the room of a topic; false: it is for all.
func (o Options) roomOf(topic string) (string, bool) {
	for _, prefix := range o.Rooms {
		if rest, ok := strings.CutPrefix(topic, prefix); ok {
			room, _, _ := strings.Cut(rest, "/")
			return prefix + room, true
		}
	}
	return "", false
}

// Stale reports that doorbells do not arrive: Postgres or the link to it is
// away, or LISTEN is deaf.
func (b *Bus) Stale() bool { return b.stale.Load() }

// Run carries doorbells until ctx ends, and then what is still pending.
func (b *Bus) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { b.listen(ctx) })
	wg.Go(func() { b.probe(ctx) })
	if b.nats == nil {
		b.send(ctx)
		return nil
	}
	road, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end() // after the last ring
	wg.Go(func() { b.nats.run(road) })
	b.send(ctx)
	return nil
}

// hear dispatches one payload.
func (b *Bus) hear(payload string) {
	n := 0
	for topic := range strings.SplitSeq(payload, "\n") {
		switch {
		case topic == everything:
			b.resync()
		case strings.HasPrefix(topic, probePrefix):
			b.answered(topic)
			continue
		default:
			for _, p := range b.handlers {
				if strings.HasPrefix(topic, p.prefix) {
					p.h.Notify(topic)
				}
			}
		}
		n++
	}
	if n > 0 {
		b.o.Observer.Heard(n)
	}
}

func (b *Bus) resync() {
	for _, p := range b.handlers {
		p.h.Resync()
	}
}
