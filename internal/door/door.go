// Package door is the one endpoint: what a client asks of Hasura and what it
// asks of this server, at the same URL and over the same socket. It decides by
// an operation's root fields who runs it, and owns the sockets to Hasura: one
// for each client socket that needs it, so that no two callers ever share one.
//
// What goes through is what came: bodies byte for byte, results undecoded. What
// does not go through is Hasura's admin API, headers by which a caller would be
// somebody else there than here, and pages that are not let in.
//
// When Hasura is lost a client's socket stays. Its live queries are subscribed
// again and told only what changed meanwhile; its streaming subscriptions end
// with an error, for only the client knows how far it is; a query is asked once
// more; of a mutation that had been sent nobody knows, and it is never sent
// twice. Subscriptions of this server do not notice.
package door

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/ast"
	"golang.org/x/time/rate"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Where Hasura answers GraphQL, over HTTP and sockets. The first two are always the
// door's, the third where FRONT_DOOR_PATHS has it.
const (
	pathGraphQL = "/v1/graphql"
	pathRelay   = "/v1beta1/relay"
	pathOld     = "/v1alpha1/graphql"
)

// Options of a door. Only what BodyBytes and what follows it are has a default, and Header, Direct.
type Options struct {
	Upstream string      // Hasura's base URL
	Paths    []string    // served besides /v1/graphql and /v1beta1/relay; with / at the end, all below
	Schema   *ast.Schema // this server's
	Own      http.Handler
	Sockets  http.Handler                                       // takes an upgrade, with Through in its context
	Executor func(*ast.Schema) graphql.GraphExecutor            // executes introspection of a schema, once it is paid for
	Role     func(context.Context, http.Header) (string, error) // of a caller
	// Admit refuses a page, a cookie from one, or who is not let in; else it says who asks, by
	// the headers that go upstream: those of a request are not all.
	Admit func(r *http.Request, upstream http.Header) (context.Context, error)
	Take  func(context.Context) (back func(), err error) // refuses an operation too many; back undoes it
	// Room holds bytes of an answer of the door's own until its caller has taken them: a
	// rate-limited one is said instead. nil: there is room for everything.
	Room      func(ctx context.Context, bytes int) (done func(), err error)
	ClientIP  func(*http.Request) string
	Encrypted func(*http.Request) bool // the client came over TLS
	Header    string                   // the header, besides Authorization, in which a token comes; "": none
	Direct    *Direct

	BodyBytes    int64         // of a request; 16 MiB
	HeldBytes    int           // of a socket's operations, kept to subscribe again; 4 MiB
	BodyTimeout  time.Duration // for the next part of a request's body; 30 s
	WriteTimeout time.Duration
	Observer     Observer
	Log          *slog.Logger
}

// Observer is told what a metric may count. Nil fields are not called.
type Observer struct {
	Upstream     func(change int)    // sockets to Hasura: 1, or -1
	Dialed       func(result string) // ok, refused, unavailable
	Lost         func(why string)    // closed, silent, garbage
	Resubscribed func(n int)         // live queries, after a loss or a refresh
	Unchanged    func()              // first results that were what the client had
	Ended        func(code string)   // operations that an upstream's loss ended, by their error
	Answered     func(how string)    // HTTP: passed, direct, schema, refused, unavailable
}

const (
	redialsEach  = 200 // a second, of the whole node
	redialsBurst = 100
	frameBytes   = 16 << 20 // of an upstream: what one answer of ours may have
)

// times are how long the door waits for what.
type times struct {
	dial    time.Duration // until connection_ack
	first   time.Duration // of an operation that has had no result
	again   time.Duration // of a live query whose upstream was lost
	idle    time.Duration // without an operation an upstream socket is closed
	pulse   time.Duration // between looks whether an upstream lives
	silence time.Duration // of an upstream: six of Hasura's keepalives
	least   time.Duration // before an upstream is dialled again, doubled each time
	most    time.Duration
	body    time.Duration // as Options.BodyTimeout
	refusal time.Duration // before a request too many is told so
	steady  time.Duration // a socket that lasted so long was a good one
}

var usual = times{dial: 10 * time.Second, first: 10 * time.Second, again: time.Minute, idle: 45 * time.Second, pulse: 10 * time.Second, silence: 30 * time.Second,
	least: 250 * time.Millisecond, most: 15 * time.Second, steady: 30 * time.Second, refusal: time.Second}

