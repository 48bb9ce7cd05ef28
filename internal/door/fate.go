package door

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// fate is what becomes of a request: what its caller may think of it when no answer
// comes.
type fate struct {
	back func()      // undoes that it was counted
	body []byte      // all of it, if it was looked at
	sent atomic.Bool // Hasura may have it

	arriving *arriving // nil: nothing was to come
}

type fateKey struct{}

// follow is a context of a request that is passed on, in which failed finds f.
func (f *fate) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(context.WithValue(ctx, fateKey{}, f), &httptrace.ClientTrace{WroteHeaders: func() { f.sent.Store(true) }})
}

// failed answers what Hasura did not. Whatever it may have got and was not meant to
// read only, it may have done.
func (d *Door) failed(w http.ResponseWriter, r *http.Request, err error) {
	f, ok := r.Context().Value(fateKey{}).(*fate)
	if !ok {
		f = &fate{}
	}
	_, large := errors.AsType[*http.MaxBytesError](err)
	_, slow := errors.AsType[*lateError](err)
	if r.Context().Err() != nil && f.arriving != nil { // net/http ends it first, when the connection's time is over
		slow = slow || f.arriving.late()
	}
	many, tooMany := errors.AsType[*manyError](err)
	switch {
	case tooMany: // and Hasura has no whole request
		d.answered("refused")
		status := http.StatusBadRequest
		if fault.From(many).Code == fault.RateLimited {
			status = http.StatusTooManyRequests
		}
		fail(w, status, many)
		return
	case large:
		d.answered("refused")
		fail(w, http.StatusRequestEntityTooLarge, fault.New(fault.Invalid, "the body has more than %d bytes", d.o.BodyBytes))
		return
	case slow: // and Hasura has no whole request
		d.answered("refused")
		fail(w, http.StatusRequestTimeout, fault.New(fault.Invalid, "the body did not arrive in time"))
		return
	case r.Context().Err() != nil: // nobody is left to answer
		return
	}
	d.answered("unavailable")
	status := http.StatusBadGateway
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		status = http.StatusGatewayTimeout
	}
	d.o.Log.WarnContext(r.Context(), "Hasura did not answer", "error", err)
	if f.sent.Load() && r.Method != http.MethodGet && r.Method != http.MethodHead && !f.reads(d, r) {
		fail(w, status, fault.New(fault.Unknown, "Hasura did not answer: what it was sent may have been done, look before it is sent again"))
		return
	}
	fail(w, status, fault.Later(fault.Upstream, time.Second, "Hasura cannot be reached"))
}

// reads says whether a request is known to be a query and nothing else.
func (f *fate) reads(d *Door, r *http.Request) bool {
	var params graphql.RawParams
	return graphs(r.URL.Path) && len(f.body) > 0 && json.Unmarshal(f.body, &params) == nil && params.Query != "" &&
		d.planner.plan(params.Query, params.OperationName).kind == query
}

// lateError is a body's that did not arrive in time.
type lateError struct{ error }

func (e *lateError) Unwrap() error { return e.error }
