package gqlhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Options of the transport.
type Options struct {
	Present      graphql.ErrorPresenterFunc
	Recover      graphql.RecoverFunc
	BodyLimit    func(*http.Request) int64
	AlwaysOK     func(*http.Request) bool // status 200 whatever happened, as Hasura expects of a remote schema
	KeepAlive    time.Duration            // between comments on a silent event stream
	WriteTimeout time.Duration            // for each write to an event stream
}

// Transport is gqlgen's, for every request that is no WebSocket.
type Transport struct{ o Options }

var _ graphql.Transport = Transport{}

// New is the transport.
func New(o Options) Transport { return Transport{o} }

// Supports is gqlgen's.
func (Transport) Supports(r *http.Request) bool {
	return !strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// answer is one response on its way, in the type agreed on.
type answer struct {
	t     Transport
	w     http.ResponseWriter
	r     *http.Request
	media string
}

// Fail answers a request with an error, from outside the transport: status is
// what application/graphql-response+json shows.
func (t Transport) Fail(w http.ResponseWriter, r *http.Request, status int, err error) {
	a := t.begin(w, r)
	if a.media == "" || a.media == mediaSSE {
		a.media = mediaJSON
	}
	a.errors(status, gqlerror.List{t.o.Present(r.Context(), err)})
}

func (t Transport) begin(w http.ResponseWriter, r *http.Request) answer {
	h := w.Header()
	h.Set("Cache-Control", "private, no-store")
	h.Add("Vary", "Authorization, Cookie, Origin, Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	return answer{t, w, r, negotiate(r.Header)}
}

// Do is gqlgen's.
func (t Transport) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	a := t.begin(w, r)
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET, POST")
		a.refuse(http.StatusMethodNotAllowed, "only GET and POST are served here")
		return
	}
	if a.media == "" {
		a.refuse(http.StatusNotAcceptable, "answers are "+mediaGraphQL+", "+mediaJSON+" or "+mediaSSE)
		return
	}
	params, ok := a.params()
	if !ok {
		return
	}
	params.Headers = r.Header
	a.execute(params, exec)
}

func (a answer) execute(params *graphql.RawParams, exec graphql.GraphExecutor) {
	ctx := graphql.StartOperationTrace(a.r.Context())
	defer func() {
		if p := recover(); p != nil { // a marshaller's; gqlgen has no recovery around it
			a.errors(http.StatusInternalServerError, gqlerror.List{a.t.o.Present(ctx, a.t.o.Recover(ctx, p))})
		}
	}()
	oc, errs := exec.CreateOperationContext(ctx, params)
	if len(errs) > 0 {
		list := exec.DispatchError(graphql.WithOperationContext(ctx, oc), errs).Errors
		if a.media == mediaSSE {
			a.stream(ctx, graphql.OneShot(&graphql.Response{Errors: list}))
			return
		}
		a.errors(http.StatusBadRequest, list)
		return
	}
	switch {
	case oc.Operation.Operation == ast.Mutation && a.r.Method == http.MethodGet:
		a.w.Header().Set("Allow", "POST")
		a.refuse(http.StatusMethodNotAllowed, "mutations are sent by POST")
		return
	case oc.Operation.Operation == ast.Subscription && a.media != mediaSSE:
		a.errors(http.StatusBadRequest, gqlerror.List{a.t.o.Present(ctx, fault.New(fault.Unsupported,
			"subscriptions are served over WebSocket (graphql-transport-ws), or with Accept: text/event-stream"))})
		return
	}
	if a.media == mediaSSE {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		responses, ctx := exec.DispatchOperation(ctx, oc)
		a.stream(ctx, responses)
		return
	}
	responses, ctx := exec.DispatchOperation(ctx, oc)
	resp := responses(ctx)
	if resp == nil {
		return // the client has gone
	}
	if len(resp.Data) == 0 {
		a.errors(http.StatusBadRequest, resp.Errors)
		return
	}
	a.write(http.StatusOK, encode(resp))
}

func (a answer) refuse(status int, message string) {
	a.errors(status, gqlerror.List{a.t.o.Present(a.r.Context(), fault.New(fault.Invalid, "%s", message))})
}

