package gqlhttp

import (
	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	roomy  = 64 << 10 // bytes of an answer that need no room
	echoes = 4        // times what a mutation sends it is answered, as a rule at most

	mostAsked = 16 << 20 // bytes asked for before it runs: no answer has more
)

// room is what a request holds of its caller's, for the bytes of its answer. For one
// goroutine.
type room struct {
	take func(bytes int) (done func(), err error)
	says func(error) gqlerror.List
	held int
	done []func()
	paid bool   // for what it sent
	back func() // what was paid for a large body, if it was a request
}

// upTo holds so many bytes in all; what is small needs none.
func (m *room) upTo(bytes int) error {
	if bytes <= roomy || bytes <= m.held {
		return nil
	}
	done, err := m.take(bytes - m.held)
	if err != nil {
		return err
	}
	m.held, m.done = bytes, append(m.done, done)
	return nil
}

func (m *room) free() {
	for _, done := range m.done {
		done()
	}
	m.held, m.done = 0, nil
}

// toRun takes room for what a mutation will be answered, before it runs: beside
// so many bytes that the answer has already. Where there is none it does not run.
func (m *room) toRun(before int, oc *graphql.OperationContext, sent int) gqlerror.List {
	if oc.Operation.Operation != ast.Mutation {
		return nil
	}
	if err := m.upTo(before + min(max(echoes*(sent+len(oc.RawQuery)), roomy/2), mostAsked)); err != nil {
		return m.says(err)
	}
	return nil
}

// fit is a response for which there is room, beside so many bytes: itself, or that
// there is none. Of a mutation, which was carried out, that is not to be tried again.
func (m *room) fit(before int, oc *graphql.OperationContext, r *graphql.Response) *graphql.Response {
	size := before
	for _, part := range parts(r) {
		size += len(part)
	}
	err := m.upTo(size)
	switch {
	case err == nil:
		return r
	case oc != nil && oc.Operation.Operation == ast.Mutation:
		err = fault.New(fault.Invalid, "it was carried out; its answer is larger than there is room for: ask for less")
		return &graphql.Response{Data: []byte("null"), Errors: m.says(err)}
	}
	return &graphql.Response{Errors: m.says(err)}
}