// Door is the endpoint.
type Door struct {
	o       Options
	times   times
	frame   int // bytes, of the upstream's
	base    *url.URL
	planner *planner
	schemas *schemas
	proxy   http.Handler
	client  *http.Client
	dialer  websocket.Dialer
	pace    *rate.Limiter // of dialling again
}

// New is a door; its error is the upstream's URL.
func New(o Options) (*Door, error) {
	base, err := url.Parse(o.Upstream)
	if err != nil || base.Host == "" {
		return nil, errors.New("HASURA_UPSTREAM_URL cannot be read")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BodyBytes == 0 {
		o.BodyBytes = 16 << 20
	}
	if o.HeldBytes == 0 {
		o.HeldBytes = 4 << 20
	}
	if o.Room == nil {
		o.Room = func(context.Context, int) (func(), error) { return func() {}, nil }
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = 30 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	times := usual
	times.body = o.BodyTimeout
	d := &Door{o: o, times: times, frame: frameBytes, base: base, planner: newPlanner(o.Schema), pace: rate.NewLimiter(redialsEach, redialsBurst)}
	under := &http.Transport{ // no proxy, no compression of its own, no redirects: what comes is Hasura's
		DialContext: dialTaking(o.WriteTimeout), MaxIdleConnsPerHost: 256, IdleConnTimeout: 25 * time.Second,
		DisableCompression: true, ResponseHeaderTimeout: 5 * time.Minute, TLSHandshakeTimeout: 5 * time.Second,
	}
	d.client = &http.Client{Transport: under, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	d.proxy = d.newProxy(under)
	d.schemas = newSchemas(d)
	d.dialer = websocket.Dialer{HandshakeTimeout: d.times.dial, NetDialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ReadBufferSize: 4096, WriteBufferSize: 4096, WriteBufferPool: &pool, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	return d, nil
}

// Close lets go of idle connections. Sockets are ended by their clients'.
func (d *Door) Close() { d.client.CloseIdleConnections() }

// Serves says whether a path is the door's: as it is decoded, and only if it is
// clean, so that nothing is one path here and another at Hasura.
func (d *Door) Serves(u *url.URL) bool {
	p := u.Path
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	if p != clean || strings.ContainsAny(p, "\\;\x00") {
		return false
	}
	if p == pathGraphQL || p == pathRelay {
		return true
	}
	return slices.ContainsFunc(d.o.Paths, func(also string) bool {
		return p == also || strings.HasSuffix(also, "/") && strings.HasPrefix(p, also)
	})
}

type throughKey struct{}

// through is what an upgrade through the door has in its context, and so have
// its socket's operations.
type through struct {
	path string
	told http.Header // what the door says upstream of its client
}

// Through says whether a request's context, or a socket's, came through a door.
func Through(ctx context.Context) bool {
	_, ok := ctx.Value(throughKey{}).(through)
	return ok
}

// ServeHTTP serves a path for which Serves is true.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	socket := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	var upstream http.Header
	if socket {
		upstream = forward(r.Header, asAdmin(r.Header), d.o.Header)
	} else {
		upstream = request(r, d.o.Header)
	}
	who, err := d.o.Admit(r, upstream)
	if err != nil {
		d.answered("refused")
		fail(newLeaving(w, d.o.WriteTimeout), http.StatusForbidden, err)
		return
	}
	switch {
	case !socket:
		d.serveHTTP(w, r.WithContext(who)) //nolint:contextcheck // it is r's, with who asks; a socket's connection_init says that
	case graphs(r.URL.Path):
		t := through{r.URL.Path, http.Header{}}
		d.tell(t.told, r)
		d.o.Sockets.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), throughKey{}, t)))
	default:
		fail(newLeaving(w, d.o.WriteTimeout), http.StatusBadRequest, fault.New(fault.Unsupported, "sockets are served at "+pathGraphQL))
	}
}

// graphs says whether Hasura answers GraphQL at a path.
func graphs(path string) bool { return path == pathGraphQL || path == pathRelay || path == pathOld }

func (d *Door) answered(how string) {
	if d.o.Observer.Answered != nil {
		d.o.Observer.Answered(how)
	}
}
