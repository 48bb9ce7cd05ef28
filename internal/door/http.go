package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	lookedAt  = 64 << 10 // of a body: what is larger is nobody's introspection
	leastRate = 4 << 10  // bytes of a body in a second, after that
)

// newProxy passes requests on and answers back, as they are.
func (d *Door) newProxy(under http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Transport:     under,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(d.o.Log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = d.base.Scheme, d.base.Host
			p.Out.URL.Path, p.Out.URL.RawPath = strings.TrimRight(d.base.Path, "/")+p.In.URL.Path, "" // as it was matched
			p.Out.URL.RawQuery = p.In.URL.RawQuery
			p.Out.Host = ""
			p.Out.Trailer = nil // no header comes in behind the body
			te := p.Out.Header.Get("Te")
			p.Out.Header = request(p.In, d.o.Header)
			if te != "" { // "trailers", which the proxy lets through
				p.Out.Header.Set("Te", te)
			}
			d.tell(p.Out.Header, p.In)
		},
		ModifyResponse: func(r *http.Response) error {
			for name := range r.Header { // ours are there already
				if strings.HasPrefix(name, "Access-Control-") {
					r.Header.Del(name)
				}
			}
			d.answered("passed")
			return nil
		},
		ErrorHandler: d.failed,
	}
}

// tell says upstream whose request it is.
func (d *Door) tell(h http.Header, r *http.Request) {
	h.Set("X-Forwarded-For", d.o.ClientIP(r))
	h.Set("X-Forwarded-Host", r.Host)
	proto := "http"
	if d.o.Encrypted(r) {
		proto = "https"
	}
	h.Set("X-Forwarded-Proto", proto)
}

// serveHTTP answers what is not an upgrade.
func (d *Door) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > d.o.BodyBytes {
		d.answered("refused")
		fail(newLeaving(w, d.o.WriteTimeout), http.StatusRequestEntityTooLarge, fault.New(fault.Invalid, "the body has more than %d bytes", d.o.BodyBytes))
		return
	}
	control := http.NewResponseController(w)
	f := &fate{}
	if r.ContentLength != 0 {
		f.arriving = &arriving{ReadCloser: http.MaxBytesReader(w, r.Body, d.o.BodyBytes), control: control, began: time.Now(), stalled: d.times.body}
		r.Body = f.arriving
		if graphs(r.URL.Path) {
			ctx := r.Context()
			r.Body = &batch{ReadCloser: r.Body, take: func() (func(), error) { return d.o.Take(ctx) }}
		}
	}
	r.Header.Del("Upgrade") // of another kind than WebSocket's: nothing is tunnelled
	if f.tooMany(d, w, r) || d.answer(w, r, f) {
		return
	}
	ctx, done := lasting(r.Context())
	defer done()
	d.proxy.ServeHTTP(newLeaving(w, d.o.WriteTimeout), r.WithContext(f.follow(ctx)))
	_ = control.SetWriteDeadline(time.Now().Add(d.o.WriteTimeout)) // for the end of the answer, which net/http writes
}

// tooMany refuses what its caller's allowance of operations does not have room for.
// What is answered by Own is counted there; files and the like are not operations.
func (f *fate) tooMany(d *Door, w http.ResponseWriter, r *http.Request) bool {
	if !graphs(r.URL.Path) {
		return false
	}
	back, err := d.o.Take(r.Context())
	if err == nil {
		f.back = back
		return false
	}
	d.answered("refused")
	if r.ContentLength >= 0 && r.ContentLength <= lookedAt { // what is larger would be held meanwhile
		wait.For(r.Context(), d.times.refusal) // whoever asks over and over does so no faster
	}
	fail(newLeaving(w, d.o.WriteTimeout), http.StatusTooManyRequests, err)
	return true
}

// ErrLeaving is the cause with which a server that leaves ends its requests'
// contexts. What is with Hasura goes on until the server's own patience ends.
var ErrLeaving = errors.New("the server is leaving")

// lasting is a request's context that does not end because the server leaves: what
// Hasura does for it would be lost halfway.
func lasting(request context.Context) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(request))
	stop := context.AfterFunc(request, func() {
		if !errors.Is(context.Cause(request), ErrLeaving) {
			cancel()
		}
	})
	return ctx, func() { stop(); cancel() }
}

