package gqlhttp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// answer is one response on its way, in the type agreed on; "": in none.
type answer struct {
	t     Transport
	w     http.ResponseWriter
	r     *http.Request
	media string
	began time.Time
	room  *room
}

// begin sets what every answer has: nobody between us and the client keeps it.
func (t Transport) begin(w http.ResponseWriter, r *http.Request) answer {
	h := w.Header()
	h.Set("Cache-Control", "private, no-store")
	h.Add("Vary", "Authorization, Cookie, Origin, Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	ctx := r.Context()
	return answer{t, w, r, negotiate(r.Header), graphql.Now(), &room{take: func(bytes int) (func(), error) { return t.o.Room(ctx, bytes) },
		says: func(err error) gqlerror.List { return gqlerror.List{t.o.Present(ctx, err)} }}}
}

// malformed answers what is no GraphQL request: with its status, whichever type
// the answer has. Whoever sends too much of the kind is told that instead.
func (a answer) malformed(status int, message string) {
	if !a.room.paid {
		a.room.paid = true
		if _, err := a.t.o.Body(a.r.Context(), 1); err != nil {
			a.fail(http.StatusTooManyRequests, err)
			return
		}
	}
	a.fail(status, fault.New(fault.Invalid, "%s", message))
}

func (a answer) fail(status int, err error) {
	a.errors(status, gqlerror.List{a.t.o.Present(a.r.Context(), err)})
}

// refuse answers a well-formed request of which nothing was executed. In
// application/json that is 200: clients of old read no body beside another.
func (a answer) refuse(list gqlerror.List) {
	status := http.StatusOK
	if a.media == mediaGraphQL {
		status = statusOf(list)
	}
	a.errors(status, list)
}

func statusOf(list gqlerror.List) int {
	code := ""
	if len(list) > 0 {
		code, _ = list[0].Extensions["code"].(string)
	}
	switch fault.Code(code) {
	case fault.RateLimited:
		return http.StatusTooManyRequests
	case fault.Denied:
		return http.StatusForbidden
	case fault.InvalidJWT, fault.InvalidHeaders, fault.MissingRoleClaims, fault.InvalidClaims:
		return http.StatusUnauthorized
	case fault.Unexpected:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

func (a answer) errors(status int, list gqlerror.List) {
	if a.media != mediaGraphQL {
		a.media = mediaJSON
	}
	if a.t.o.AlwaysOK(a.r) {
		status = http.StatusOK
	}
	if len(list) > 0 {
		if ms, ok := list[0].Extensions["retryAfterMs"].(int64); ok {
			a.w.Header().Set("Retry-After", strconv.FormatInt((ms+999)/1000, 10))
		}
	}
	a.t.linger(a.r, list)
	a.write(status, encode(a.room.fit(0, nil, &graphql.Response{Errors: list})))
}

// lingering is how large a request may be that is kept waiting; one that does not
// say its length is not.
const lingering = 64 << 10

// linger waits where errors say that there was too much.
func (t Transport) linger(r *http.Request, list gqlerror.List) {
	if !tooOften(list) || t.o.Refusal == 0 || r.ContentLength < 0 || r.ContentLength > lingering || t.o.AlwaysOK(r) {
		return
	}
	over := time.NewTimer(t.o.Refusal)
	defer over.Stop()
	select {
	case <-over.C:
	case <-r.Context().Done():
	}
}

func tooOften(list gqlerror.List) bool {
	return len(list) > 0 && list[0].Extensions["code"] == string(fault.RateLimited)
}

// write sends a body piece by piece, each with its own deadline: a client that
// takes nothing does not hold the request, and one that is slow gets it all.
// The last deadline is that of what net/http still holds back.
func (a answer) write(status int, body ...[]byte) {
	const piece = 64 << 10
	size := 0
	for _, part := range body {
		size += len(part)
	}
	h := a.w.Header()
	h.Set("Content-Type", a.media+"; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(size))
	a.w.WriteHeader(status)
	control := http.NewResponseController(a.w)
	for _, part := range body {
		for text := range slices.Chunk(part, piece) {
			_ = control.SetWriteDeadline(time.Now().Add(a.t.o.WriteTimeout)) // what cannot, has no connection behind it
			if _, err := a.w.Write(text); err != nil {
				return
			}
		}
	}
}

// encode writes a response without the keys it has nothing for: a request that
// was not executed has no data, not even null.
func encode(r *graphql.Response) []byte { return slices.Concat(parts(r)...) }

// parts is the same in pieces, so that data that may be large are not copied.
func parts(r *graphql.Response) [][]byte {
	var list [][]byte
	before := byte('{')
	key := func(name string, raw []byte) {
		list = append(list, fmt.Appendf(nil, "%c%q:", before, name), raw)
		before = ','
	}
	if len(r.Errors) > 0 {
		key("errors", marshal(r.Errors, `[{"message":"internal error","extensions":{"code":"unexpected","retryable":true}}]`))
	}
	if len(r.Data) > 0 {
		key("data", r.Data)
	}
	if len(r.Extensions) > 0 {
		key("extensions", marshal(r.Extensions, `{}`))
	}
	if len(list) == 0 {
		return [][]byte{[]byte("{}")}
	}
	return append(list, []byte("}"))
}

func marshal(v any, otherwise string) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(otherwise)
	}
	return b
}
