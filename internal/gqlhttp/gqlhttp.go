// Package gqlhttp serves GraphQL over HTTP as the GraphQL-over-HTTP
// specification says: GET, POST, arrays of operations as Hasura takes them, and
// server-sent events in graphql-sse's
// distinct connections mode for clients without WebSocket. It also holds the
// one place where errors are made presentable and logged, for every transport.
//
// It decides what is a request at all, in which type it is answered and with
// which status. It does not know who asks. Of what a client sent, nothing but
// what validation says of its document leaves again; of what went wrong on our
// side, nothing at all.
package gqlhttp

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Options of the transport. Nil and zero take the default.
type Options struct {
	Present      graphql.ErrorPresenterFunc
	Recover      graphql.RecoverFunc
	BodyLimit    func(*http.Request) int64 // bytes; 1 MiB
	AlwaysOK     func(*http.Request) bool  // status 200 whatever happened, as Hasura expects of a remote schema; nobody
	KeepAlive    time.Duration             // between comments on an event stream; 25 s
	ReadTimeout  time.Duration             // for a body to arrive; 30 s
	WriteTimeout time.Duration             // for each write; 10 s

	OperationTimeout time.Duration // for one operation that is no subscription; 60 s

	// Refusal is how long a request that comes too often waits for being told so: who
	// asks over and over without waiting does so no faster, on each connection. Not
	// for AlwaysOK, and not for bodies over 64 KiB, which would be held meanwhile. 0: not at all.
	Refusal time.Duration

	// Room is asked before an answer of more than 64 KiB is written, and before a mutation
	// runs that sends much; done is called when it is written, and the memory free. An error
	// is answered instead, but never of a mutation that ran. nil: there is always.
	Room func(ctx context.Context, bytes int) (done func(), err error)

	// Body is asked before a body of more than 64 KiB is read, with how many such parts it
	// may have, and before anything smaller is told that it is no GraphQL request, with one.
	// back is called when it was a request, whose operations count for themselves. An error
	// is answered instead. nil: nothing is.
	Body func(ctx context.Context, parts int) (back func(), err error)

	// Stream is asked before a subscription begins on an event stream. The
	// context it answers, derived from the one given, ends the stream: when a
	// token expires, say. ended is called when the stream is over; an error is
	// the stream's only event.
	Stream func(ctx context.Context) (stream context.Context, ended func(), err error)
}

func (o Options) withDefaults() Options {
	if o.Present == nil {
		o.Present = Presenter(slog.New(slog.DiscardHandler))
	}
	if o.Recover == nil {
		o.Recover = Recover(slog.New(slog.DiscardHandler))
	}
	if o.BodyLimit == nil {
		o.BodyLimit = func(*http.Request) int64 { return 1 << 20 }
	}
	if o.AlwaysOK == nil {
		o.AlwaysOK = func(*http.Request) bool { return false }
	}
	if o.Stream == nil {
		o.Stream = func(ctx context.Context) (context.Context, func(), error) { return ctx, func() {}, nil }
	}
	if o.Room == nil {
		o.Room = func(context.Context, int) (func(), error) { return func() {}, nil }
	}
	if o.Body == nil {
		o.Body = func(context.Context, int) (func(), error) { return func() {}, nil }
	}
	o.KeepAlive = cmp.Or(o.KeepAlive, 25*time.Second)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 30*time.Second)
	o.OperationTimeout = cmp.Or(o.OperationTimeout, time.Minute)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	return o
}

// Transport is gqlgen's, for every request that is no WebSocket. It ends its
// event streams with the request's context: a server that drains cancels its
// base context.
type Transport struct{ o Options }

var _ graphql.Transport = Transport{}

// New is the transport.
func New(o Options) Transport { return Transport{o.withDefaults()} }

// Supports is gqlgen's.
func (Transport) Supports(r *http.Request) bool {
	return !strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// Fail answers a request with an error, from outside the transport: status is
// what the client sees, unless it is one that always gets 200.
func (t Transport) Fail(w http.ResponseWriter, r *http.Request, status int, err error) {
	a := t.begin(w, r)
	defer a.room.Free()
	a.fail(status, err)
}

// Do is gqlgen's.
func (t Transport) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	a := t.begin(w, r)
	defer a.room.Free()
	if r.ContentLength != 0 { // net/http waits for the rest even of a body that is refused, and has no deadline once all is read
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(t.o.ReadTimeout)) // what cannot, has no connection behind it
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost:
	case http.MethodOptions: // no preflight: CORS has answered those
		w.Header().Set("Allow", allowed)
		w.Header().Set("Accept-Post", mediaJSON)
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", allowed)
		a.malformed(http.StatusMethodNotAllowed, "only GET and POST are served here")
		return
	}
	if a.media == "" {
		a.malformed(http.StatusNotAcceptable, "answers are "+mediaGraphQL+" or "+mediaJSON+
			"; subscriptions are served over WebSocket (graphql-transport-ws), or as "+mediaSSE)
		return
	}
	list, batch, ok := a.operations()
	switch {
	case !ok: // and answered
	case batch:
		a.executeAll(list, exec)
	default:
		a.execute(&list[0], exec)
	}
}

