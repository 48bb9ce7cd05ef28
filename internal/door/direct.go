package door

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
)

// Direct are the operations that may be answered here though they could go
// through Hasura: those of which a check found that Hasura would do nothing to
// them but pass them on. Until a check says so, and from the moment one does not,
// there are none.
type Direct struct {
	// Allows says of a role whether it may run a whole operation, by what it is
	// granted in Hasura. It is what the last check found.
	allows atomic.Pointer[func(role, document, operation string) bool]
}

// Set is what a check found; nil: nothing may be answered directly.
func (d *Direct) Set(allows func(role, document, operation string) bool) {
	if allows == nil {
		d.allows.Store(nil)
		return
	}
	d.allows.Store(&allows)
}

func (d *Direct) may(role string, params *graphql.RawParams) bool {
	if d == nil {
		return false
	}
	f := d.allows.Load()
	return f != nil && (*f)(role, params.Query, params.OperationName)
}

// directly says whether an HTTP request may be answered here.
func (d *Door) directly(r *http.Request, p plan, params *graphql.RawParams) bool {
	if d.o.Direct == nil || d.o.Direct.allows.Load() == nil || asAdmin(r.Header) || len(r.Header.Values(headerShared)) > 0 || p.text != "" {
		return false
	}
	role, err := d.o.Role(r.Context(), request(r, d.o.Header))
	return err == nil && d.o.Direct.may(role, params)
}

// direct says whether a socket's operation may be answered here.
func (d *Door) direct(ctx context.Context, p plan, params *graphql.RawParams) bool {
	if d.o.Direct == nil || d.o.Direct.allows.Load() == nil || p.text != "" || params.Extensions["persistedQuery"] != nil {
		return false
	}
	role, err := d.o.Role(ctx, nil)
	return err == nil && d.o.Direct.may(role, params)
}
