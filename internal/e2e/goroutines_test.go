package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// goroutines is how many of a node's goroutines run in our code: what net/http
// and the pool keep for the next request is not counted.
func (n *node) goroutines() (count int, profile string) {
	n.t.Helper()
	b := n.operator("/debug/pprof/goroutine?debug=1")
	for group := range strings.SplitSeq(b, "\n\n") {
		head := strings.TrimPrefix(group, "goroutine profile: total ")
		if head != group {
			_, head, _ = strings.Cut(head, "\n")
		}
		var of int
		if _, err := fmt.Sscanf(head, "%d @", &of); err == nil && strings.Contains(head, "nchat-realtime/") {
			count += of
			profile += head + "\n\n"
		}
	}
	return count, profile
}

// abort ends a connection by RST, as a crashed machine's neighbour would.
func abort(s *sock) {
	if c, ok := s.ws.NetConn().(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	_ = s.ws.NetConn().Close()
}

// ends are all the ways a socket ends, each with what its client then sees; 0:
// whatever comes.
func ends(n *node) map[string]struct {
	code int
	end  func(*sock)
} {
	say := func(text string) func(*sock) {
		return func(s *sock) { _ = s.ws.WriteMessage(websocket.TextMessage, []byte(text)) }
	}
	closing := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return map[string]struct {
		code int
		end  func(*sock)
	}{
		"closed": {1000, func(s *sock) { _ = s.ws.WriteControl(websocket.CloseMessage, closing, time.Now().Add(patient)) }},
		"FIN":    {0, func(s *sock) { _ = s.ws.NetConn().Close() }},
		"RST":    {0, abort},
		"bad":    {4400, say(`{"type":"hello"}`)},
		"twice":  {4429, say(`{"type":"connection_init"}`)},
		"id":     {4409, say(`{"id":"1","type":"subscribe","payload":{"query":"{ myPresence { status } }"}}`)},
		"signed out": {4403, func(s *sock) {
			s.start(`mutation { signOutSession(sessionId: "` + s.session() + `") }`)
		}},
		"signed out from elsewhere": {4403, func(s *sock) {
			n.post(`mutation { signOutSession(sessionId: "`+s.session()+`") }`, bearer(token(s.t, demo.Bob)))
		}},
		"completed": {1000, func(s *sock) {
			for i := range 5 {
				s.write(map[string]any{"id": fmt.Sprint(i + 1), "type": "complete"})
			}
			s.run(`{ myPresence { status } }`)
			_ = s.ws.WriteControl(websocket.CloseMessage, closing, time.Now().Add(patient))
		}},
	}
}

// TestGoroutinesReturnToTheBaseAfterEveryEnd: on a whole server, with real
// subscriptions behind each socket. That a drain and an outage leave nothing
// either, TestMain finds.
func TestGoroutinesReturnToTheBaseAfterEveryEnd(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t), "MAX_SOCKETS_PER_USER=1000", "MAX_SOCKETS_PER_IP=1000", "OPERATIONS_PER_MINUTE=100000", "OFFLINE_GRACE=0s")
	tok := token(t, demo.Bob)
	first := n.dial(tok) // whatever is begun at first use is begun
	next(t, first.start(watch(demo.Alice)))
	abort(first)
	eventually(t, "settled", func() bool {
		return n.post(`{ mySessions { id } }`, bearer(tok)).String() == `{"data":{"mySessions":[]},"errors":null}`
	})
	base, _ := n.goroutines()
	back := func(name string) {
		t.Helper()
		var profile string
		defer func() {
			if t.Failed() {
				t.Log(name + " left behind:\n" + profile)
			}
		}()
		eventually(t, "the base after "+name, func() bool {
			var now int
			now, profile = n.goroutines()
			return now <= base
		})
	}
	for name, e := range ends(n) {
		for range 5 {
			s := n.dial(tok)
			for _, q := range []string{watch(demo.Alice), watch(demo.Bob), `subscription { myPresenceChanged { status } }`,
				`subscription { presenceSettingsChanged { visibility } }`,
				`subscription { presenceWindow(channelId: "` + demo.General.String() + `") { snapshot } }`} {
				next(t, s.start(q))
			}
			if now, _ := n.goroutines(); now <= base {
				t.Fatal("an open socket is not seen in the count")
			}
			e.end(s)
			if got := s.end(); e.code != 0 && got.Code != e.code {
				t.Errorf("%s: %v, want %d", name, got, e.code)
			}
		}
		back(name)
	}
	for range 5 {
		if e := n.dial("no token").end(); e.Code != 4403 {
			t.Error("no token:", e)
		}
		short := n.dial(token(t, demo.Bob, func(c *auth.Claims) { c.TTL = 2 * time.Second }))
		short.start(watch(demo.Alice)) // on a slow machine it comes too late for an event
		if e := short.end(); e.Code != 4403 {
			t.Error("expired:", e)
		}
	}
	back("refused and expired")
	for range 5 {
		stream(t, n, tok)
	}
	back("event streams")
	if base < 5 {
		t.Error("counted only", base, "goroutines of a whole server")
	}
}

// stream opens an event stream, reads its first event and goes away.
func stream(t *testing.T, n *node, tok string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.base+"/graphql", strings.NewReader(operation(watch(demo.Alice))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = bearer(tok)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if strings.Contains(s.Text(), `"offline"`) {
			return
		}
	}
	t.Error("no event came")
}
