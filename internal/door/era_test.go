package door

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/door/double"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// TestErrorsOfEveryEra: whatever shape Hasura gives an error, a client gets the
// protocol's own, and it is the operation's last word.
func TestErrorsOfEveryEra(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		for _, shape := range []double.Payload{double.List, double.Object, double.Text} {
			for _, early := range []bool{false, true} {
				r := newRig(t, setup{double: func(o *double.Options) { o.Era.Payload, o.Era.EarlyKeepAlive = shape, early }})
				p := r.open(protocol)
				p.start("1", `{ fails }`)
				got := p.expect(`"id":"1"`, `"type":"error"`, `it failed`)
				if list := strings.Contains(got, `"payload":[{"message":"it failed"`); list != !p.legacy() && shape != double.Text || p.legacy() && strings.Contains(got, `"payload":"`) {
					t.Errorf("%d: %s", shape, got)
				}
				p.start("1", `{ whoami }`) // the id is free, and the complete that follows the error is nobody's
				p.expect(`"id":"1"`, `"x-hasura-user-id":"alice"`)
				p.expect(`"id":"1"`, `"complete"`)
			}
		}
	})
}

// TestAnErrorSaidTwice: Hasura refuses an operation by two errors, the second a text, a
// complete and its leave. The client hears one error, and of the rest nothing; also where
// what was to be answered before that could not be any more.
func TestAnErrorSaidTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{tables: true})
	t.Cleanup(func() { r.h.Gate(false) })
	p := r.open(wsock.TransportWS)
	p.start("live", `subscription { items { text } }`)
	p.expect(`"id":"live"`, `"first"`)
	r.h.Gate(true)
	p.start("y", `{ held }`)
	eventually(t, "asked", func() bool { return r.h.Asked.Load() == 2 })
	r.h.Say(append(slices.Repeat([]string{`{"type":"ping"}`}, 40), // each is answered, and the socket is gone before all are
		`{"type":"error","id":"2","payload":{"path":"$","error":"an operation already exists with this id: 2","code":"start-failed"}}`,
		`{"type":"error","id":"2","payload":"an operation already exists with this id: 2"}`,
		`{"type":"complete","id":"2"}`)...)
	r.h.Close(1000, "")
	p.expect(`"id":"y"`, `"type":"error","payload":[{`, `already exists`)
	eventually(t, "what lives goes on", func() bool { return r.seen.of("unchanged") == 1 })
	r.h.Gate(false)
	p.start("y", `{ whoami }`)
	p.expect(`"id":"y"`, `"alice"`)
	p.expect(`"id":"y"`, `"complete"`)
	r.insert("second")
	p.expect(`"id":"live"`, `"second"`)
	if r.seen.of("lost closed") != 1 || r.seen.of("lost garbage") != 0 || r.seen.of("unchanged") != 1 {
		t.Error(r.seen.n)
	}
}

// TestRefusedUpstream: a session that Hasura does not take is none here either,
// however its version says so; and the client is told why.
func TestRefusedUpstream(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		for _, code := range []int{4403, 4400} {
			r := newRig(t, setup{double: func(o *double.Options) { o.Era.Refusal = code }})
			r.h.Refuse(func(string) bool { return true })
			p := r.open(protocol)
			p.start("ours", `subscription { ours }`)
			p.expect(`{"ours":0}`)
			p.start("1", `{ whoami }`)
			if _, e := p.read(); e == nil || e.Code != 4403 || !strings.HasPrefix(e.Text, "Hasura refuses this session") {
				t.Errorf("%d: %v", code, e)
			}
		}
		for _, code := range []int{4403, 4400} { // longer than a close frame may be
			r := newRig(t, setup{double: func(o *double.Options) { o.Era.Refusal, o.Era.Reason = code, strings.Repeat("no ", 60) }})
			r.h.Refuse(func(string) bool { return true })
			p := r.open(protocol)
			p.start("1", `{ whoami }`)
			if _, e := p.read(); e == nil || e.Code != 4403 || !strings.HasPrefix(e.Text, "Hasura refuses this session") {
				t.Errorf("%d with a long reason: %v", code, e)
			}
		}
		for _, status := range []int{400, 401, 403} { // the first is its CORS policy
			r := newRig(t, setup{})
			r.h.Answer(status)
			p := r.open(protocol)
			p.start("1", `{ whoami }`)
			if _, e := p.read(); e == nil || e.Code != 4403 {
				t.Error(status, e)
			}
		}
	})
}