// errors answers a request nothing was executed of. application/json keeps
// status 200 for what is wrong with the GraphQL alone.
func (a answer) errors(status int, list gqlerror.List) {
	if a.media == "" || a.media == mediaSSE {
		a.media = mediaJSON
	}
	if a.media == mediaJSON && status == http.StatusBadRequest || a.t.o.AlwaysOK != nil && a.t.o.AlwaysOK(a.r) {
		status = http.StatusOK
	}
	for _, e := range list {
		if ms, ok := e.Extensions["retryAfterMs"].(int64); ok {
			a.w.Header().Set("Retry-After", strconv.FormatInt((ms+999)/1000, 10))
		}
	}
	a.write(status, encode(&graphql.Response{Errors: list}))
}

func (a answer) write(status int, body []byte) {
	a.w.Header().Set("Content-Type", a.media+"; charset=utf-8")
	a.w.WriteHeader(status)
	_, _ = a.w.Write(body)
}

// encode writes a response without the keys it has nothing for: a request that
// was not executed has no data, not even null.
func encode(r *graphql.Response) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	key := func(name string, raw []byte) {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + name + `":`)
		b.Write(raw)
	}
	if len(r.Errors) > 0 {
		key("errors", marshal(r.Errors))
	}
	if len(r.Data) > 0 {
		key("data", r.Data)
	}
	if len(r.Extensions) > 0 {
		key("extensions", marshal(r.Extensions))
	}
	b.WriteByte('}')
	return b.Bytes()
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(`[{"message":"internal error","extensions":{"code":"unexpected"}}]`)
	}
	return b
}

// params reads the request; false: it was refused.
func (a answer) params() (*graphql.RawParams, bool) {
	if a.r.Method == http.MethodGet {
		return a.query()
	}
	media, _, err := mime.ParseMediaType(a.r.Header.Get("Content-Type"))
	if err != nil || media != mediaJSON {
		a.w.Header().Set("Accept-Post", mediaJSON)
		a.refuse(http.StatusUnsupportedMediaType, "send "+mediaJSON)
		return nil, false
	}
	if a.r.Header.Get("Content-Encoding") != "" {
		a.refuse(http.StatusUnsupportedMediaType, "send the body without a content encoding")
		return nil, false
	}
	limit := a.t.o.BodyLimit(a.r)
	body, err := io.ReadAll(http.MaxBytesReader(a.w, a.r.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		a.errors(http.StatusRequestEntityTooLarge, gqlerror.List{a.t.o.Present(a.r.Context(),
			fault.New(fault.Invalid, "the body has more than %d bytes", limit))})
		return nil, false
	}
	if err != nil {
		a.refuse(http.StatusBadRequest, "the body could not be read")
		return nil, false
	}
	return a.body(body)
}

func (a answer) body(body []byte) (*graphql.RawParams, bool) {
	var raw struct {
		Query         *string         `json:"query"`
		OperationName *string         `json:"operationName"`
		Variables     json.RawMessage `json:"variables"`
		Extensions    json.RawMessage `json:"extensions"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		if len(bytes.TrimSpace(body)) > 0 && bytes.TrimSpace(body)[0] == '[' {
			a.refuse(http.StatusBadRequest, "batches of operations are not served")
		} else {
			a.refuse(http.StatusBadRequest, "the body is no JSON object of a GraphQL request")
		}
		return nil, false
	}
	return a.assemble(raw.Query, raw.OperationName, raw.Variables, raw.Extensions)
}

func (a answer) query() (*graphql.RawParams, bool) {
	q := a.r.URL.Query()
	one := func(name string) *string {
		if !q.Has(name) {
			return nil
		}
		v := q.Get(name)
		return &v
	}
	raw := func(name string) json.RawMessage { return json.RawMessage(q.Get(name)) }
	return a.assemble(one("query"), one("operationName"), raw("variables"), raw("extensions"))
}

func (a answer) assemble(query, name *string, variables, extensions json.RawMessage) (*graphql.RawParams, bool) {
	now := graphql.Now()
	p := &graphql.RawParams{ReadTime: graphql.TraceTiming{Start: now, End: now}}
	if query != nil {
		p.Query = *query
	}
	if name != nil {
		p.OperationName = *name
	}
	if !object(variables, &p.Variables) {
		a.refuse(http.StatusBadRequest, "variables must be an object")
		return nil, false
	}
	if !object(extensions, &p.Extensions) {
		a.refuse(http.StatusBadRequest, "extensions must be an object")
		return nil, false
	}
	if p.Query == "" && p.Extensions["persistedQuery"] == nil {
		a.refuse(http.StatusBadRequest, "query is missing")
		return nil, false
	}
	return p, true
}

// object reads a JSON object that may be absent or null, its numbers as written.
func object(raw json.RawMessage, into *map[string]any) bool {
	if len(raw) == 0 {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(into) == nil && !d.More()
}
