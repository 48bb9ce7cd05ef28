package door

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
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
	keptAnswer  = 4 << 20 // bytes of a role's last answer that are kept; what tools ask for has some 1 MiB
)

// schemas are what each role sees of both servers, as one schema.
type schemas struct {
	d      *Door
	kept   *lru.Cache[string, *role]
	asking singleflight.Group

	mu   sync.Mutex
	said map[string]bool // guarded by mu: conflicts that were logged
}

// role is what one sees, as it was then.
type role struct {
	exec graphql.GraphExecutor
	at   time.Time
	last atomic.Pointer[told] // tools ask the same of it, and it is large
}

// told is an introspection and its answer.
type told struct {
	asked  [sha256.Size]byte
	answer []byte
}

func newSchemas(d *Door) *schemas {
	s := &schemas{d: d, said: map[string]bool{}}
	s.kept, _ = lru.New[string, *role](schemaRoles) //nolint:errcheck // its size is positive
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
func (s *schemas) of(ctx context.Context, name string, h http.Header) (*role, error) {
	if asAdmin(h) { // may be shown more than others of the role
		return s.load(ctx, h)
	}
	if is, ok := s.kept.Get(name); ok && time.Since(is.at) < schemaFresh {
		return is, nil
	}
	mine := false
	made, err, _ := s.asking.Do(name, func() (any, error) {
		mine = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), schemaTime) // others may wait for it
		defer cancel()
		is, err := s.load(ctx, h)
		if err == nil {
			s.kept.Add(name, is)
		}
		return is, err
	})
	if errors.Is(err, ErrHidden) && !mine { // it was somebody else who was refused
		return s.load(ctx, h)
	}
	if err != nil {
		return nil, err
	}
	is, _ := made.(*role)
	return is, nil
}

func (s *schemas) load(ctx context.Context, h http.Header) (*role, error) {
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
	return &role{exec: s.d.o.Executor(merged), at: time.Now()}, nil
}

// run answers an introspection from the schema of both: what was asked last, without
// executing it again. ran false: it was refused.
func (s *role) run(ctx context.Context, params *graphql.RawParams) (answer []byte, ran bool, err error) {
	ctx = graphql.StartOperationTrace(ctx)
	oc, errs := s.exec.CreateOperationContext(ctx, params) // it is paid for by now, also where it was said before
	if len(errs) > 0 {
		answer, err = json.Marshal(graphql.Response{Errors: errs})
		return answer, false, err
	}
	asked, err := askedFor(params)
	if err != nil {
		return nil, false, err
	}
	if last := s.last.Load(); last != nil && last.asked == asked {
		return last.answer, true, nil
	}
	responses, ctx := s.exec.DispatchOperation(graphql.WithOperationContext(ctx, oc), oc)
	r := responses(ctx)
	if r == nil {
		return nil, true, errors.New("an introspection without a response")
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
			return nil, true, err
		}
		b.WriteString(`,"errors":`)
		b.Write(list)
	}
	b.WriteByte('}')
	if len(r.Errors) == 0 && b.Len() <= keptAnswer {
		s.last.Store(&told{asked, b.Bytes()})
	}
	return b.Bytes(), true, nil
}

// askedFor tells introspections apart.
func askedFor(params *graphql.RawParams) ([sha256.Size]byte, error) {
	b, err := json.Marshal([]any{params.Query, params.OperationName, params.Variables})
	return sha256.Sum256(b), err
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
	is, err := d.schemas.of(r.Context(), role, h)
	var body []byte
	if err == nil {
		body, _, err = is.run(r.Context(), params)
	}
	if err != nil {
		return d.noSchema(w, r, err)
	}
	d.schemas.send(w, r, "schema", http.StatusOK, body)
	return true
}

func (d *Door) noSchema(w http.ResponseWriter, r *http.Request, err error) bool {
	if refused, ok := errors.AsType[*refusal](err); ok {
		d.schemas.send(w, r, "refused", refused.status, refused.body)
		return true
	}
	d.o.Log.WarnContext(r.Context(), "no schema of both: what Hasura shows is shown alone", "error", err)
	return false
}

// send answers, where there is room for it, piece by piece, each in its time.
func (s *schemas) send(w http.ResponseWriter, r *http.Request, how string, status int, body []byte) {
	const piece = 64 << 10
	out := newLeaving(w, s.d.o.WriteTimeout)
	done, err := s.d.o.Room(r.Context(), len(body))
	if err != nil {
		s.d.answered("refused")
		fail(out, http.StatusTooManyRequests, err)
		return
	}
	defer done()
	s.d.answered(how)
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "private, no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	for part := range slices.Chunk(body, piece) {
		if _, err := out.Write(part); err != nil {
			return
		}
	}
}

// introspect answers an introspection over a socket.
func (l *Link) introspect(ctx context.Context, f wsock.Foreign) (wsock.End, bool) {
	params, err := f.Whole()
	if err != nil {
		return wsock.End{Err: err, Refused: true}, true
	}
	role, err := l.d.o.Role(ctx, nil)
	if err != nil {
		return wsock.End{Err: err, Refused: true}, true
	}
	l.mu.Lock()
	h := l.upgrade.Clone()
	for name, value := range l.init {
		h.Set(name, value)
	}
	l.mu.Unlock()
	is, err := l.d.schemas.of(ctx, role, h)
	var body []byte
	ran := true
	if err == nil {
		body, ran, err = is.run(ctx, params)
	}
	if refused, ok := errors.AsType[*refusal](err); ok && json.Valid(refused.body) {
		body, err = refused.body, nil
	}
	if err != nil {
		l.d.o.Log.WarnContext(ctx, "no schema of both", "error", err)
		return wsock.End{Err: fault.Later(fault.Upstream, time.Second, "Hasura's schema cannot be had")}, true
	}
	if err := f.Next(body); err != nil {
		return wsock.End{Err: err}, true
	}
	return wsock.End{Refused: !ran}, true
}