// TestATokenThatEnds: Hasura ends its socket when the token does, and does not
// take it again: so ends the client's, to come back with another.
func TestATokenThatEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{})
	p := r.open(wsock.TransportWS)
	p.start("1", `subscription { whoami }`)
	p.expect(`"data"`)
	r.h.Refuse(func(string) bool { return true })
	r.h.Close(0, "")
	if _, e := p.read(); e == nil || e.Code != 4403 {
		t.Error(e)
	}
}

// TestRefresh: with a new token a second socket is dialled; what lives moves and
// is told only what is new; a stream stays where it is; then the first is closed.
func TestRefresh(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		r := newRig(t, setup{tables: true})
		p := r.open(protocol)
		p.start("live", `subscription { items { text } }`)
		p.expect(`"id":"live"`, `"first"`)
		p.start("who", `subscription { whoami }`)
		p.expect(`"id":"who"`, `alice`)
		p.start("log", `subscription { items_stream(batch_size: 1, cursor: {initial_value: {id: 0}}) { id } }`)
		p.expect(`"id":"log"`, `"first"`)
		r.link().Renew("Authorization", "Bearer "+mint(t, "alice-again", time.Hour), "user")
		p.expect(`"id":"who"`, `alice-again`)
		eventually(t, "both moved", func() bool { return r.seen.of("resubscribed") == 2 && r.seen.of("unchanged") == 1 })
		if inits := r.h.Inits(); fmt.Sprint(inits[len(inits)-1]["headers"].(map[string]any)["X-Hasura-Role"]) != "user" {
			t.Error("a refresh may change the role:", inits)
		}
		if n := r.h.Sockets(); n != 2 {
			t.Errorf("%d sockets while a stream lasts", n)
		}
		r.insert("second")
		got := p.expect(`"second"`) + p.expect(`"second"`)
		if !strings.Contains(got, `"id":"live"`) || !strings.Contains(got, `"id":"log"`) {
			t.Error(got)
		}
		p.stop("log")
		if p.legacy() {
			p.expect(`"id":"log"`, `"complete"`)
		}
		eventually(t, "the first socket is closed", func() bool { return r.h.Sockets() == 1 })
		// A change of metadata in the middle of a refresh: still one socket, on the new token.
		r.h.Hold(true)
		r.link().Renew("Authorization", "Bearer "+mint(t, "alice-at-last", time.Hour), "user")
		eventually(t, "the second is dialled", func() bool { return r.h.Sockets() == 2 })
		r.h.Close(1012, "")
		r.h.Hold(false)
		p.expect(`"id":"who"`, `alice-at-last`)
		r.insert("third")
		p.expect(`"id":"live"`, `"third"`)
		eventually(t, "one socket", func() bool { return r.h.Sockets() == 1 })
	})
}

