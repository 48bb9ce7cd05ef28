package wsock

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// The subprotocols, the preferred first.
const (
	TransportWS = "graphql-transport-ws"
	LegacyWS    = "graphql-ws"
)

// Limits of a socket. Zero takes the default.
type Limits struct {
	Operations     int           // at a time on one socket; 64
	SocketsPerUser int           // 20
	SocketsPerIP   int           // 200; as many again are told to try later, beyond that HTTP 429
	FrameBytes     int64         // inbound; 1 MiB
	QueuedFrames   int           // outbound; 256
	QueuedBytes    int           // outbound; 1 MiB
	OpeningPerIP   int           // sockets that have not been let in yet; SocketsPerIP
	MessageRate    float64       // inbound messages a second, past a burst of ten seconds' worth; slower reading beyond; 50. Large ones, and operations refused before they run, count for several. Pings, pongs and completes: ten times that, apart, large ones several too
	InitTimeout    time.Duration // 10 s
	PingEvery      time.Duration // 25 s
	WriteTimeout   time.Duration // 10 s
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Operations, 64)
	def(&l.SocketsPerUser, 20)
	def(&l.SocketsPerIP, 200)
	def(&l.OpeningPerIP, l.SocketsPerIP)
	def(&l.QueuedFrames, 256)
	def(&l.QueuedBytes, 1<<20)
	if l.FrameBytes == 0 {
		l.FrameBytes = 1 << 20
	}
	if l.MessageRate == 0 {
		l.MessageRate = 50
	}
	dur(&l.InitTimeout, 10*time.Second)
	dur(&l.PingEvery, 25*time.Second)
	dur(&l.WriteTimeout, 10*time.Second)
	return l
}

// silence is how long a peer may send nothing at all before it is given up: a
// ping unanswered and then some.
func (l Limits) silence() time.Duration { return l.PingEvery + l.PingEvery*4/5 }

// Request is a connection_init.
type Request struct {
	Header   http.Header    // of the upgrade
	RemoteIP string         // by Options.ClientIP
	Payload  map[string]any // of connection_init; nil: none
	Conn     *Conn
}

// Accepted is what Init answers for a socket it lets in.
type Accepted struct {
	Context   context.Context           //nolint:containedctx // of every operation; derived from Init's, and not ended by its maker
	Ack       map[string]any            // the payload of connection_ack
	UserKey   string                    // counted against SocketsPerUser; empty: not counted
	ExpiresAt time.Time                 // the socket is closed then (4403) unless extended; zero: never
	Begin     func(ctx context.Context) // called when the socket is in and before the ack; not for one refused for its number
	Closed    func(CloseInfo)           // called once, when the socket has ended
}

// CloseInfo is how a socket ended.
type CloseInfo struct {
	Code     int // ours, or the peer's; 1006: it just broke
	ByPeer   bool
	LastSeen time.Time // the last frame that came in
}

// Observer is told what a metric may count. Nil fields are not called.
type Observer struct {
	Opened     func(subprotocol string)
	Closed     func(code int)
	Subscribed func()
	Written    func(bytes int)
}

// Options are what a transport needs; Init is the one without a default.
type Options struct {
	Init        func(ctx context.Context, r Request) (Accepted, error)
	Operation   func(ctx context.Context, c *Conn) context.Context // the context of each operation as it starts
	Elsewhere   Elsewhere                                          // who runs what the executor does not; nil: nobody
	CheckOrigin func(*http.Request) bool                           // false: HTTP 403; nil: nobody gets in
	ClientIP    func(*http.Request) string
	IPBucket    func(ip string) string // what SocketsPerIP is counted by
	// Room holds bytes of an operation's large answer, or of its largest event, until its
	// peer has read it: a rate-limited one is said instead. nil: there is room for everything.
	Room     func(ctx context.Context, bytes int) (done func(), err error)
	Recover  graphql.RecoverFunc // makes an error of what panicked outside gqlgen's own recovery
	Limits   Limits
	Observer Observer
	Log      *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.withDefaults()
	if o.CheckOrigin == nil {
		o.CheckOrigin = func(*http.Request) bool { return false }
	}
	if o.ClientIP == nil {
		o.ClientIP = func(r *http.Request) string {
			host, _, err := net.SplitHostPort(r.RemoteAddr)
			if err != nil {
				return r.RemoteAddr
			}
			return host
		}
	}
	if o.IPBucket == nil {
		o.IPBucket = func(ip string) string { return ip }
	}
	if o.Operation == nil {
		o.Operation = func(ctx context.Context, _ *Conn) context.Context { return ctx }
	}
	if o.Recover == nil {
		o.Recover = graphql.DefaultRecover
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