const allowed = "GET, POST, OPTIONS"

// execute carries out an operation, of which nothing is left as it was sent.
func (a answer) execute(op *operation, exec graphql.GraphExecutor) {
	ctx := graphql.StartOperationTrace(a.r.Context())
	oc, errs := a.prepare(ctx, op.params(a), exec)
	if errs == nil {
		if a.misplaced(oc) { // and answered
			return
		}
		errs = a.room.toRun(0, oc, op)
	}
	*op = operation{}
	switch {
	case a.media == mediaSSE:
		a.stream(ctx, oc, errs, exec)
	case errs != nil:
		a.refuse(errs)
	default:
		ctx, cancel := context.WithTimeout(ctx, a.t.o.OperationTimeout)
		defer cancel()
		responses, ctx := a.dispatch(ctx, oc, exec)
		a.respond(oc, a.next(ctx, responses))
	}
}

// misplaced refuses an operation the request's method and type are not for.
func (a answer) misplaced(oc *graphql.OperationContext) bool {
	switch {
	case oc.Operation.Operation == ast.Mutation && a.r.Method == http.MethodGet:
		a.w.Header().Set("Allow", http.MethodPost)
		a.malformed(http.StatusMethodNotAllowed, "mutations are sent by POST")
		return true
	case oc.Operation.Operation == ast.Subscription && a.media != mediaSSE:
		a.refuse(gqlerror.List{a.t.o.Present(a.r.Context(), fault.New(fault.Unsupported,
			"subscriptions are served over WebSocket (graphql-transport-ws), or with Accept: "+mediaSSE))})
		return true
	}
	return false
}

// prepare reads and checks the operation; errors are presented.
func (a answer) prepare(ctx context.Context, params *graphql.RawParams, exec graphql.GraphExecutor) (oc *graphql.OperationContext, errs gqlerror.List) {
	defer a.rescue(ctx, &errs)
	oc, errs = exec.CreateOperationContext(ctx, params)
	if len(errs) > 0 {
		errs = exec.DispatchError(graphql.WithOperationContext(ctx, oc), errs).Errors
	}
	return oc, errs
}

// dispatch begins the operation.
func (a answer) dispatch(ctx context.Context, oc *graphql.OperationContext, exec graphql.GraphExecutor) (responses graphql.ResponseHandler, inner context.Context) {
	var errs gqlerror.List
	defer func() {
		if errs != nil {
			responses, inner = graphql.OneShot(&graphql.Response{Errors: errs}), ctx
		}
	}()
	defer a.rescue(ctx, &errs)
	return exec.DispatchOperation(ctx, oc)
}

// next is the operation's next response, nil at its end. A panic in making it,
// such as a marshaller's, is an error and the end: gqlgen has no recovery there.
func (a answer) next(ctx context.Context, responses graphql.ResponseHandler) (r *graphql.Response) {
	var errs gqlerror.List
	defer func() {
		if errs != nil {
			r = &graphql.Response{Errors: errs}
		}
	}()
	defer a.rescue(ctx, &errs)
	return responses(ctx)
}

// rescue is deferred: it makes of a panic the error a client sees.
func (a answer) rescue(ctx context.Context, errs *gqlerror.List) {
	if p := recover(); p != nil {
		*errs = gqlerror.List{a.t.o.Present(ctx, a.t.o.Recover(ctx, p))}
	}
}

// respond answers with what was executed.
func (a answer) respond(oc *graphql.OperationContext, r *graphql.Response) {
	if r != nil {
		r = a.room.fit(0, oc, r)
	}
	switch {
	case r == nil && a.r.Context().Err() != nil: // nobody is left to answer
	case r != nil && len(r.Data) > 0:
		a.write(http.StatusOK, parts(r)...)
	case r != nil && len(r.Errors) > 0:
		a.refuse(r.Errors)
	default:
		a.refuse(gqlerror.List{a.t.o.Present(a.r.Context(), errors.New("an operation without a response"))})
	}
}
