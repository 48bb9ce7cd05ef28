package door

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/door/double"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// TestWhatMayHaveBeenDone: of a request that Hasura may have got, and that is not
// known to read only, no answer is not told as something to send again; of any other it is.
func TestWhatMayHaveBeenDone(t *testing.T) {
	t.Parallel()
	const (
		unknown = `"code":"outcome-unknown","retryable":false`
		again   = `"code":"upstream-unavailable","retryAfterMs":1000,"retryable":true`
	)
	for what, c := range map[string]struct {
		method, path, body string
		sent, unsent       string
	}{
		"a mutation":        {http.MethodPost, pathGraphQL, `{"query":"mutation { add }"}`, unknown, again},
		"a query":           {http.MethodPost, pathGraphQL, `{"query":"{ whoami }"}`, again, again},
		"a query of many":   {http.MethodPost, pathGraphQL, `{"query":"mutation M { add } query Q { whoami }","operationName":"Q"}`, again, again},
		"a batch":           {http.MethodPost, pathGraphQL, `[{"query":"{ whoami }"}]`, unknown, again},
		"a persisted one":   {http.MethodPost, pathGraphQL, `{"extensions":{"persistedQuery":{"version":1}}}`, unknown, again},
		"a large query":     {http.MethodPost, pathGraphQL, `{"query":"{ whoami } #` + strings.Repeat("x", lookedAt) + `"}`, unknown, again},
		"a file":            {http.MethodPut, "/files/x", `x`, unknown, again},
		"a query elsewhere": {http.MethodPost, "/files/x", `{"query":"{ whoami }"}`, unknown, again},
		"a look at a file":  {http.MethodGet, "/files/x", ``, again, again},
	} {
		r := newRig(t, setup{options: []func(*Options){func(o *Options) { o.Paths = []string{"/files/"} }}})
		r.h.Instead(func(_ http.ResponseWriter, q *http.Request) bool {
			_, _ = io.Copy(io.Discard, q.Body)
			panic(http.ErrAbortHandler)
		})
		ask := func(when, want string) {
			t.Helper()
			res, got, err := r.do(c.method, c.path, c.body)
			if err != nil || res.StatusCode != http.StatusBadGateway || !strings.Contains(got, want) {
				t.Errorf("%s, %s: %d %s %v", what, when, res.StatusCode, got, err)
			}
		}
		ask("sent", c.sent)
		r.h.Stop() // and refuses connections
		ask("not sent", c.unsent)
		if n := r.seen.of("answered passed"); n != 0 {
			t.Errorf("%s: %d counted as passed", what, n)
		}
	}
}

// TestABodyThatStops is its sender's fault, and told so.
func TestABodyThatStops(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{times: func(x *times) { x.body = 100 * time.Millisecond }})
	half, _ := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+pathGraphQL, io.MultiReader(strings.NewReader(`{"query":`), half))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(b), `"retryable":false`) {
		t.Errorf("%d %s", res.StatusCode, b)
	}
}

// TestAnUploadThatIsNotTaken: when Hasura does not read a body the request ends all
// the same, and nobody knows what became of it.
func TestAnUploadThatIsNotTaken(t *testing.T) {
	t.Parallel()
	const size = 64 << 20 // more than networks keep
	r := newRig(t, setup{options: []func(*Options){func(o *Options) {
		o.Paths, o.WriteTimeout, o.BodyBytes = []string{"/files/"}, 500*time.Millisecond, size
	}}})
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	r.h.Instead(func(http.ResponseWriter, *http.Request) bool { <-hold; return true })
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, r.url+"/files/x", io.LimitReader(endless{}, size))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	if res, err := http.DefaultClient.Do(req); err == nil { // else its own connection is closed under it, which sends
		b, _ := io.ReadAll(res.Body)
		if _ = res.Body.Close(); res.StatusCode != http.StatusGatewayTimeout || !strings.Contains(string(b), `"code":"outcome-unknown"`) {
			t.Errorf("%d %s", res.StatusCode, b)
		}
	} else if ctx.Err() != nil {
		t.Fatal("it has not ended")
	}
	if n := r.seen.of("answered unavailable"); n != 1 {
		t.Errorf("%d counted as unavailable", n)
	}
}

// TestNothingWaitsForLong: what waits for Hasura ends in time, also while the next
// dial is far off: what was told something already, and what was not.
func TestNothingWaitsForLong(t *testing.T) {
	t.Parallel()
	far := func(x *times) { x.least, x.most = 24*time.Hour, 24*time.Hour }
	r := newRig(t, setup{tables: true, times: func(x *times) { far(x); x.again = 400 * time.Millisecond }})
	p := r.open(wsock.TransportWS)
	p.start("live", `subscription { items { text } }`)
	p.expect(`"id":"live"`, `"first"`)
	r.h.Down(true)
	p.expect(`"id":"live"`, `"code":"upstream-unavailable"`)
	r = newRig(t, setup{times: func(x *times) { far(x); x.first = 200 * time.Millisecond }})
	r.h.Down(true)
	p = r.open(wsock.TransportWS)
	p.start("new", `{ whoami }`)
	p.expect(`"id":"new"`, `"code":"upstream-unavailable"`)
}

// TestWhatCannotBeReadHere is sent once: of it nobody knows, whether it has had
// a result or not.
func TestWhatCannotBeReadHere(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{tables: true})
	p := r.open(wsock.TransportWS)
	p.say(`{"id":"1","type":"subscribe","payload":{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"who"}}}}`)
	p.expect(`"id":"1"`, `alice`)
	p.start("2", `subscription { items { text } }`)
	p.expect(`"id":"2"`, `"first"`)
	r.h.Close(1012, "")
	p.expect(`"id":"1"`, `"code":"outcome-unknown"`)
	r.insert("second")
	p.expect(`"id":"2"`, `"second"`)
	if n := r.h.Asked.Load(); n != 3 {
		t.Errorf("%d operations were sent", n)
	}
}

