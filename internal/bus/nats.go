package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	natsWaiting = 8192            // messages that may wait to be heard; past it what was missed is looked at
	natsPing    = 2 * time.Second // two unanswered: the connection is dead
	natsDial    = 2 * time.Second
	natsRecent  = 10 * time.Second // what was sent so shortly before the connection broke may be lost
	natsAway    = 10               // probes' times between looks at everything while it is away
)

// Postgres is the name of the bus that needs nothing but the database.
const Postgres = "postgres"

// Name is what nodes of one bus have in common: Postgres where url is empty,
// else NATS' hosts, in order and without credentials.
func Name(servers string) string {
	if servers == "" {
		return Postgres
	}
	var hosts []string
	for s := range strings.SplitSeq(servers, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			continue // config has read it before
		}
		port := u.Port()
		if port == "" {
			port = "4222"
		}
		hosts = append(hosts, net.JoinHostPort(strings.ToLower(u.Hostname()), port))
	}
	slices.Sort(hosts)
	return "nats://" + strings.Join(slices.Compact(hosts), ",")
}

// natsRoad carries what nodes ring over NATS, by subject: topics of rooms to the
// nodes that attend the room, all else to all. What it cannot carry goes by
// Postgres, where triggers ring anyhow.
type natsRoad struct {
	b       *Bus
	servers string
	in      chan *nats.Msg
	up      sync.WaitGroup // the first connected

	mu     sync.Mutex
	conn   *nats.Conn                    // guarded by mu; nil: not begun, or ended
	prefix string                        // guarded by mu: of this installation's subjects
	rooms  map[string]*nats.Subscription // guarded by mu: attended; nil: not subscribed yet
	heard  bool                          // guarded by mu: connected, and what is rung is heard
	sent   time.Time                     // guarded by mu: the last time
}

func newNATS(b *Bus, servers string) *natsRoad {
	return &natsRoad{b: b, servers: servers, in: make(chan *nats.Msg, natsWaiting), rooms: map[string]*nats.Subscription{}}
}

// installation is of this database alone: two that share a NATS do not meet.
const installation = `
select concat_ws('/', c.system_identifier, d.oid) from pg_control_system() c, pg_database d where d.datname = current_database()`

// run hears until ctx ends.
func (r *natsRoad) run(ctx context.Context) {
	again := retryFirst
	for ctx.Err() == nil {
		err := r.open(ctx)
		if err == nil {
			break
		}
		r.b.o.Log.WarnContext(ctx, "NATS is not used yet", "error", err, "after", again)
		wait.For(ctx, again)
		again = min(2*again, retryMost)
	}
	defer r.close()
	lost, looked := false, 0
	away := time.NewTicker(natsAway * r.b.o.ProbeEvery)
	defer away.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-away.C:
			// Where it is away for long it may be away for all, and then nobody rings there.
			if looked++; !r.deaf(looked < natsAway || looked%natsAway == 0) {
				looked = 0
			}
		case m := <-r.in:
			r.b.o.Observer.NATSIn()
			r.b.hear(string(m.Data))
			// Whoever dropped one found the queue full, and only this loop empties it.
			lost = lost || len(r.in) >= cap(r.in)-1
			if lost && len(r.in) == 0 {
				lost = false
				r.b.o.Observer.NATSGap("full")
				r.b.resync()
			}
		}
	}
}

