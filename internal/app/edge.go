package app

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nself-org/nchat-realtime/internal/clientip"
)

// edge is around everything that is served on the public port: whatever is asked,
// a body has to arrive in time, what is refused is kept by nobody between us and the
// client, and a connection whose body nobody read is closed with the refusal.
type edge struct {
	next    http.Handler
	body    time.Duration // for a body to arrive
	webhook time.Duration // for what Hasura calls besides GraphQL
	lingers time.Duration // how long who is sending still when it is answered is listened to
	ips     clientip.Finder
	log     *slog.Logger
	told    *sync.Once
}

func newEdge(p *parts, next http.Handler) http.Handler {
	l := p.config.Limits
	return edge{next: next, body: l.RequestTimeout, webhook: l.OperationTimeout, lingers: p.lingers, ips: clientip.New(p.config.TrustedProxies), log: p.log, told: &sync.Once{}}
}

func (e edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Forwarded-For") != "" && !e.ips.Trusts(r.RemoteAddr) {
		e.told.Do(func() { //nolint:contextcheck // r carries it
			e.log.WarnContext(r.Context(), "X-Forwarded-For comes from a peer that is not in TRUSTED_PROXIES and is not believed: if it is your proxy, all its clients count as one address", "peer", r.RemoteAddr)
		})
	}
	out := &guarded{ResponseWriter: w}
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(e.body)) // what cannot, has no connection behind it
		body := &watched{ReadCloser: r.Body}
		r = r.WithContext(r.Context()) // net/http looks at its own whether all was read, and gives the peer time to read the refusal
		out.body, r.Body = body, body
	}
	if strings.HasPrefix(r.URL.Path, "/hasura/") {
		ctx, cancel := context.WithTimeout(r.Context(), e.webhook)
		defer cancel()
		r = r.WithContext(ctx)
	}
	e.next.ServeHTTP(out, r)
	if out.body != nil && r.Close {
		out.linger(e.lingers)
	}
}

// Who is sending still when it is answered is listened to for so long, and so many
// bytes, as net/http does where a connection stays open.
const (
	lingers  = time.Second
	lingered = 256 << 10
)

// linger sends the answer, and then takes what a peer that wants its connection closed
// goes on to send. net/http would close under it, and what comes after that throws away
// the answer that is on its way: a proxy in front would tell of an error of its own.
func (g *guarded) linger(most time.Duration) {
	control := http.NewResponseController(g.ResponseWriter)
	if g.body.read() || control.Flush() != nil {
		return
	}
	_ = control.SetReadDeadline(time.Now().Add(most))
	defer time.AfterFunc(most, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) }).Stop() // whoever has set another since
	_, _ = io.CopyN(io.Discard, g.body.ReadCloser, lingered)
}

// watched is a body of which it is known whether it was read to its end. Whoever closes
// it reads no more of it; net/http closes its own, when the answer is out.
type watched struct {
	io.ReadCloser
	mu   sync.Mutex
	over bool // guarded by mu
	shut bool // guarded by mu
}

func (b *watched) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	return nil
}

func (b *watched) Read(p []byte) (int, error) {
	b.mu.Lock()
	shut := b.shut
	b.mu.Unlock()
	if shut {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.mu.Lock()
		b.over = true
		b.mu.Unlock()
	}
	return n, err //nolint:wrapcheck // a reader's errors are the reader's
}

func (b *watched) read() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// guarded is an answer that, where it refuses, says so to caches and connections.
type guarded struct {
	http.ResponseWriter
	body *watched // nil: there is none
}

func (g *guarded) WriteHeader(status int) {
	if h := g.Header(); status >= http.StatusBadRequest {
		if h.Get("Cache-Control") == "" {
			h.Set("Cache-Control", "no-store")
		}
		if g.body != nil && !g.body.read() {
			h.Set("Connection", "close")
		}
	}
	g.ResponseWriter.WriteHeader(status)
}

// Unwrap is http.ResponseController's.
func (g *guarded) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// Hijack is http.Hijacker's, for sockets, whose connections are not ours any more.
func (g *guarded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(g.ResponseWriter).Hijack()
	if err == nil {
		g.body = nil
	}
	return conn, rw, err //nolint:wrapcheck // passed on
}

// Flush is http.Flusher's.
func (g *guarded) Flush() { _ = http.NewResponseController(g.ResponseWriter).Flush() }

// counting is a listener that closes what is one connection too many from an
// address. A trusted proxy's are everybody's and are not counted.
type counting struct {
	net.Listener
	most int
	ips  clientip.Finder

	mu   sync.Mutex
	open map[string]int // guarded by mu: by address
}

func newCounting(l net.Listener, most int, ips clientip.Finder) *counting {
	return &counting{Listener: l, most: most, ips: ips, open: map[string]int{}}
}

// Accept is net.Listener's.
func (c *counting) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // http.Server looks at it
		}
		peer := conn.RemoteAddr().String()
		if c.ips.Trusts(peer) {
			return conn, nil
		}
		host, _, err := net.SplitHostPort(peer)
		if err != nil {
			host = peer
		}
		if bucket := clientip.Bucket(host); c.enter(bucket) {
			return &counted{Conn: conn, left: sync.OnceFunc(func() { c.leave(bucket) })}, nil
		}
		_ = conn.Close()
	}
}

func (c *counting) enter(bucket string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[bucket] >= c.most {
		return false
	}
	c.open[bucket]++
	return true
}

func (c *counting) leave(bucket string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[bucket]--; c.open[bucket] == 0 {
		delete(c.open, bucket)
	}
}

type counted struct {
	net.Conn
	left func()
}

func (c *counted) Close() error {
	c.left()
	return c.Conn.Close() //nolint:wrapcheck // a connection's errors are its own
}

// SyscallConn is a TCP connection's, by which a write can be tried without waiting.
func (c *counted) SyscallConn() (syscall.RawConn, error) {
	if tcp, ok := c.Conn.(syscall.Conn); ok {
		return tcp.SyscallConn() //nolint:wrapcheck // a connection's errors are its own
	}
	return nil, syscall.EINVAL
}

// SetLinger is a TCP connection's, for sockets that are cut off.
func (c *counted) SetLinger(sec int) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SetLinger(sec) //nolint:wrapcheck // a connection's errors are its own
	}
	return nil
}

// CloseWrite is TCP's, by which net/http ends an answer to a peer that still sends.
func (c *counted) CloseWrite() error {
	if tcp, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite() //nolint:wrapcheck // it is the connection
	}
	return nil
}
