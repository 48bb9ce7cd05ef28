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

	"github.com/nself-org/nchat-realtime/internal/limit"
)

// operation is one of a request.
type operation struct {
	params *graphql.RawParams
	sent   int // bytes of its variables
}

// operations reads the request: its operation, or those of a batch; false: it was
// refused. No refusal repeats what was sent.
func (a answer) operations() (list []operation, batch, ok bool) {
	start := graphql.Now()
	var all []map[string]json.RawMessage
	if a.r.Method == http.MethodGet {
		fields, ok := a.query()
		if !ok {
			return nil, false, false
		}
		all = append(all, fields)
	} else if all, batch, ok = a.body(); !ok {
		return nil, false, false
	}
	for _, fields := range all {
		p, wrong := paramsOf(fields)
		if wrong != "" {
			a.malformed(http.StatusBadRequest, wrong)
			return nil, false, false
		}
		p.Headers, p.ReadTime = a.r.Header, graphql.TraceTiming{Start: start, End: graphql.Now()}
		list = append(list, operation{p, len(fields["variables"])})
	}
	if a.room.back != nil {
		a.room.back()
	}
	return list, batch, true
}

// paramsOf reads one operation, or says what is wrong with it.
func paramsOf(fields map[string]json.RawMessage) (p *graphql.RawParams, wrong string) {
	p = &graphql.RawParams{}
	for _, f := range []struct {
		name, want string
		into       any
	}{
		{"query", "a string", &p.Query}, {"operationName", "a string or null", &p.OperationName},
		{"variables", "an object or null", &p.Variables},
	} {
		if !decode(fields[f.name], f.into) {
			return nil, f.name + " must be " + f.want
		}
	}
	extensions := json.RawMessage(bytes.TrimSpace(fields["extensions"])) // a GET's are not JSON yet
	if string(extensions) == "null" || fields["extensions"] == nil {
		extensions = nil
	}
	var ok bool
	if p.Extensions, ok = limit.Extensions(extensions); !ok {
		return nil, "extensions must be an object or null"
	}
	if p.Query == "" && p.Extensions["persistedQuery"] == nil {
		return nil, "query is missing"
	}
	return p, ""
}

// query reads a GET's parameters: query and operationName are text, the others JSON.
func (a answer) query() (map[string]json.RawMessage, bool) {
	values, err := url.ParseQuery(a.r.URL.RawQuery)
	if err != nil {
		a.malformed(http.StatusBadRequest, "the URL's query could not be read")
		return nil, false
	}
	fields := map[string]json.RawMessage{}
	for _, name := range []string{"query", "operationName", "variables", "extensions"} {
		v := values.Get(name)
		switch {
		case v == "":
		case !utf8.ValidString(v):
			a.malformed(http.StatusBadRequest, name+" must be UTF-8")
			return nil, false
		case name == "query" || name == "operationName":
			fields[name] = marshal(v, "null")
		default:
			fields[name] = json.RawMessage(v)
		}
	}
	return fields, true
}

// body reads a POST's, one operation or a batch of them. Forms and anything else that a browser sends without
// asking for leave are no requests: they are refused before they are read.
func (a answer) body() (operations []map[string]json.RawMessage, batch, ok bool) {
	media, params, err := mime.ParseMediaType(a.r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || media != mediaJSON || charset != "" && !strings.EqualFold(charset, "utf-8") {
		a.w.Header().Set("Accept-Post", mediaJSON)
		a.malformed(http.StatusUnsupportedMediaType, "send "+mediaJSON+" in UTF-8")
		return nil, false, false
	}
	if c := strings.Join(a.r.Header.Values("Content-Encoding"), ","); c != "" && !strings.EqualFold(c, "identity") {
		a.w.Header().Set("Accept-Encoding", "identity") // RFC 9110 section 12.5.3: what a request may have
		a.malformed(http.StatusUnsupportedMediaType, "send the body without a content encoding")
		return nil, false, false
	}
	raw, ok := a.read()
	if !ok {
		return nil, false, false
	}
	if !utf8.Valid(raw) {
		a.malformed(http.StatusBadRequest, "the body must be UTF-8")
		return nil, false, false
	}
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
		operations, wrong := batchOf(raw, a.media)
		if wrong != "" {
			a.malformed(http.StatusBadRequest, wrong)
		}
		return operations, true, wrong == ""
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		a.malformed(http.StatusBadRequest, "the body must be one JSON object, or an array of them")
		return nil, false, false
	}
	return []map[string]json.RawMessage{fields}, false, true
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

// decode reads one JSON value that may be absent or null and has nothing after
// it, numbers as they are written.
func decode(raw json.RawMessage, into any) bool {
	if len(raw) == 0 {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(into) != nil {
		return false
	}
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}
