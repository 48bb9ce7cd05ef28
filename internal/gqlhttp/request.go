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
)

// params reads the request; false: it was refused. No refusal repeats what was sent.
func (a answer) params() (*graphql.RawParams, bool) {
	start := graphql.Now()
	var fields map[string]json.RawMessage
	var ok bool
	if a.r.Method == http.MethodGet {
		fields, ok = a.query()
	} else {
		fields, ok = a.body()
	}
	if !ok {
		return nil, false
	}
	p := &graphql.RawParams{}
	for _, f := range []struct {
		name, want string
		into       any
	}{
		{"query", "a string", &p.Query}, {"operationName", "a string or null", &p.OperationName},
		{"variables", "an object or null", &p.Variables}, {"extensions", "an object or null", &p.Extensions},
	} {
		if !decode(fields[f.name], f.into) {
			a.malformed(http.StatusBadRequest, f.name+" must be "+f.want)
			return nil, false
		}
	}
	if p.Query == "" && p.Extensions["persistedQuery"] == nil {
		a.malformed(http.StatusBadRequest, "query is missing")
		return nil, false
	}
	p.ReadTime = graphql.TraceTiming{Start: start, End: graphql.Now()}
	return p, true
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

// body reads a POST's. Forms and anything else that a browser sends without
// asking for leave are no requests: they are refused before they are read.
func (a answer) body() (map[string]json.RawMessage, bool) {
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
	raw, ok := a.read()
	if !ok {
		return nil, false
	}
	var fields map[string]json.RawMessage
	switch err := json.Unmarshal(raw, &fields); {
	case bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")):
		a.malformed(http.StatusBadRequest, "batches of operations are not served")
	case err != nil || fields == nil:
		a.malformed(http.StatusBadRequest, "the body must be one JSON object")
	case !utf8.Valid(raw):
		a.malformed(http.StatusBadRequest, "the body must be UTF-8")
	default:
		return fields, true
	}
	return nil, false
}

func (a answer) read() ([]byte, bool) {
	limit := a.t.o.BodyLimit(a.r)
	tooLarge := func() ([]byte, bool) {
		a.malformed(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", limit))
		return nil, false
	}
	if a.r.ContentLength > limit {
		return tooLarge()
	}
	raw, err := io.ReadAll(http.MaxBytesReader(a.w, a.r.Body, limit))
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
