package gqlhttp

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// stream executes an operation as an event stream, in graphql-sse's distinct
// connections mode: its responses are next events, its end a complete event.
// Errors before execution are a next event as well, with status 200. A stream
// cut short, because its context has ended, has no complete: the client is to
// come back. What is no subscription has the time of any operation, and is then
// answered as any other.
func (a answer) stream(ctx context.Context, oc *graphql.OperationContext, errs gqlerror.List, exec graphql.GraphExecutor) {
	if errs == nil && oc.Operation.Operation == ast.Subscription {
		inner, ended, err := a.t.o.Stream(ctx)
		if err != nil {
			errs = gqlerror.List{a.t.o.Present(ctx, err)}
		} else {
			defer ended()
			ctx = inner
		}
	}
	a.t.linger(a.r, errs)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := a.open(cancel)
	defer s.close()
	responses, running := graphql.OneShot(&graphql.Response{Errors: errs}), ctx
	lasts := errs == nil && oc.Operation.Operation == ast.Subscription
	switch {
	case lasts:
		responses, ctx = a.dispatch(ctx, oc, exec)
		running = ctx
	case errs == nil:
		timed, late := context.WithTimeout(ctx, a.t.o.OperationTimeout)
		defer late()
		responses, running = a.dispatch(timed, oc, exec)
	}
	for first := true; ctx.Err() == nil; first = false {
		r := a.next(running, responses)
		if r == nil && first && !lasts && running.Err() != nil && ctx.Err() == nil {
			r = &graphql.Response{Errors: gqlerror.List{a.t.o.Present(ctx, errors.New("an operation without a response"))}}
		}
		if r == nil {
			break
		}
		r = a.room.fit(0, oc, r)
		if !s.write("event: next\ndata: ", oneLine(encode(r)), "\n\n") {
			return
		}
		if len(r.Data) == 0 { // nothing was executed, or it ended for a reason
			break
		}
	}
	if ctx.Err() == nil {
		// EventSource tells of no event without data.
		s.write("event: complete\ndata:\n\n", nil, "")
	}
}

// oneLine is JSON without line breaks, which may stand between its tokens only:
// an event's data ends with its line.
func oneLine(b []byte) []byte {
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
	return b
}

// events is an open event stream. Whoever opens it closes it, and nothing is
// written afterwards.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	over    chan struct{}
	wg      sync.WaitGroup

	mu   sync.Mutex // one write at a time
	dead bool       // guarded by mu
}

// open sends the headers; broken is called when the client takes nothing more.
func (a answer) open(broken func()) *events {
	h := a.w.Header()
	h.Set("Content-Type", mediaSSE+"; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	s := &events{w: a.w, control: http.NewResponseController(a.w), timeout: a.t.o.WriteTimeout, over: make(chan struct{})}
	a.w.WriteHeader(http.StatusOK)
	if !s.write(":\n\n", nil, "") {
		broken()
	}
	s.wg.Go(func() { s.keepAlive(a.t.o.KeepAlive, broken) })
	return s
}

func (s *events) close() {
	close(s.over)
	s.wg.Wait()
	s.deadline() // of the last bytes, which net/http writes
}

func (s *events) write(before string, data []byte, after string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return false
	}
	var b bytes.Buffer
	b.Grow(len(before) + len(data) + len(after))
	b.WriteString(before)
	b.Write(data)
	b.WriteString(after)
	s.deadline()
	_, err := s.w.Write(b.Bytes())
	if err == nil {
		err = s.control.Flush()
	}
	if s.dead = err != nil; !s.dead {
		_ = s.control.SetWriteDeadline(time.Time{}) // HTTP/2 resets a stream at its deadline, written to or not
	}
	return !s.dead
}

func (s *events) deadline() {
	_ = s.control.SetWriteDeadline(time.Now().Add(s.timeout)) // what cannot, has no connection behind it
}

// keepAlive says something now and then, so that no proxy gives a silent stream
// up, and a client that is gone is noticed.
func (s *events) keepAlive(every time.Duration, broken func()) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-s.over:
			return
		case <-t.C:
			if !s.write(":\n\n", nil, "") {
				broken()
				return
			}
		}
	}
}
