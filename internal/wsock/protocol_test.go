package wsock_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

func TestPayloadsAsTheyWere(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{})
	p := r.modern(t)
	for query, want := range map[string]string{
		"{ hello }":                  `{"data":{"hello":"world"}}`,
		`mutation { set(v: "é\"") }`: `{"data":{"set":"é\""}}`,
		"{ half }":                   `{"errors":[{"message":"no half"}],"data":null}`,
		"subscription { deferred }":  `{"data":{"deferred":1},"hasNext":false,"label":"late"}`,
	} {
		p.subscribe("1", query)
		if m := p.wantOf("1", "next"); string(m.Payload) != want {
			t.Errorf("%s: %s", query, m.Payload)
		}
		p.wantOf("1", "complete")
	}
	p.send(`{"id":"n","type":"subscribe","payload":{"query":"query($v: Float!) { echo(v: $v) }","variables":{"v":1.5},"extensions":null,"operationName":null}}`)
	if m := p.wantOf("n", "next"); string(m.Payload) != `{"data":{"echo":"1.5"}}` {
		t.Errorf("variables: %s", m.Payload)
	}
	p.wantOf("n", "complete")
	p.settle()
}

func TestResponsesAreCopied(t *testing.T) {
	t.Parallel()
	p := newRig(t, wsock.Options{}).modern(t)
	p.subscribe("1", "subscription { ticks(n: 200) }")
	for i := 1; i <= 200; i++ {
		if m := p.wantOf("1", "next"); string(m.Payload) != fmt.Sprintf(`{"data":{"ticks":%d}}`, i) {
			t.Fatalf("tick %d: %s", i, m.Payload)
		}
	}
	p.wantOf("1", "complete")
}

func TestOperationsKnowTheirSocket(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{})
	p := r.modern(t)
	p.subscribe("s", "{ socket }")
	c := r.only(t)
	if m := p.want("next"); !strings.Contains(string(m.Payload), c.ID().String()) {
		t.Errorf("socket: %s", m.Payload)
	}
	if same, ok := r.Conn(c.ID()); !ok || same != c || c.Subprotocol() != wsock.TransportWS || c.RemoteIP() != "127.0.0.1" {
		t.Errorf("%v %v %s %s", ok, same == c, c.Subprotocol(), c.RemoteIP())
	}
}

func TestACompletedQueryIsNotAnswered(t *testing.T) {
	t.Parallel()
	p := newRig(t, wsock.Options{}).modern(t)
	p.subscribe("1", "{ gated }")
	p.send(`{"id":"1","type":"complete"}`)
	p.settle()
	p.subscribe("1", "{ hello }") // the id is free
	p.wantOf("1", "next")
	p.wantOf("1", "complete")
	p.settle()
}

// The peer reads nothing while an operation ends; then it completes it and uses
// the id again. What waits to be written is the old operation's.
func TestAnUnreadEndIsNotTheNewOperations(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{QueuedBytes: 100 << 10, WriteTimeout: patience}})
	p := r.modern(t)
	r.stall(t, p)
	p.subscribe("x", "{ hello }")
	eventually(t, "the query is over", func() bool { return r.schema.over.Load() == 1 })
	p.send(`{"id":"x","type":"complete"}`)
	p.subscribe("x", "{ echo(v: 2) }")
	p.send(`{"id":"flood","type":"complete"}`)
	var got []string
	for {
		m := p.next()
		if m.ID == nil || *m.ID != "x" {
			continue
		}
		got = append(got, m.Type+string(m.Payload))
		if m.Type == "complete" {
			break
		}
	}
	if want := `next{"data":{"echo":"2"}} complete`; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	p.settle()
}

func TestAnIDIsInUseUntilItsEndIsWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{QueuedBytes: 100 << 10, WriteTimeout: patience}})
	p := r.modern(t)
	r.stall(t, p)
	p.subscribe("x", "mutation { swell(kb: 0) }")
	eventually(t, "the query has run", func() bool { return r.schema.ran.Load() == 1 }) // its answer may be in the line behind the flood
	p.subscribe("x", "{ hello }")
	if got := r.ending(t); got.Code != 4409 || got.ByPeer {
		t.Errorf("%+v", got)
	}
}

// stall starts a flood that nobody reads, and waits until nothing moves.
func (r *rig) stall(t *testing.T, p *peer) {
	t.Helper()
	p.subscribe("flood", "subscription { flood(kb: 64) }")
	last, still := int64(0), 0
	eventually(t, "the socket is full", func() bool {
		if now := r.schema.made.Load(); now != last {
			last, still = now, 0
		}
		still++
		return last > 0 && still > 25
	})
}

func TestReasonsFitACloseFrame(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{})
	for id, reason := range map[string]string{
		"1":                      "Subscriber for 1 already exists",
		strings.Repeat("é", 200): "Subscriber for " + strings.Repeat("é", 46) + " already exists",
		"a\nb\x00":               "Subscriber for a\uFFFDb\uFFFD already exists",
	} {
		p := r.modern(t)
		p.subscribe(id, "subscription { forever }")
		p.subscribe(id, "{ hello }")
		p.wantClose(4409, reason)
	}
}

func TestMoreBadMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{})
	for name, text := range map[string]string{
		"id too long":          `{"id":"` + strings.Repeat("x", 1025) + `","type":"subscribe","payload":{"query":"{hello}"}}`,
		"extensions for query": `{"id":"1","type":"subscribe","payload":{"extensions":{}}}`,
		"null query":           `{"id":"1","type":"subscribe","payload":{"query":null}}`,
		"null payload":         `{"id":"1","type":"subscribe","payload":null}`,
		"pong payload":         `{"type":"pong","payload":"x"}`,
		"pong too large":       `{"type":"pong","payload":{"x":"` + strings.Repeat("x", 4<<10) + `"}}`,
		"ping too large":       `{"type":"ping"` + strings.Repeat(" ", 4<<10) + `}`,
		"null id":              `{"id":null,"type":"complete"}`,
		"older protocol's":     `{"type":"connection_terminate"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := r.modern(t)
			p.send(text)
			p.wantClose(4400, "")
		})
	}
}

func TestNullIsAbsent(t *testing.T) {
	t.Parallel()
	p := newRig(t, wsock.Options{}).dial(t, wsock.TransportWS)
	p.send(`{"type":"ping","payload":null}`)
	if m := p.want("pong"); m.Payload != nil {
		t.Errorf("payload %s", m.Payload)
	}
}

func TestControlPing(t *testing.T) {
	t.Parallel()
	p := newRig(t, wsock.Options{}).modern(t)
	got := make(chan string, 1)
	p.ws.SetPongHandler(func(data string) error { got <- data; return nil })
	if err := p.ws.WriteMessage(websocket.PingMessage, []byte("are you there")); err != nil {
		t.Fatal(err)
	}
	p.settle()
	if data := <-got; data != "are you there" {
		t.Errorf("pong %q", data)
	}
}

func TestUpgrades(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{CheckOrigin: func(q *http.Request) bool { return q.Header.Get("Origin") != "https://evil" }})
	if _, status, err := r.try(t, http.Header{"Origin": {"https://evil"}}, wsock.TransportWS); err == nil || status != http.StatusForbidden {
		t.Errorf("a foreign page: %d %v", status, err)
	}
	for name, header := range map[string]http.Header{
		"old version": {"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"8"}},
		"no key":      {"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}},
	} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(r.url, "ws"), nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header = header
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Sec-Websocket-Version") != "13" {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
	}
	if r.Len() != 0 {
		t.Errorf("%d sockets", r.Len())
	}
}

func TestNothingBeforeTheAck(t *testing.T) {
	t.Parallel()
	go4 := make(chan struct{})
	r := newRig(t, wsock.Options{Init: func(ctx context.Context, _ wsock.Request) (wsock.Accepted, error) {
		select {
		case <-go4:
		case <-ctx.Done():
		}
		return wsock.Accepted{Context: ctx, Ack: map[string]any{"a": 1}}, nil
	}})
	p := r.dial(t, wsock.LegacyWS)
	p.send(`{"type":"connection_init"}`)
	p.subscribe("1", "{ hello }")
	p.subscribe("2", "{ hello }")
	p.send(`{"id":"2","type":"stop"}`)
	p.subscribe("3", "{ hello }")
	p.subscribe("3", "{ echo(v: 3) }") // replaces
	p.send(`{"type":"connection_init"}`)
	p.wantClose(4429, "")

	p = r.dial(t, wsock.LegacyWS)
	p.subscribe("1", "{ hello }")
	p.wantClose(4401, "") // not even behind connection_init

	p = r.dial(t, wsock.LegacyWS)
	p.send(`{"type":"connection_init"}`)
	p.subscribe("2", "{ hello }")
	p.send(`{"id":"2","type":"stop"}`)
	p.subscribe("3", "{ hello }")
	p.subscribe("3", "{ echo(v: 3) }")
	p.send(`{`)
	p.want("connection_error") // all that has been read
	close(go4)
	if m := p.want("connection_ack"); string(m.Payload) != `{"a":1}` {
		t.Errorf("ack %s", m.Payload)
	}
	p.want("ka")
	if m := p.wantOf("3", "data"); string(m.Payload) != `{"data":{"echo":"3"}}` {
		t.Errorf("data %s", m.Payload)
	}
	p.wantOf("3", "complete")
	p.send(`{"type":"connection_terminate"}`)
	p.wantClose(1000, "")
}

func TestLegacyStopIsConfirmed(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{})
	p := r.legacy(t)
	p.subscribe("1", "subscription { forever }")
	p.send(`{"id":"1","type":"stop"}`)
	p.wantOf("1", "complete")
	eventually(t, "the stream ends", func() bool { return r.schema.live.Load() == 0 })
	p.send(`{"id":"1","type":"stop"}`) // and once only
	p.subscribe("2", "{ hello }")
	p.wantOf("2", "data")
}

func TestLegacyBadMessagesAreSaidAndIgnored(t *testing.T) {
	t.Parallel()
	p := newRig(t, wsock.Options{}).legacy(t)
	for _, text := range []string{`{`, `[]`, `{"type":"subscribe"}`, `{"type":"next"}`} {
		p.send(text)
		if m := p.want("connection_error"); !strings.Contains(string(m.Payload), "Invalid message") {
			t.Errorf("%s: %s", text, m.Payload)
		}
	}
	p.send(`{"id":"1","type":"start","payload":{}}`)
	p.wantOf("1", "error")
	p.subscribe("1", "{ hello }")
	p.wantOf("1", "data")
	p.wantOf("1", "complete")
}