// TestSocketsAtEachPath: Hasura's relay is dialled for who came to it, and told whose
// socket it is.
func TestSocketsAtEachPath(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{options: []func(*Options){func(o *Options) { o.Paths = []string{pathOld} }}})
	for _, path := range []string{pathGraphQL, pathRelay, pathOld} {
		p := r.in(r.dialAt(path, wsock.TransportWS, http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Host": {"evil.example"}}))
		p.start("1", `{ whoami }`)
		p.expect(`"id":"1"`, `alice`)
		all := r.h.Headers()
		h := all[len(all)-1]
		if got := r.h.Paths(); got[len(got)-1] != path {
			t.Errorf("%s: dialled %s", path, got[len(got)-1])
		}
		if h.Get("X-Forwarded-For") != "192.0.2.7" || !strings.Contains(r.url, h.Get("X-Forwarded-Host")) || h.Get("X-Forwarded-Proto") != "http" {
			t.Errorf("%s: Hasura is told %v", path, h)
		}
	}
}

// TestHasuraIsNotThereYet when a client comes, nor while nobody asks for it.
func TestHasuraIsNotThereYet(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		r := newRig(t, setup{tables: true})
		r.h.Down(true)
		p := r.open(protocol)
		p.start("1", `subscription { items { text } }`)
		eventually(t, "it is dialled in vain", func() bool { return r.seen.of("dialed unavailable") > 1 })
		r.h.Down(false)
		p.expect(`"id":"1"`, `"first"`)
		p.stop("1")
		if p.legacy() {
			p.expect(`"id":"1"`, `"complete"`)
		}
		eventually(t, "it has ended there", func() bool { return r.h.Doing.Load() == 0 })
		dials := r.h.Dials.Load()
		r.h.Close(1012, "")
		eventually(t, "the loss is noticed", func() bool { return r.seen.of("upstream") == 0 })
		if p.start("2", `{ whoami }`); r.h.Dials.Load() > dials+1 {
			t.Error("it is dialled for nobody")
		}
		p.expect(`"id":"2"`, `alice`)
	})
}

// TestAdminsSchemaIsTheirs: what Hasura shows to who has its secret is not shown to
// others of the role, and who is refused is refused alone.
func TestAdminsSchemaIsTheirs(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{})
	asked := 0
	r.h.Instead(func(w http.ResponseWriter, q *http.Request) bool {
		asked++
		_, _ = io.WriteString(w, `{"errors":[{"message":"introspection is disabled for `+q.Header.Get("X-Who")+`"}]}`)
		return true
	})
	for i, who := range []http.Header{{"X-Who": {"the admin"}, headerAdmin: {admin}}, {"X-Who": {"alice"}}, {"X-Who": {"bob"}}} {
		_, err := r.d.schemas.of(t.Context(), "user", who)
		var body string
		if refused, ok := err.(*refusal); ok { //nolint:errorlint // it is what is returned
			body = string(refused.body)
		}
		if asked != i+1 || !strings.Contains(body, who.Get("X-Who")) {
			t.Errorf("%s: asked %d times, %s %v", who, asked, body, err)
		}
	}
}

// TestResultsAreTheBytesThatCame, whatever a JSON library would make of them.
func TestResultsAreTheBytesThatCame(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		r := newRig(t, setup{tables: true})
		p := r.open(protocol)
		p.start("mine", `subscription { items { text } }`)
		p.expect(`"id":"mine"`, `"first"`)
		const data = `{"data": {"x":1e400,	"a":"\u0041\/","n":-0.0,"x":12345678901234567890} }`
		kind := "next"
		if p.legacy() {
			kind = "data"
		}
		r.h.Say(` {"payload" : ` + data + ` ,"more":[1], "id":"1","type":"` + kind + `"}`)
		p.expect(`"id":"mine"`, data)
	})
}

// TestAThousandOperations of one socket, all taken up again after a loss, each told
// nothing it has; and a socket without any, which is dialled for nobody.
func TestAThousandOperations(t *testing.T) {
	t.Parallel()
	const n = 1000
	r := newRig(t, setup{double: func(o *double.Options) { o.Poll = time.Minute }, limits: wsock.Limits{Operations: n, MessageRate: 100000, PingEvery: time.Minute}})
	p := r.open(wsock.TransportWS)
	for i := range n {
		p.start(fmt.Sprint(i), `subscription { whoami }`)
	}
	for range n {
		p.expect(`"alice"`)
	}
	for i, code := range []int{1012, 1000, 0, -1} {
		r.h.Close(code, "")
		eventually(t, fmt.Sprintf("all are taken up again after %d", code), func() bool {
			return r.seen.of("unchanged") == (i+1)*n && r.seen.of("resubscribed") == (i+1)*n
		})
	}
	for i := range n {
		p.stop(fmt.Sprint(i))
	}
	eventually(t, "all have ended there", func() bool { return r.h.Doing.Load() == 0 })
	dials := r.h.Dials.Load()
	r.h.Close(1012, "")
	eventually(t, "the loss is noticed", func() bool { return r.seen.of("upstream") == 0 })
	p.start("ours", `subscription { ours }`)
	p.expect(`"id":"ours"`)
	if d := r.h.Dials.Load() - dials; d != 0 {
		t.Errorf("dialled %d times for nobody", d)
	}
}
