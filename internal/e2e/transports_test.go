package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

type variables = map[string]any

// asking sends an operation over one transport, and answers all that came for it
// until it was over: next and error, and what is told.
type asking func(query string, v variables) []result

// transports are the ways to a node: both protocols over sockets, an event stream, a request.
func (n *node) transports(tok string) map[string]asking {
	return map[string]asking{"graphql-transport-ws": n.over("graphql-transport-ws", tok), "graphql-ws": n.over("graphql-ws", tok),
		"event stream": n.fetching(tok, "text/event-stream"), "HTTP": n.fetching(tok, "application/json")}
}

func (n *node) fetching(tok, accept string) asking {
	return func(query string, v variables) (out []result) {
		n.t.Helper()
		body, err := json.Marshal(map[string]any{"query": query, "variables": v})
		if err != nil {
			n.t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.base+"/graphql", strings.NewReader(string(body)))
		if err != nil {
			n.t.Fatal(err)
		}
		req.Header = bearer(tok)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", accept)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			n.t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body) // a stream that is refused ends
		if err != nil {
			n.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimPrefix(line, "data:")
			var r result
			if strings.HasPrefix(strings.TrimSpace(line), "{") && json.Unmarshal([]byte(line), &r) == nil {
				out = append(out, r)
			}
		}
		return out
	}
}

// over asks over one socket. What came for an operation is known once another, after it, is answered.
func (n *node) over(protocol, tok string) asking {
	n.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{protocol}, HandshakeTimeout: patient}
	ws, res, err := d.DialContext(n.t.Context(), strings.Replace(n.base, "http", "ws", 1)+"/graphql", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = res.Body.Close()
	n.t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(patient))
	begin := map[string]string{"graphql-ws": "start"}[protocol]
	if begin == "" {
		begin = "subscribe"
	}
	write := func(m map[string]any) {
		n.t.Helper()
		if err := ws.WriteJSON(m); err != nil {
			n.t.Fatal(protocol, err)
		}
	}
	write(map[string]any{"type": "connection_init", "payload": map[string]any{"headers": map[string]string{"Authorization": "Bearer " + tok}}})
	return func(query string, v variables) (out []result) {
		n.t.Helper()
		write(map[string]any{"id": "it", "type": begin, "payload": map[string]any{"query": query, "variables": v}})
		write(map[string]any{"id": "after", "type": begin, "payload": map[string]any{"query": `{ realtimeConfig { serverTime } }`}})
		answered, over := false, false
		for !answered || !over {
			var m struct {
				ID, Type string
				Payload  json.RawMessage
			}
			if err := ws.ReadJSON(&m); err != nil {
				n.t.Fatal(protocol, err)
			}
			if m.ID == "after" {
				answered = answered || m.Type == "complete" // before that its id is in use
				continue
			}
			var r result
			switch m.Type {
			case "next", "data":
				_ = json.Unmarshal(m.Payload, &r)
				out = append(out, r)
			case "error":
				if text := string(m.Payload); !strings.HasPrefix(text, "[") {
					m.Payload = json.RawMessage("[" + text + "]")
				}
				_ = json.Unmarshal(m.Payload, &r.Errors)
				out, over = append(out, r), true
			case "complete":
				over = over || m.ID == "it"
			}
		}
		return out
	}
}

// TestWrongValuesAreTheCallersOnEveryTransport: an enum's value in another case,
// what is no id or time, and a subscription that is left without its one field, are
// each one error, that is not to be tried again and names what is wrong; nothing is
// changed by them and nothing logged.
func TestWrongValuesAreTheCallersOnEveryTransport(t *testing.T) {
	whole(t)
	log := &complaints{}
	n := insideLogged(t, database(t), map[string]string{"OPERATIONS_PER_MINUTE": "100000"}, log)
	tok := token(t, demo.Alice)
	const set = `mutation($s: PresenceStatus!) { setPresence(status: $s) { status } }`
	const left = "@skip and @include have left none"
	cases := []struct {
		query string
		v     variables
		field string
		names string
	}{
		{set, variables{"s": "AWAY"}, "s", `"AWAY"`}, {set, variables{"s": "Offline"}, "s", `"Offline"`}, {set, variables{"s": "ONLINE"}, "s", `"ONLINE"`}, {set, variables{"s": "BUSY "}, "s", "BUSY "},
		{`mutation($i: HeartbeatInput!) { heartbeat(input: $i) { device } }`, variables{"i": variables{"device": "WEB"}}, "i.device", `"WEB"`},
		{`query($s: [PresenceStatus!]) { channelPresence(channelId: "` + demo.Team.String() + `", status: $s) { totalCount } }`, variables{"s": []string{"online", "ONLINE"}}, "s[1]", `"ONLINE"`},
		{`query($v: ViewerKind!) { previewPresence(as: $v) { status } }`, variables{"v": "CONTACT"}, "v", `"CONTACT"`},
		{`mutation($i: [MarkInput!]!) { acknowledgeRead(input: $i) { lastReadMessageId } }`,
			variables{"i": []variables{{"channelId": demo.Team, "messageId": demo.Team}, {"channelId": demo.Team, "messageId": "temp-1"}}}, "input[1].messageId", `"temp-1"`},
		{`query($u: [uuid!]!) { presences(userIds: $u) { status } }`, variables{"u": []any{demo.Bob, strings.Repeat("é", 50)}}, "userIds[1]", `"` + strings.Repeat("é", 40) + `"`},
		{`mutation($t: timestamptz) { setPresence(status: busy, expiresAt: $t) { status } }`, variables{"t": "soon"}, "expiresAt", `"soon"`},
		{`subscription($k: [EventKind!]) { events(kinds: $k) { cursor } }`, variables{"k": []string{"Messages"}}, "k[0]", `"Messages"`},
		{`subscription($x: Boolean!) { myPresenceChanged @include(if: $x) { status } }`, variables{"x": false}, "", left},
		{`subscription { myPresenceChanged @skip(if: true) { status } }`, nil, "", left},
		{`subscription { ... @include(if: false) { myPresenceChanged { status } } }`, nil, "", left},
		{`subscription { a: myPresenceChanged { status } b: myPresenceChanged { status } }`, nil, "", ""},
	}
	for transport, ask := range n.transports(tok) {
		n.post(`mutation { setPresence(status: busy) { status } }`, bearer(tok))
		for _, c := range cases {
			if transport == "HTTP" && strings.HasPrefix(c.query, "subscription") {
				continue // it has none
			}
			list := ask(c.query, c.v)
			if len(list) != 1 || len(list[0].Errors) != 1 {
				t.Errorf("%s: %s: came %s", transport, c.query, list)
				continue
			}
			e := list[0].Errors[0]
			field, _ := e.Extensions["field"].(string)
			if e.Extensions["code"] != "validation-failed" || e.Extensions["retryable"] != false || field != c.field || !strings.Contains(e.Message, c.names) {
				t.Errorf("%s: %s %v: %s", transport, c.query, c.v, list)
			}
			if now := n.post(`{ myPresence { manualStatus } mySessions { device } }`, bearer(tok)).String(); !strings.Contains(now, `"manualStatus":"busy"`) || strings.Contains(now, `"web"`) {
				t.Errorf("%s: %s %v has changed something: %s", transport, c.query, c.v, now)
			}
		}
	}
	if list := log.take(); len(list) > 0 {
		t.Errorf("logged %.500q", list)
	}
}
