package gqlhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/limit"
)

// operation is one of a request, as it was sent: it is decoded when its turn comes, for
// decoded it may take several times as much.
type operation struct {
	query, name, variables json.RawMessage // parts of the request; nil: absent or null
	extensions             map[string]any
	takes                  int // bytes of its variables once they are decoded, about
}

// operations reads the request: its operation, or those of a batch; false: it was
// refused. No refusal repeats what was sent.
func (a answer) operations() (list []operation, batch, ok bool) {
	var wrong string
	most := limit.MostValues(a.t.o.BodyLimit(a.r))
	if a.r.Method == http.MethodGet {
		list, wrong = queried(a.r.URL.RawQuery, most)
	} else {
		raw, ok := a.body()
		if !ok {
			return nil, false, false
		}
		list, batch, wrong = posted(raw, a.media, most)
	}
	if wrong != "" {
		a.malformed(http.StatusBadRequest, wrong)
		return nil, false, false
	}
	if a.room.back != nil {
		a.room.back()
	}
	return list, batch, true
}

// posted are the operations of a body, or what is wrong with it.
func posted(raw []byte, media string, most int) (list []operation, batch bool, wrong string) {
	all := []json.RawMessage{raw}
	if batch = bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")); batch {
		if all, wrong = batchOf(raw, media); wrong != "" {
			return nil, true, wrong
		}
	}
	for _, one := range all {
		of, ok := limit.Members(one, "query", "operationName", "variables", "extensions")
		switch {
		case batch && string(one) == "null":
			return nil, true, noQuery
		case !ok:
			return nil, batch, notOne
		}
		op, wrong := operationOf(of, most)
		if wrong != "" {
			return nil, batch, wrong
		}
		list = append(list, op)
	}
	return list, batch, ""
}

const (
	notOne  = "the body must be one JSON object, or an array of them"
	noQuery = "query is missing"
)

// operationOf is one of query, operationName, variables and extensions, each valid JSON or
// nil, or what is wrong with it.
func operationOf(of []json.RawMessage, most int) (op operation, wrong string) {
	query, name, variables := of[0], of[1], of[2]
	op = operation{query: query, name: name, variables: variables}
	var ok bool
	var err error
	switch {
	case query != nil && query[0] != '"':
		return op, "query must be a string"
	case name != nil && name[0] != '"':
		return op, "operationName must be a string or null"
	case variables != nil && variables[0] != '{':
		return op, "variables must be an object or null"
	}
	if op.extensions, ok = limit.Extensions(of[3]); !ok {
		return op, "extensions must be an object or null"
	}
	if (query == nil || string(query) == `""`) && op.extensions["persistedQuery"] == nil {
		return op, noQuery
	}
	if op.takes, err = limit.Takes(variables, most); err != nil {
		return op, fault.From(err).Message
	}
	return op, ""
}

// params decodes the operation.
func (op *operation) params(a answer) *graphql.RawParams {
	p := &graphql.RawParams{Headers: a.r.Header, Extensions: op.extensions, ReadTime: graphql.TraceTiming{Start: a.began, End: graphql.Now()}}
	p.Query, p.OperationName = text(op.query), text(op.name)
	p.Variables, _ = limit.Variables(op.variables) // it is an object
	return p
}

// text is a string of valid JSON, or none.
func text(raw json.RawMessage) (s string) {
	if raw != nil {
		_ = json.Unmarshal(raw, &s)
	}
	return s
}

// queried is the operation of a GET's parameters: query and operationName are text, the
// others JSON.
func queried(query string, most int) (list []operation, wrong string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, "the URL's query could not be read"
	}
	of := make([]json.RawMessage, 4)
	for i, name := range []string{"query", "operationName", "variables", "extensions"} {
		v := values.Get(name)
		switch {
		case v == "":
		case !utf8.ValidString(v):
			return nil, name + " must be UTF-8"
		case i < 2:
			of[i] = marshal(v, "null")
		default:
			raw := json.RawMessage(strings.TrimSpace(v))
			if !json.Valid(raw) {
				return nil, name + " must be an object or null"
			}
			if string(raw) != "null" {
				of[i] = raw
			}
		}
	}
	op, wrong := operationOf(of, most)
	return []operation{op}, wrong
}

// body reads a POST's. Forms and anything else that a browser sends without
// asking for leave are no requests: they are refused before they are read.
func (a answer) body() (raw []byte, ok bool) {
	media, params, err := mime.ParseMediaType(a.r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || media != mediaJSON || charset != "" && !strings.EqualFold(charset, "utf-8") {
		a.w.Header().Set("Accept-Post", mediaJSON)
		a.malformed(http.StatusUnsupportedMediaType, "send "+mediaJSON+" in UTF-8")
		return nil, false
	}
	if c := strings.Join(a.r.Header.Values("Content-Encoding"), ","); c != "" && !strings.EqualFold(c, "identity") {
		a.w.Header().Set("Accept-Encoding", "identity") // RFC 9110 section 12.5.3: what a request may have
		a.malformed(http.StatusUnsupportedMediaType, "send the body without a content encoding")
		return nil, false
	}
	if raw, ok = a.read(); !ok {
		return nil, false
	}
	if !utf8.Valid(raw) {
		a.malformed(http.StatusBadRequest, "the body must be UTF-8")
		return nil, false
	}
	return raw, true
}

func (a answer) read() ([]byte, bool) {
	most := a.t.o.BodyLimit(a.r)
	tooLarge := func() ([]byte, bool) {
		a.malformed(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", most))
		return nil, false
	}
	size := a.r.ContentLength
	if size > most {
		return tooLarge()
	}
	if size < 0 {
		size = most
	}
	if size > limit.Roomy {
		back, err := a.t.o.Body(a.r.Context(), int((size+limit.Roomy-1)/limit.Roomy))
		if err != nil {
			a.fail(http.StatusTooManyRequests, err)
			return nil, false
		}
		a.room.paid, a.room.back = true, back
	}
	raw, err := io.ReadAll(http.MaxBytesReader(a.w, a.r.Body, most))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return tooLarge()
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		a.malformed(http.StatusRequestTimeout, "the body did not arrive in time")
	case err != nil:
		a.malformed(http.StatusBadRequest, "the body could not be read")
	}
	return raw, err == nil
}