// TestTokensGivenAtOnce: of many, only the last is taken upstream, and no socket
// is dialled for each.
func TestTokensGivenAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{tables: true})
	p := r.open(wsock.TransportWS)
	p.start("who", `subscription { whoami }`)
	p.expect(`"id":"who"`, `alice`)
	r.h.Hold(true)
	const n = 50
	for i := range n {
		r.link().Renew("Authorization", "Bearer "+mint(t, fmt.Sprintf("alice-%d", i+1), time.Hour), "user")
	}
	eventually(t, "a second is dialled", func() bool { return r.h.Sockets() == 2 })
	r.h.Hold(false)
	if got := p.expect(`"id":"who"`); !strings.Contains(got, fmt.Sprintf(`alice-%d"`, n)) {
		t.Error("on an old token:", got)
	}
	eventually(t, "one socket", func() bool { return r.h.Sockets() == 1 })
	if n := r.h.Dials.Load(); n > 3 {
		t.Errorf("%d sockets were dialled", n)
	}
}

// TestAnIDUsedAgain: what comes late for an operation is not told to the next one
// of the same id.
func TestAnIDUsedAgain(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		r := newRig(t, setup{tables: true})
		p := r.open(protocol)
		for i := range 50 {
			r.h.Gate(true)
			p.start("x", `{ held }`) // stop is not heard while it runs, and the result comes all the same
			eventually(t, "asked", func() bool { return int(r.h.Asked.Load()) == 2*i+1 })
			p.stop("x")
			if p.legacy() {
				p.expect(`"id":"x"`, `"complete"`)
			} else { // whatever was said before is dealt with when this is answered
				p.say(`{"type":"ping"}`)
				p.expect(`"pong"`)
			}
			r.h.Gate(false)
			p.start("x", fmt.Sprintf(`{ n%d: whoami }`, i))
			for {
				got := p.expect(`"id":"x"`)
				if strings.Contains(got, `"held"`) {
					t.Fatal("told of an operation it has completed:", got)
				}
				if strings.Contains(got, fmt.Sprintf(`"n%d"`, i)) {
					break
				}
			}
			p.expect(`"id":"x"`, `"complete"`)
		}
	})
}

// TestLargeResults, and one that waits behind nothing but itself.
func TestLargeResults(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		r := newRig(t, setup{})
		p := r.open(protocol)
		p.start("1", `{ big(kb: 10240) }`)
		if got := p.expect(`"id":"1"`); len(got) < 10<<20 {
			t.Errorf("%d bytes", len(got))
		}
		p.expect(`"complete"`)
	})
}

// TestASlowUpstream: a query that takes its time holds back what Hasura does
// after it on that socket, also its pongs, and nothing of ours; it is no loss.
func TestASlowUpstream(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{})
	p := r.open(wsock.TransportWS)
	r.h.Gate(true)
	t.Cleanup(func() { r.h.Gate(false) })
	p.start("slow", `{ held }`)
	eventually(t, "it runs", func() bool { return r.h.Asked.Load() == 1 })
	p.start("after", `{ whoami }`)
	p.start("ours", `subscription { ours }`)
	p.expect(`"id":"ours"`, `{"ours":0}`)
	p.say(`{"type":"ping","payload":{"n":1}}`)
	p.expect(`{"type":"pong","payload":{"n":1}}`)
	for range 5 { // its pongs wait: what it says by itself is a sign of life
		was := r.life().Load()
		eventually(t, "it is heard", func() bool { return r.life().Load() > was })
	}
	r.h.Gate(false)
	p.expect(`"id":"slow"`, `"done"`)
	rest := p.expect(`"id"`) + p.expect(`"id"`) + p.expect(`"id"`) // the two ends are their operations' own matter
	if !strings.Contains(rest, `"alice"`) || strings.Count(rest, `"complete"`) != 2 {
		t.Error(rest)
	}
	if n := r.seen.of("lost silent") + r.seen.of("lost closed"); n != 0 {
		t.Errorf("%d losses", n)
	}
}

// TestAClientThatDoesNotRead is closed, and only it: what Hasura has for it stays
// at Hasura, but for a few frames.
func TestAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{tables: true, limits: wsock.Limits{WriteTimeout: time.Second, QueuedBytes: 1 << 20}})
	other := r.open(wsock.TransportWS)
	other.start("1", `subscription { items { text } }`)
	other.expect(`"first"`)
	p := r.open(wsock.TransportWS)
	p.start("1", `subscription { flood(kb: 256) }`)
	eventually(t, "it is closed, and its upstream with it", func() bool { return r.h.Sockets() == 1 })
	r.insert("second")
	other.expect(`"second"`)
}

