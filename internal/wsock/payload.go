package wsock

import (
	"bytes"
	"encoding/json"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/limit"
)

// asked is a subscribe's payload as it came. It is decoded when the operation runs, and
// its variables when it is known that it runs here: decoded they may take several times
// as much.
type asked struct {
	payload                json.RawMessage
	query, name, variables json.RawMessage // members of it; nil: absent or null
	extensions             map[string]any
}

// askedIn is what a message asks for; false: it is no subscribe.
func askedIn(m message) (*asked, bool) {
	if !m.hasID || m.id == "" || m.payload == nil {
		return nil, false
	}
	a := &asked{payload: bytes.Clone(m.payload)} // what else the message has is not kept
	of, ok := limit.Members(a.payload, "query", "operationName", "variables", "extensions")
	if !ok {
		return nil, false
	}
	a.query, a.name, a.variables = of[0], of[1], of[2]
	a.extensions, ok = limit.Extensions(of[3])
	persisted := a.extensions["persistedQuery"] != nil // may stand for the query
	return a, ok && (begins(a.query, '"') || a.query == nil && persisted) &&
		(a.name == nil || begins(a.name, '"')) && (a.variables == nil || begins(a.variables, '{'))
}

// begins says which kind of value it is that stands in a valid JSON text.
func begins(raw json.RawMessage, with byte) bool { return len(raw) > 0 && raw[0] == with }

// params are what the executor will be asked, but for the variables.
func (a *asked) params() *graphql.RawParams {
	p := &graphql.RawParams{Extensions: a.extensions, ReadTime: graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}}
	isString(a.query, &p.Query)
	isString(a.name, &p.OperationName)
	return p
}

// decode reads the variables, and says how many bytes they take, about. Errors: there are
// too many.
func (a *asked) decode(l Limits) (variables map[string]any, takes int, err error) {
	if takes, err = limit.Takes(a.variables, limit.MostValues(l.FrameBytes)); err != nil {
		return nil, 0, err //nolint:wrapcheck // it is the caller's
	}
	variables, _ = limit.Variables(a.variables)
	return variables, takes, nil
}
