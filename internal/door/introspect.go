package door

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

//go:embed introspection.graphql
var introspection string

const (
	schemaBytes = 64 << 20         // of an introspection
	schemaRoles = 16               // whose schemas are kept
	schemaFresh = 30 * time.Second // for which a schema is not asked for again
	schemaTime  = time.Minute
)

// schemas are what each role sees of both servers, as one schema.
type schemas struct {
	d      *Door
	kept   *lru.Cache[string, role]
	asking singleflight.Group

	mu   sync.Mutex
	said map[string]bool // guarded by mu: conflicts that were logged
}

// role is what one sees, as it was then.
type role struct {
	exec graphql.GraphExecutor
	at   time.Time
}

func newSchemas(d *Door) *schemas {
	s := &schemas{d: d, said: map[string]bool{}}
	s.kept, _ = lru.New[string, role](schemaRoles) //nolint:errcheck // its size is positive
	return s
}

// refusal is what Hasura says where it shows no schema.
type refusal struct {
	status int
	body   []byte
}

func (*refusal) Error() string { return ErrHidden.Error() }

func (*refusal) Is(target error) bool { return target == ErrHidden }

// ErrHidden says that Hasura answers introspection with an error.
var ErrHidden = errors.New("Hasura shows no schema")

// of is the schema of a role, asked for with a caller's headers. Errors:
// *refusal where Hasura refuses, and so do we.
func (s *schemas) of(ctx context.Context, name string, h http.Header) (graphql.GraphExecutor, error) {
	if asAdmin(h) { // may be shown more than others of the role
		return s.load(ctx, h)
	}
	if is, ok := s.kept.Get(name); ok && time.Since(is.at) < schemaFresh {
		return is.exec, nil
	}
	mine := false
	made, err, _ := s.asking.Do(name, func() (any, error) {
		mine = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), schemaTime) // others may wait for it
		defer cancel()
		exec, err := s.load(ctx, h)
		if err == nil {
			s.kept.Add(name, role{exec, time.Now()})
		}
		return exec, err
	})
	if errors.Is(err, ErrHidden) && !mine { // it was somebody else who was refused
		return s.load(ctx, h)
	}
	if err != nil {
		return nil, err
	}
	exec, _ := made.(graphql.GraphExecutor)
	return exec, nil
}

func (s *schemas) load(ctx context.Context, h http.Header) (graphql.GraphExecutor, error) {
	merged, conflicts, err := s.d.merged(ctx, h)
	if err != nil {
		return nil, err
	}
	for _, c := range conflicts {
		s.mu.Lock()
		known := s.said[c]
		s.said[c] = true
		s.mu.Unlock()
		if !known {
			s.d.o.Log.WarnContext(ctx, "the two schemas are at odds", "conflict", c)
		}
	}
	return s.d.o.Executor(merged), nil
}

// run answers an introspection from the schema of both.
func run(ctx context.Context, exec graphql.GraphExecutor, params *graphql.RawParams) ([]byte, error) {
	ctx = graphql.StartOperationTrace(ctx)
	oc, errs := exec.CreateOperationContext(ctx, params)
	if len(errs) > 0 {
		return json.Marshal(graphql.Response{Errors: errs})
	}
	responses, ctx := exec.DispatchOperation(graphql.WithOperationContext(ctx, oc), oc)
	r := responses(ctx)
	if r == nil {
		return nil, errors.New("an introspection without a response")
	}
	var b bytes.Buffer
	b.WriteString(`{"data":`)
	if len(r.Data) == 0 {
		b.WriteString("null")
	}
	b.Write(r.Data)
	if len(r.Errors) > 0 {
		list, err := json.Marshal(r.Errors)
		if err != nil {
			return nil, err
		}
		b.WriteString(`,"errors":`)
		b.Write(list)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// introspected answers an introspection over HTTP; false: Hasura is to answer it,
// for we do not know who asks.
func (d *Door) introspected(w http.ResponseWriter, r *http.Request, params *graphql.RawParams) bool {
	h := request(r, d.o.Header)
	role, err := d.o.Role(r.Context(), h)
	if err != nil {
		return false
	}
	d.tell(h, r)
	exec, err := d.schemas.of(r.Context(), role, h)
	var body []byte
	if err == nil {
		body, err = run(r.Context(), exec, params)
	}
	if err != nil {
		return d.noSchema(w, r, err)
	}
	d.answered("schema")
	answer(w, http.StatusOK, body)
	return true
}

func (d *Door) noSchema(w http.ResponseWriter, r *http.Request, err error) bool {
	if refused, ok := errors.AsType[*refusal](err); ok {
		d.answered("refused")
		answer(w, refused.status, refused.body)
		return true
	}
	d.o.Log.WarnContext(r.Context(), "no schema of both: what Hasura shows is shown alone", "error", err)
	return false
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "private, no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// introspect answers an introspection over a socket.
func (l *Link) introspect(ctx context.Context, f wsock.Foreign) (wsock.End, bool) {
	params, err := f.Whole()
	if err != nil {
		return wsock.End{Err: err}, true
	}
	role, err := l.d.o.Role(ctx, nil)
	if err != nil {
		return wsock.End{Err: err}, true
	}
	l.mu.Lock()
	h := l.upgrade.Clone()
	for name, value := range l.init {
		h.Set(name, value)
	}
	l.mu.Unlock()
	exec, err := l.d.schemas.of(ctx, role, h)
	var body []byte
	if err == nil {
		body, err = run(ctx, exec, params)
	}
	if refused, ok := errors.AsType[*refusal](err); ok && json.Valid(refused.body) {
		body, err = refused.body, nil
	}
	if err != nil {
		l.d.o.Log.WarnContext(ctx, "no schema of both", "error", err)
		return wsock.End{Err: fault.Later(fault.Upstream, time.Second, "Hasura's schema cannot be had")}, true
	}
	f.Next(body)
	return wsock.End{}, true
}