// TestTooMuch: operations and bytes of one socket are bounded, and so is how
// often it may ask; each refusal is its operation's, and typed.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	var tired atomic.Bool
	var counted atomic.Int64
	r := newRig(t, setup{tables: true, limits: wsock.Limits{Operations: 10, MessageRate: 10000}, options: []func(*Options){func(o *Options) {
		o.HeldBytes = 2000
		o.Take = func(context.Context) (func(), error) {
			if tired.Load() {
				return nil, fault.Later(fault.RateLimited, time.Second, "too many")
			}
			counted.Add(1)
			return func() { counted.Add(-1) }, nil
		}
	}}})
	p := r.open(wsock.TransportWS)
	const n = 1000
	for i := range n {
		p.start(fmt.Sprint(i), `subscription { items { text } }`)
	}
	told := map[string]int{}
	for range n {
		got := p.expect(`"id"`)
		for _, text := range []string{`"data"`, `more than 10 operations`} {
			if strings.Contains(got, text) {
				told[text]++
			}
		}
	}
	if told[`"data"`] != 10 || told[`more than 10 operations`] != n-10 {
		t.Error(told)
	}
	for i := range 9 {
		p.stop(fmt.Sprint(i))
	}
	p.start("long", `{ whoami } # `+strings.Repeat("x", 2000))
	p.expect(`"id":"long"`, `"code":"rate-limited"`, `"retryable":true`)
	before := counted.Load()
	p.start("ours", `subscription { ours }`)
	p.expect(`"id":"ours"`, `{"ours":0}`)
	if n := counted.Load() - before; n != 0 {
		t.Error("what is our engine's to count is counted twice:", n)
	}
	tired.Store(true)
	for _, query := range []string{`{ whoami }`, `subscription { ours items { id } }`, `subscription { ours }`} { // before it is looked at whose it is
		p.start("often", query)
		p.expect(`"id":"often"`, `"code":"rate-limited"`, `"retryAfterMs":1000`)
	}
}

// TestAnIdleUpstreamIsClosed, and dialled again when it is needed.
func TestAnIdleUpstreamIsClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{times: func(x *times) { x.idle = 100 * time.Millisecond }})
	p := r.open(wsock.TransportWS)
	for range 3 {
		p.start("1", `{ whoami }`)
		p.expect(`"data"`)
		p.expect(`"complete"`)
		eventually(t, "it is closed", func() bool { return r.h.Sockets() == 0 && r.seen.of("upstream") == 0 })
	}
	if n := r.seen.of("lost closed") + r.seen.of("dialed unavailable"); n != 0 || r.seen.of("dialed ok") != 3 {
		t.Error("counted as lost, or not dialled anew")
	}
}

// TestASocketOnlyWhereOneIs: an upgrade at a path that has no sockets is refused
// and never a tunnel.
func TestASocketOnlyWhereOneIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{options: []func(*Options){func(o *Options) { o.Paths = []string{"/api/rest/"} }}})
	for _, upgrade := range []string{"websocket", "h2c", "WebSocket, h2c"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/rest/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {upgrade}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"eHh4eHh4eHh4eHh4eHh4eA=="}}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusSwitchingProtocols {
			t.Error("upgraded to", upgrade)
		}
	}
	for _, h := range r.h.Headers() {
		if h.Get("Upgrade") != "" {
			t.Error("an upgrade went through")
		}
	}
	_, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(r.url, "http")+"/api/rest/x", nil)
	if err == nil || res == nil {
		t.Fatal("upgraded")
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusBadRequest {
		t.Error(res)
	}
}