// open begins a connection that looks for its servers until it is closed, and
// says what is to be heard on it.
func (r *natsRoad) open(ctx context.Context) error {
	var id string
	read, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	if err := r.b.o.Pool.QueryRow(read, installation).Scan(&id); err != nil {
		return fmt.Errorf("reading which database this is: %w", err)
	}
	sum := sha256.Sum256([]byte(id))
	conn, err := nats.Connect(r.servers, nats.Name("nchat-realtime"), nats.NoEcho(), nats.Timeout(natsDial),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectBufSize(-1),
		nats.CustomReconnectDelay(func(n int) time.Duration { return min(retryFirst<<min(n, 5), retryMost) }),
		nats.PingInterval(natsPing), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(sendLimit),
		nats.ConnectHandler(r.connected), nats.ReconnectHandler(r.connected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { r.lost(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) { // run sees that by itself
				r.b.o.Observer.NATSDropped()
				return
			}
			r.b.o.Log.Warn("NATS", "error", err)
		}))
	if err != nil {
		return fmt.Errorf("connecting to NATS: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn, r.prefix = conn, "nchat."+hex.EncodeToString(sum[:12])+"."
	if _, err := conn.ChanSubscribe(r.prefix+"all", r.in); err != nil {
		conn.Close()
		r.conn = nil
		return fmt.Errorf("subscribing: %w", err)
	}
	for room := range r.rooms {
		r.subscribeLocked(room)
	}
	if conn.IsConnected() {
		r.up.Go(func() { r.connected(conn) })
	} else {
		r.b.o.Log.WarnContext(ctx, "NATS does not answer: doorbells go by Postgres", "bus", Name(r.servers), "error", conn.LastError())
	}
	return nil
}

func (r *natsRoad) close() {
	r.mu.Lock()
	conn := r.conn
	r.conn = nil
	r.mu.Unlock()
	if conn != nil {
		_ = conn.FlushTimeout(sendLimit / 3) // what was rung last
		conn.Close()
	}
	r.up.Wait()
}

// connected has everything looked at once the server has taken note of what is
// to be heard: what was rung meanwhile was not.
func (r *natsRoad) connected(conn *nats.Conn) {
	r.mu.Lock()
	begun := r.conn == conn
	r.mu.Unlock()
	if !begun {
		return // open does it when all is subscribed
	}
	if err := conn.FlushTimeout(sendLimit); err != nil {
		return // it is connected again, or ended
	}
	r.mu.Lock()
	r.heard = conn.IsConnected()
	r.mu.Unlock()
	r.b.o.Observer.NATS(true)
	r.b.o.Observer.NATSGap("connect")
	r.b.o.Log.Info("NATS carries doorbells", "bus", Name(r.servers))
	r.b.resync()
}

// deaf has everything looked at while this node does not hear NATS: others may,
// and ring there alone what no trigger rings. A connection whose server was slow to
// take note of what is to be heard is asked again. false: it hears.
func (r *natsRoad) deaf(look bool) bool {
	r.mu.Lock()
	conn, heard := r.conn, r.heard
	r.mu.Unlock()
	switch {
	case heard || conn == nil:
		return false
	case conn.IsConnected():
		r.up.Go(func() { r.connected(conn) })
	case look:
		r.b.resync()
	}
	return true
}

// lost tells everybody to look at everything, where something of ours may have
// been on its way.
func (r *natsRoad) lost(err error) {
	r.mu.Lock()
	ended := r.conn == nil
	recent := time.Since(r.sent) < natsRecent
	r.heard = false
	r.mu.Unlock()
	r.b.o.Observer.NATS(false)
	if ended {
		return
	}
	r.b.o.Log.Warn("NATS is away: doorbells go by Postgres", "error", err)
	if recent {
		r.b.Ring(everything)
	}
}

// attend begins or ends to hear of a room.
func (r *natsRoad) attend(room string, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sub, is := r.rooms[room]
	switch {
	case on && !is:
		r.rooms[room] = nil
		r.subscribeLocked(room)
	case !on && is:
		delete(r.rooms, room)
		if sub != nil {
			_ = sub.Unsubscribe() // a closed connection hears nothing
		}
	}
}

func (r *natsRoad) subscribeLocked(room string) {
	if r.conn == nil {
		return
	}
	sub, err := r.conn.ChanSubscribe(r.prefix+subject(room), r.in)
	if err != nil {
		r.b.o.Log.Warn("a room is not heard of", "error", err)
		return
	}
	r.rooms[room] = sub
}

// send publishes topics; false: NATS is away, or took only some.
func (r *natsRoad) send(topics []string) bool {
	r.mu.Lock()
	conn, prefix := r.conn, r.prefix
	if conn == nil || !conn.IsConnected() {
		r.mu.Unlock()
		return false
	}
	r.sent = time.Now()
	r.mu.Unlock()
	const all = "all"
	by, order := map[string][]string{}, []string{all}
	for _, t := range topics {
		s := all
		if room, ok := r.b.o.roomOf(t); ok {
			s = subject(room)
		}
		if _, ok := by[s]; !ok && s != all {
			order = append(order, s)
		}
		by[s] = append(by[s], t)
	}
	for _, s := range order {
		if len(by[s]) == 0 {
			continue
		}
		for _, payload := range pack(by[s]) {
			if conn.Publish(prefix+s, []byte(payload)) != nil {
				return false
			}
			r.b.o.Observer.NATSOut()
		}
	}
	return true
}

// subject is a room's: whatever its name holds, dots and wildcards mean nothing.
func subject(room string) string {
	sum := sha256.Sum256([]byte(room))
	return "room." + hex.EncodeToString(sum[:16])
}
