package door

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

func (r *rig) do(method, path, body string, header ...string) (reply, string, error) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.URL.Opaque = strings.TrimPrefix(r.url, "http:") + path // as it is
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	// A connection of its own, and not one to be closed at once: then net/http does not wait for a body that nobody reads.
	own := &http.Transport{DisableCompression: true, ExpectContinueTimeout: time.Minute}
	defer own.CloseIdleConnections()
	res, err := own.RoundTrip(req)
	if err != nil {
		return reply{}, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode}, string(b), err
}

// reply is what is looked at of an answer besides its body.
type reply struct{ StatusCode int }

// TestHTTPGoesThroughAsItIs: bodies byte for byte, whatever they are.
func TestHTTPGoesThroughAsItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{options: []func(*Options){func(o *Options) { o.Paths = []string{"/api/rest/", "/v1alpha1/graphql"} }}})
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"query":"{ __schema { types { name } } }"}`))
	_ = z.Close()
	for what, c := range map[string]struct {
		path, body string
		header     []string
	}{
		"spaces and unknown keys": {pathGraphQL, " {\"query\" :\t\"{ whoami }\",\n\"more\":[1.0e3]} ", nil},
		"a batch":                 {pathGraphQL, `[{"query":"{ whoami }"},{"query":"{ __typename }"}]`, nil},
		"a batch of schemas":      {pathGraphQL, `[{"query":"{ __schema { types { name } } }"}]`, nil},
		"no JSON":                 {pathGraphQL, "\x00\xff", nil},
		"nothing":                 {pathGraphQL, "", nil},
		"compressed":              {pathGraphQL, zipped.String(), []string{"Content-Encoding", "gzip"}},
		"a form":                  {pathGraphQL, "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n__schema\r\n--x--\r\n", []string{"Content-Type", "multipart/form-data; boundary=x"}},
		"large":                   {pathGraphQL, `{"query":"{ __schema_ }","variables":{"x":"` + strings.Repeat("x", 300<<10) + `"}}`, nil},
		"relay":                   {pathRelay, `{"query":"{ __schema { types { name } } }"}`, nil},
		"more paths":              {"/api/rest/a/b?x=%2f&y", `{"a":1}`, nil},
		"the old path":            {pathOld, `{"query":"{ whoami }"}`, nil},
	} {
		before := len(r.h.Bodies())
		res, _, err := r.do(http.MethodPost, c.path, c.body, c.header...)
		if err != nil {
			t.Fatal(what, err)
		}
		if all := r.h.Bodies(); len(all) != before+1 || string(all[before]) != c.body {
			t.Errorf("%s: %d bodies came, %d %.100q", what, len(all)-before, res.StatusCode, all[len(all)-1])
		}
	}
	const query = "query=%7Bwhoami%7D&extensions=%7b%22a%22:1%7d&x=a+b;c&&%zz"
	res, body, err := r.do(http.MethodGet, pathGraphQL+"?"+query, "")
	if all := r.h.Queries(); err != nil || res.StatusCode != 200 || all[len(all)-1] != query {
		t.Error(res, body, err, all[len(all)-1])
	}
}

// TestPaths: what is not the door's is nobody's, however it is written.
func TestPaths(t *testing.T) {
	t.Parallel()
	d, err := New(Options{Upstream: "http://h", Schema: newSchema(), Paths: []string{"/api/rest/", "/v1/version"}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"/v1/graphql": true, "/v1beta1/relay": true, "/api/rest/x": true, "/api/rest/x/y": true, "/v1/version": true,
		"/v1/metadata": false, "/v2/query": false, "/v1/query": false, "/v1alpha1/pg_dump": false, "/v1alpha1/config": false, "/v1/graphql/explain": false,
		"/api/rest": false, "/console": false, "/dev/subscriptions": false, "/healthz": false, "/hasura/healthz": false, "/v1/entitlement": false, "/api/swagger/json": false,
		"/v1/graphql/": false, "/v1/graphql/..%2fmetadata": false, "/api/rest/../../v1/metadata": false, "/api/rest/..%2f..%2fv1%2fmetadata": false,
		"/api/rest/%2e%2e/%2e%2e/v1/metadata": false, "//v1/graphql": false, "/v1//graphql": false, "/V1/graphql": false, "/api/rest/..;/x": false, "/api/rest/\\..\\x": false,
		"/v1/graphql%00": false, "/v1/%67raphql": true, "/": false,
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			continue // net/http refuses it
		}
		if got := d.Serves(u); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

// TestHeaders: nobody is somebody else at Hasura by what it writes.
func TestHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{})
	ask := func(header ...string) http.Header {
		before := len(r.h.Headers())
		if _, _, err := r.do(http.MethodPost, pathGraphQL, `{"query":"{ whoami }"}`, header...); err != nil {
			t.Fatal(err)
		}
		return r.h.Headers()[before]
	}
	h := ask("X-Hasura-User-Id", "bob", "x-hasura-role", "user", "X-Hasura-Org", "1", "x-nchat-webhook-secret", "guess", "X-Forwarded-For", "203.0.113.1", "X-Real-Ip", "203.0.113.1",
		"Forwarded", "for=203.0.113.1", "X-Forwarded-Host", "evil", "Connection", "close, X-Gone", "X-Gone", "1", "Keep-Alive", "1", "Proxy-Authorization", "x", "Te", "trailers",
		"X-Request-Id", "r-1", "Cookie", "a=b", "Origin", "https://app.example.com", "Traceparent", "00-x")
	for name, want := range map[string]string{"X-Hasura-User-Id": "", "X-Hasura-Role": "user", "X-Hasura-Org": "", "X-Nchat-Webhook-Secret": "", "X-Forwarded-For": "192.0.2.7", "X-Real-Ip": "",
		"Forwarded": "", "X-Gone": "", "Keep-Alive": "", "Proxy-Authorization": "", "X-Request-Id": "r-1", "Cookie": "a=b", "Origin": "https://app.example.com", "Traceparent": "00-x",
		"X-Forwarded-Host": strings.TrimPrefix(r.url, "http://"), "X-Forwarded-Proto": "http", "Accept-Encoding": ""} {
		if got := strings.Join(h.Values(name), ","); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	h = ask("X-Hasura-Admin-Secret", admin, "X-Hasura-User-Id", "bob", "X-Hasura-Role", "user")
	if h.Get("X-Hasura-User-Id") != "bob" || h.Get("X-Hasura-Admin-Secret") != admin {
		t.Error("an admin's session variables are Hasura's to judge:", h)
	}
	// A secret that does not go on lets no session variable go on.
	h = ask("X-Hasura-Admin-Secret", admin, "X-Hasura-User-Id", "bob", "Connection", "close, x-hasura-admin-secret")
	if h.Get("X-Hasura-User-Id") != "" || h.Get("X-Hasura-Admin-Secret") != "" {
		t.Error("anybody is bob at Hasura:", h)
	}
}

// TestAnswersGoThroughAsTheyAre: their bytes, pace, trailers and ends; but the
// headers for pages are the door's alone.
func TestAnswersGoThroughAsTheyAre(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{})
	more := make(chan struct{})
	r.h.Instead(func(w http.ResponseWriter, q *http.Request) bool {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "X")
		w.Header().Set("Content-Encoding", "br")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("\x00one"))
		_ = http.NewResponseController(w).Flush()
		<-more
		if q.URL.RawQuery == "abort" {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte("two\xff"))
		w.Header().Set("X-Sum", "7")
		return true
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+pathGraphQL, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	first := make([]byte, 4)
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "\x00one" { // before there is a second
		t.Fatalf("%q %v", first, err)
	}
	more <- struct{}{}
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(rest) != "two\xff" || res.StatusCode != http.StatusTeapot || res.Header.Get("Content-Encoding") != "br" ||
		len(res.Header.Values("Set-Cookie")) != 2 || res.Trailer.Get("X-Sum") != "7" {
		t.Errorf("%q %v %+v", rest, err, res)
	}
	for name := range res.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Error("doubled:", name)
		}
	}
	close(more)
	if _, body, err := r.do(http.MethodPost, pathGraphQL+"?abort", "{}"); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Errorf("an answer that was cut off looks whole: %q %v", body, err)
	}
}

// TestWhatTheDoorAnswersItself is typed, with what to do.
func TestWhatTheDoorAnswersItself(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{options: []func(*Options){func(o *Options) {
		o.BodyBytes = 100 << 10
		o.Admit = func(r *http.Request, _ http.Header) (context.Context, error) {
			if r.Header.Get("Origin") == "https://evil.example" {
				return nil, fault.New(fault.Denied, "origin not allowed")
			}
			return r.Context(), nil
		}
	}}})
	const ask = `{"query":"{ whoami }"}`
	for _, c := range []struct {
		what   string
		before func()
		body   string
		header []string
		status int
		want   string
	}{
		{"a page that is not let in", nil, ask, []string{"Origin", "https://evil.example"}, 403, `"code":"access-denied"`},
		{"too large", nil, strings.Repeat("x", 101<<10), []string{"Expect", "100-continue"}, 413, `"code":"validation-failed"`},
		{"Hasura is away", func() { r.h.Down(true) }, ask, nil, 502, `"code":"upstream-unavailable","retryAfterMs":1000,"retryable":true`},
		{"and there again", func() { r.h.Down(false) }, ask, nil, 200, `"x-hasura-role":"public"`},
	} {
		if c.before != nil {
			c.before()
		}
		res, body, err := r.do(http.MethodPost, pathGraphQL, c.body, c.header...)
		if err != nil {
			t.Fatal(c.what, err)
		}
		if res.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s", c.what, res.StatusCode, body)
		}
	}
	// A body whose length is not said is cut off where it may end.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+pathGraphQL, io.LimitReader(endless{}, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Error(res.Status)
		}
	}
}

// TestWhatHasuraDoesIsNotCutOff by a server that leaves; by a client that goes it is.
func TestWhatHasuraDoesIsNotCutOff(t *testing.T) {
	t.Parallel()
	for cause, whole := range map[error]bool{ErrLeaving: true, context.Canceled: false} {
		r := newRig(t, setup{})
		ctx, end := context.WithCancelCause(t.Context())
		r.h.Instead(func(w http.ResponseWriter, q *http.Request) bool {
			end(cause)
			select {
			case <-q.Context().Done():
			case <-time.After(time.Second):
				_, _ = w.Write([]byte("done"))
			}
			return true
		})
		w := httptest.NewRecorder()
		r.d.ServeHTTP(w, httptest.NewRequest(http.MethodPost, pathGraphQL, strings.NewReader("{}")).WithContext(ctx))
		if got := w.Body.String() == "done"; got != whole {
			t.Errorf("%v: %d %q", cause, w.Code, w.Body)
		}
	}
}

// TestALateAck: what was asked meanwhile waits for it, in both protocols.
func TestALateAck(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		r := newRig(t, setup{})
		r.h.Hold(true)
		p := r.open(protocol)
		p.start("1", `{ whoami }`)
		p.start("2", `subscription { whoami }`)
		eventually(t, "it is dialled", func() bool { return len(r.h.Inits()) == 1 })
		p.start("3", `mutation { whoami }`)
		if n := r.h.Asked.Load(); n != 0 {
			t.Errorf("%d operations were sent before the ack", n)
		}
		r.h.Hold(false)
		results := 0
		for results < 3 {
			if strings.Contains(p.expect(`"id"`), "alice") {
				results++
			}
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestASlowUpstreamOverHTTP is given up in time: a query may be asked again, of a
// mutation nobody knows.
func TestASlowUpstreamOverHTTP(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{})
	r.d.client.Transport.(*http.Transport).ResponseHeaderTimeout = 100 * time.Millisecond
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	r.h.Instead(func(_ http.ResponseWriter, q *http.Request) bool {
		_, _ = io.Copy(io.Discard, q.Body)
		<-hold
		return true
	})
	for query, code := range map[string]string{`mutation { add }`: `"outcome-unknown"`, `{ whoami }`: `"upstream-unavailable"`} {
		if res, got, err := r.do(http.MethodPost, pathGraphQL, `{"query":"`+query+`"}`); err != nil || res.StatusCode != http.StatusGatewayTimeout || !strings.Contains(got, code) {
			t.Error(query, res, got, err)
		}
	}
}

// TestASchemaThatIsGarbage is passed on over HTTP, where it is Hasura's own answer; over
// a socket there is one clear error, and the socket goes on.
func TestASchemaThatIsGarbage(t *testing.T) {
	t.Parallel()
	const ask = `{ __schema { queryType { name } } }`
	for _, garbage := range []string{`{"data":{"__schema":`, `<html>`, `{"data":{"__schema":null}}`, `null`, ``} {
		r := newRig(t, setup{})
		r.h.Instead(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, garbage); return true })
		if res, got, err := r.do(http.MethodPost, pathGraphQL, `{"query":"`+ask+`"}`); err != nil || res.StatusCode != http.StatusOK || got != garbage {
			t.Errorf("%q: %v %q %v", garbage, res, got, err)
		}
		p := r.open(wsock.TransportWS)
		p.start("1", ask)
		p.expect(`"id":"1"`, `"type":"error"`, `"code":"upstream-unavailable"`, `"retryable":true`)
		p.start("2", `{ whoami }`)
		p.expect(`"id":"2"`, `"alice"`)
	}
}

// TestWhatComesBehindABody, or instead of its end: no header comes in behind it, and
// half of one is not taken for the whole.
func TestWhatComesBehindABody(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{})
	type had struct {
		trailer http.Header
		err     error
	}
	began, came := make(chan struct{}, 1), make(chan had, 1)
	r.h.Instead(func(_ http.ResponseWriter, q *http.Request) bool {
		began <- struct{}{}
		_, err := io.Copy(io.Discard, q.Body)
		came <- had{q.Trailer, err}
		return true
	})
	send := func(rest string) had {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://")) //nolint:noctx // it is closed below
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		large := strings.Repeat("x", lookedAt+1) // what is smaller is read before it is passed on
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Hasura-User-Id\r\n\r\n%x\r\n%s\r\n%s", pathGraphQL, len(large), large, rest)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-began: // whoever goes before that is not passed on
		case <-time.After(patient):
			t.Fatal("nothing begins")
		}
		if rest == "" {
			_ = c.Close()
		}
		select {
		case h := <-came:
			return h
		case <-time.After(patient):
			t.Fatal("nothing came")
			return had{}
		}
	}
	if h := send("0\r\nX-Hasura-User-Id: bob\r\n\r\n"); h.err != nil || len(h.trailer) > 0 {
		t.Error("a trailer went through:", h)
	}
	if h := send(""); h.err == nil {
		t.Error("half a body is a whole one at Hasura")
	}
}

// TestDirectIsWithdrawn: from the moment a check finds something in the way, what was
// answered here goes to Hasura again.
func TestDirectIsWithdrawn(t *testing.T) {
	t.Parallel()
	direct := &Direct{}
	r := newRig(t, setup{options: []func(*Options){func(o *Options) { o.Direct = direct }}})
	p := r.open(wsock.TransportWS)
	all := func(string, string, string) bool { return true }
	for _, allows := range []func(string, string, string) bool{nil, all, nil, all} {
		direct.Set(allows)
		before, asked := len(r.h.Bodies()), r.h.Asked.Load()
		if _, got, err := r.do(http.MethodPost, pathGraphQL, `{"query":"{ mine }"}`); err != nil || strings.Contains(got, "here") != (allows != nil) || len(r.h.Bodies()) > before != (allows == nil) {
			t.Error(allows != nil, got, err)
		}
		p.start("1", `{ mine }`)
		p.expect(`"id":"1"`)
		if r.h.Asked.Load() > asked != (allows == nil) {
			t.Error("over a socket:", allows != nil)
		}
		if allows != nil {
			p.expect(`"id":"1"`, `"complete"`)
		}
	}
}
