package gqlhttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql/executor"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	begun     = ":\n\n"
	completed = "event: complete\ndata:\n\n"
)

func next(payload string) string { return "event: next\ndata: " + payload + "\n\n" }

func TestEventStreams(t *testing.T) {
	t.Parallel()
	internal := `{"errors":[{"message":"internal error","extensions":{"code":"unexpected","retryable":true}}]}`
	denied := `"errors":[{"message":"access denied","extensions":{"code":"access-denied","retryable":false}}]`
	for name, c := range map[string]struct{ query, want string }{
		"a subscription":                 {"subscription { ticks }", next(`{"data":{"ticks":1}}`) + next(`{"data":{"ticks":2}}`) + next(`{"data":{"ticks":3}}`) + completed},
		"a query":                        {"{ hello }", next(`{"data":{"hello":"hello "}}`) + completed},
		"a mutation":                     {"mutation { bump }", next(`{"data":{"bump":1}}`) + completed},
		"a query with an error":          {"{ denied }", next(`{`+denied+`,"data":{"denied":null}}`) + completed},
		"a document that does not parse": {"{", next(`{"errors":[{"message":"Expected Name, found \u003cEOF\u003e","locations":[{"line":1,"column":2}],"extensions":{"code":"validation-failed","retryable":false}}]}`) + completed},
		"an error and no data ends it":   {"subscription { refused }", next(`{`+denied+`}`) + completed},
		"an error beside data does not":  {"subscription { fails }", next(`{`+denied+`,"data":{"fails":null}}`) + completed},
		"line breaks in the data":        {"subscription { pretty }", next(`{"data":{"pretty": 1  }}`) + completed},
		"a panic ends it":                {"subscription { breaks }", next(`{"data":{"breaks":1}}`) + next(internal) + completed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := newSite(t, Options{}).subscribe(t, c.query) //nolint:bodyclose // by subscribe
			if got := all(t, resp); got != begun+c.want {
				t.Errorf("\n%q, want\n%q", got, begun+c.want)
			}
			for header, want := range map[string]string{"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no",
				"Cache-Control": "private, no-store", "Content-Encoding": ""} {
				if got := resp.Header.Get(header); got != want {
					t.Errorf("%s is %q", header, got)
				}
			}
			if resp.StatusCode != http.StatusOK {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
}

// events reads a stream's lines, one by one.
func lines(r io.Reader) <-chan string {
	c := make(chan string, 100)
	go func() {
		defer close(c)
		for b := bufio.NewScanner(r); b.Scan(); {
			c <- b.Text()
		}
	}()
	return c
}

func TestEventsArriveOneByOne(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	got := lines(s.subscribe(t, "subscription { forever }").Body) //nolint:bodyclose // by subscribe
	for i, want := range []string{":", ""} {
		if l := wait(t, "the beginning", got); l != want {
			t.Fatalf("line %d is %q", i, l)
		}
	}
	for i := range 3 {
		s.schema.tick <- i
		for _, want := range []string{"event: next", fmt.Sprintf(`data: {"data":{"forever":%d}}`, i), ""} {
			if l := wait(t, "an event", got); l != want {
				t.Fatalf("%q, want %q", l, want)
			}
		}
	}
}

func TestASilentStreamIsKeptAlive(t *testing.T) {
	t.Parallel()
	got := lines(newSite(t, Options{KeepAlive: time.Millisecond}).subscribe(t, "subscription { forever }").Body) //nolint:bodyclose // by subscribe
	for range 10 {
		if l := wait(t, "a comment", got); l != ":" && l != "" {
			t.Fatalf("%q", l)
		}
	}
}

func TestKeepAliveIsEvery25Seconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSchema()
		s.ended, s.tick = make(chan error, 1), make(chan int)
		w := &recorder{header: http.Header{}}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		serve(ctx, s, Options{}, w)
		if got := w.String(); got != strings.Repeat(begun, 1+4) { // at 25, 50, 75 and 100 seconds
			t.Errorf("%q", got)
		}
	})
}

// recorder is a client that takes what is written, until it is told not to.
type recorder struct {
	header http.Header
	b      strings.Builder
	most   int             // writes it takes; 0: all
	n      int             // it was given
	hold   <-chan struct{} // all but the first wait for this
	over   atomic.Bool     // the handler has returned
}

