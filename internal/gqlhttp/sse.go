package gqlhttp

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// events is an event stream in graphql-sse's distinct connections mode: each
// request is one operation, its responses next events, its end complete.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration

	mu   sync.Mutex // one write at a time
	dead bool       // guarded by mu
}

func (a answer) stream(ctx context.Context, responses graphql.ResponseHandler) {
	h := a.w.Header()
	h.Set("Content-Type", mediaSSE+"; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	a.w.WriteHeader(http.StatusOK)
	s := &events{w: a.w, control: http.NewResponseController(a.w), timeout: a.t.o.WriteTimeout}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	wg.Go(func() { s.keepAlive(stop, a.t.o.KeepAlive, cancel) })
	if !s.write(":\n\n") { // the headers go out now
		return
	}
	for ctx.Err() == nil {
		r := a.response(ctx, responses)
		if r == nil {
			break
		}
		if !s.write("event: next\ndata: " + string(encode(r)) + "\n\n") {
			return
		}
		if len(r.Data) == 0 {
			break
		}
	}
	if ctx.Err() == nil {
		s.write("event: complete\ndata:\n\n")
	}
}

// response is the next one; a panic in making it is the stream's last.
func (a answer) response(ctx context.Context, responses graphql.ResponseHandler) (r *graphql.Response) {
	defer func() {
		if p := recover(); p != nil {
			r = &graphql.Response{Errors: gqlerror.List{a.t.o.Present(ctx, a.t.o.Recover(ctx, p))}}
		}
	}()
	return responses(ctx)
}

func (s *events) write(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return false
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(s.timeout))
	_, err := s.w.Write([]byte(text))
	if err == nil {
		err = s.control.Flush()
	}
	s.dead = err != nil
	return err == nil
}

// keepAlive says something on a silent stream, so that no proxy gives it up;
// a stream that takes nothing any more ends.
func (s *events) keepAlive(stop <-chan struct{}, every time.Duration, dead func()) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			if !s.write(":\n\n") {
				dead()
				return
			}
		}
	}
}