// answer answers here what is introspection, or may be answered directly; false:
// neither, and the body is as it was.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, f *fate) bool {
	if r.URL.Path != pathGraphQL || r.Method != http.MethodPost || r.ContentLength > lookedAt || r.ContentLength == 0 {
		return false
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return false
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, lookedAt+1))
	if _, many := errors.AsType[*manyError](err); many {
		d.failed(newLeaving(w, d.o.WriteTimeout), r, err)
		return true
	}
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), failing{err}, rest), rest}
	if err != nil || len(head) > lookedAt {
		return false
	}
	f.body = head
	meta := bytes.Contains(head, []byte("__schema")) || bytes.Contains(head, []byte("__type")) || bytes.Contains(head, []byte(`\u`)) // may be either, spelt out
	if !meta && d.o.Direct == nil {
		return false
	}
	var params graphql.RawParams
	if json.Unmarshal(head, &params) != nil || params.Query == "" || params.Extensions["persistedQuery"] != nil {
		return false // a batch among them
	}
	p := d.planner.plan(params.Query, params.OperationName)
	switch {
	case p.err != nil:
		return false
	case p.side == schema:
		return d.introspected(w, r, &params)
	case p.kind.once():
		if d.directly(r, p, &params) {
			d.answered("direct")
			f.back()
			own := r.WithContext(r.Context())
			own.Header = hop(r) // by which it was judged
			d.o.Own.ServeHTTP(w, own)
			return true
		}
	}
	return false
}

// failing is the end of what could be read: its error, if there was one.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// arriving is a body of which each part has its time, and the whole a least pace. Once it
// is closed the connection's deadline is another's: the transport may still be reading.
type arriving struct {
	io.ReadCloser
	control *http.ResponseController
	began   time.Time
	stalled time.Duration
	read    int64

	mu   sync.Mutex
	over bool      // guarded by mu
	end  time.Time // guarded by mu: of the part that is waited for, zero: none is
}

func (a *arriving) Read(p []byte) (int, error) {
	end := a.began.Add(a.stalled + time.Duration(a.read)*time.Second/leastRate)
	if next := time.Now().Add(a.stalled); next.Before(end) {
		end = next
	}
	if !a.until(end) {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := a.ReadCloser.Read(p)
	a.read += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, &lateError{err}
	}
	if err != nil {
		a.until(time.Time{})
	}
	a.mu.Lock()
	a.end = time.Time{}
	a.mu.Unlock()
	return n, err //nolint:wrapcheck // a reader's errors are the reader's
}

// until sets what the connection may take to be read; false: it is closed, and is not set.
func (a *arriving) until(end time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.end = end
		_ = a.control.SetReadDeadline(end) // what cannot, has no connection behind it
	}
	return !a.over
}

// late reports whether a part that is waited for did not come in its time.
func (a *arriving) late() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.end.IsZero() && !time.Now().Before(a.end)
}

// Close is io.Closer's. Whoever reads may go on to, and no part has a new time.
func (a *arriving) Close() error {
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
	return a.ReadCloser.Close() //nolint:wrapcheck // a reader's errors are the reader's
}

// dialTaking dials connections for requests, whose answers have a time of their own.
func dialTaking(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err //nolint:wrapcheck // as a dialer's
		}
		return &taking{c, timeout}, nil
	}
}

// taking is a connection to Hasura, which takes each part of a request in its time.
type taking struct {
	net.Conn
	timeout time.Duration
}

func (t *taking) Write(p []byte) (int, error) {
	_ = t.SetWriteDeadline(time.Now().Add(t.timeout)) // a connection that cannot is broken, and its write says so
	return t.Conn.Write(p)                            //nolint:wrapcheck // as a connection's
}

// leaving is an answer of which each part has its time.
type leaving struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

func newLeaving(w http.ResponseWriter, each time.Duration) *leaving {
	return &leaving{w, http.NewResponseController(w), each}
}

func (l *leaving) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *leaving) Write(p []byte) (int, error) {
	_ = l.control.SetWriteDeadline(time.Now().Add(l.timeout)) // as above
	n, err := l.ResponseWriter.Write(p)
	return n, err //nolint:wrapcheck // a writer's errors are the writer's
}

// FlushError flushes within the same time.
func (l *leaving) FlushError() error {
	_ = l.control.SetWriteDeadline(time.Now().Add(l.timeout))
	return l.control.Flush()
}

// fail answers with an error, as this server's do.
func fail(w http.ResponseWriter, status int, err error) {
	f := fault.From(err)
	body, merr := json.Marshal(map[string]any{"errors": []any{map[string]any{"message": f.Message, "extensions": f.Extensions()}}})
	if merr != nil {
		body = []byte(`{"errors":[{"message":"internal error"}]}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds()+0.999)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// ask sends an operation to the upstream over HTTP, and is its answer; at most
// most bytes of it.
func (d *Door) ask(ctx context.Context, h http.Header, body []byte, most int64) (int, []byte, error) {
	u := *d.base
	u.Path = strings.TrimRight(u.Path, "/") + pathGraphQL
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = h.Clone()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Del("Accept-Encoding")
	req.Header.Set("Accept", "application/json")
	res, err := d.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err == nil && int64(len(answer)) > most {
		err = errors.New("the answer is too large")
	}
	return res.StatusCode, answer, err
}