func (w *recorder) Header() http.Header { return w.header }
func (w *recorder) WriteHeader(int)     {}
func (w *recorder) Flush()              {}
func (w *recorder) String() string      { return w.b.String() }
func (w *recorder) Write(p []byte) (int, error) {
	if w.n++; w.n > w.most && w.most > 0 {
		return 0, errors.New("gone")
	}
	if w.n > 1 && w.hold != nil {
		<-w.hold
	}
	return w.b.Write(p)
}

// serve runs a forever on a recorder.
func serve(ctx context.Context, s *schema, o Options, w *recorder) {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(`{"query":"subscription { forever }"}`))
	r.Header.Set("Accept", mediaSSE)
	r.Header.Set("Content-Type", mediaJSON)
	New(o).Do(w, r, executor.New(s))
	w.over.Store(true)
}

// The handler does not return while a comment is being written, and nothing is
// written once it has.
func TestNothingIsWrittenAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSchema()
		s.ended, s.tick = make(chan error, 1), make(chan int)
		writing := make(chan struct{})
		w := &recorder{header: http.Header{}, hold: writing}
		ctx, cancel := context.WithCancel(t.Context())
		go serve(ctx, s, Options{}, w)
		<-time.After(25 * time.Second)
		synctest.Wait() // the first comment is being written
		cancel()
		synctest.Wait()
		if w.over.Load() {
			t.Error("returned in the middle of a write")
		}
		close(writing)
		synctest.Wait()
		if !w.over.Load() {
			t.Error("did not return")
		}
		<-time.After(time.Hour)
		if got := w.String(); got != begun+begun {
			t.Errorf("%q", got)
		}
	})
}

func TestAStreamEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*site, *http.Response){
		"when its client leaves":     func(_ *site, r *http.Response) { _ = r.Body.Close() },
		"when the server drains":     func(s *site, _ *http.Response) { s.drain() },
		"when its connection breaks": func(s *site, _ *http.Response) { s.CloseClientConnections() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, Options{})
			resp := s.subscribe(t, "subscription { forever }") //nolint:bodyclose // by subscribe
			got := lines(resp.Body)
			s.schema.tick <- 1
			for l := range got {
				if strings.HasPrefix(l, "data: ") {
					break
				}
			}
			end(s, resp)
			if err := wait(t, "the operation's end", s.schema.ended); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			wait(t, "the handler", s.left)
			for l := range got { // a stream cut short is not complete
				if strings.Contains(l, "complete") {
					t.Error(l)
				}
			}
		})
	}
}

// A client that is gone without a word is noticed by the next comment.
func TestABrokenStreamEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSchema()
		s.ended, s.tick = make(chan error, 1), make(chan int)
		w := &recorder{header: http.Header{}, most: 1}
		began := time.Now()
		serve(t.Context(), s, Options{}, w)
		if d := time.Since(began); d != 25*time.Second {
			t.Errorf("after %v", d)
		}
		synctest.Wait()
		if len(s.ended) != 1 {
			t.Error("the operation runs on")
		}
	})
}

// Whoever opens a stream may be refused one, and the context it is given ends it.
func TestStreamsAreAdmitted(t *testing.T) {
	t.Parallel()
	var opened, ended atomic.Int64
	expired := make(chan context.CancelFunc, 1)
	s := newSite(t, Options{Stream: func(ctx context.Context) (context.Context, func(), error) {
		if opened.Add(1) > 1 {
			return nil, nil, fault.Later(fault.RateLimited, time.Second, "too many streams")
		}
		ctx, cancel := context.WithCancel(ctx)
		expired <- cancel
		return ctx, func() { ended.Add(1); cancel() }, nil
	}})
	first := s.subscribe(t, "subscription { forever }") //nolint:bodyclose // by subscribe
	end := wait(t, "the stream", expired)
	if got := all(t, s.subscribe(t, "{ hello }")); !strings.Contains(got, "hello") || opened.Load() != 1 { //nolint:bodyclose // by subscribe
		t.Errorf("a query counts as a stream: %q", got)
	}
	refused := all(t, s.subscribe(t, "subscription { forever }")) //nolint:bodyclose // by subscribe
	if want := begun + next(`{"errors":[{"message":"too many streams","extensions":{"code":"rate-limited","retryAfterMs":1000,"retryable":true}}]}`) + completed; refused != want {
		t.Errorf("%q", refused)
	}
	end()
	if got := all(t, first); got != begun {
		t.Errorf("%q", got)
	}
	if opened.Load() != 2 || ended.Load() != 1 {
		t.Errorf("%d opened, %d ended", opened.Load(), ended.Load())
	}
}
