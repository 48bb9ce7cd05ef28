package wsock

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestSubprotocols(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.dial().ends(4406)
	r.dial("mqtt").ends(4406)
	for _, offer := range [][]string{{LegacyWS, TransportWS}, {TransportWS, LegacyWS}} {
		if got := r.dial(offer...).ws.Subprotocol(); got != TransportWS {
			t.Errorf("%v: chose %s", offer, got)
		}
	}
}

func TestBadMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, text := range map[string]string{
		"no JSON": `hello`, "empty": ``, "null": `null`, "array": `[]`, "number": `1`, "no type": `{}`, "type no string": `{"type":1}`,
		"unknown type": `{"type":"start"}`, "trailing": `{"type":"ping"}{}`, "id no string": `{"type":"complete","id":1}`,
		"complete without id": `{"type":"complete"}`, "subscribe without id": `{"type":"subscribe","payload":{"query":"{hello}"}}`,
		"empty id": `{"id":"","type":"subscribe","payload":{"query":"{hello}"}}`, "no payload": `{"id":"1","type":"subscribe"}`,
		"payload no object": `{"id":"1","type":"subscribe","payload":"x"}`, "no query": `{"id":"1","type":"subscribe","payload":{}}`,
		"query no string": `{"id":"1","type":"subscribe","payload":{"query":1}}`, "variables no object": `{"id":"1","type":"subscribe","payload":{"query":"{hello}","variables":[]}}`,
		"operationName no string": `{"id":"1","type":"subscribe","payload":{"query":"{hello}","operationName":1}}`,
		"extensions no object":    `{"id":"1","type":"subscribe","payload":{"query":"{hello}","extensions":1}}`,
		"ping payload":            `{"type":"ping","payload":1}`, "other case": `{"Type":"ping"}`, "a server's message": `{"type":"next","id":"1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := r.open()
			p.t = t
			p.say(text)
			p.ends(4400)
		})
	}
	p := r.dial(TransportWS)
	p.say(`{"type":"connection_init","payload":[]}`)
	p.ends(4400)
}

func TestBadFrames(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Limits.FrameBytes = 4096 })
	p := r.open()
	_ = p.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`))
	p.ends(4400)
	p = r.open()
	_ = p.ws.WriteMessage(websocket.TextMessage, []byte("{\"type\":\"ping\",\"payload\":{\"x\":\"\xff\"}}"))
	p.ends(4400)
	p = r.open()
	p.say(`{"type":"ping","payload":{"x":"` + strings.Repeat("x", 5000) + `"}}`)
	p.ends(websocket.CloseMessageTooBig)
}

func TestInitTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Limits.InitTimeout = 50 * time.Millisecond })
	r.dial(TransportWS).ends(4408)
}

func TestAckComesFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.dial(TransportWS)
	p.say(`{"type":"connection_init","payload":{}}`)
	p.expect(`{"type":"connection_ack"`, `"sessionId"`)
	p = r.dial(TransportWS)
	p.say(`{"type":"connection_init","payload":null}`)
	p.expect(`"connection_ack"`)
}

func slowInit(release <-chan struct{}) func(*Options) {
	return func(o *Options) {
		init := o.Init
		o.Init = func(ctx context.Context, q Request) (Accepted, error) {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return init(ctx, q)
		}
	}
}

func TestSecondInit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.open()
	p.say(`{"type":"connection_init"}`)
	p.ends(4429)
	judging := newRig(t, slowInit(nil))
	p = judging.dial(TransportWS)
	p.say(`{"type":"connection_init"}`)
	p.say(`{"type":"connection_init"}`)
	p.ends(4429)
}

func TestSubscribeBeforeAck(t *testing.T) {
	t.Parallel()
	r := newRig(t, slowInit(nil))
	p := r.dial(TransportWS)
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"{hello}"}}`)
	p.ends(4401)
	p = r.dial(TransportWS)
	p.say(`{"type":"connection_init"}`)
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"{hello}"}}`)
	p.ends(4401)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.dial(TransportWS)
	p.say(`{"type":"connection_init","payload":{"deny":true}}`)
	p.ends(4403)
	p = r.dial(TransportWS)
	p.say(`{"type":"connection_init","payload":{"later":true}}`)
	p.ends(websocket.CloseTryAgainLater)
	p = r.dial(LegacyWS)
	p.say(`{"type":"connection_init","payload":{"deny":true}}`)
	p.expect(`"type":"connection_error"`, `"code":"invalid-jwt"`)
	p.ends(4403)
	panics := newRig(t, func(o *Options) {
		o.Init = func(context.Context, Request) (Accepted, error) { panic("init") }
	})
	p = panics.dial(TransportWS)
	p.say(`{"type":"connection_init"}`)
	p.ends(websocket.CloseTryAgainLater)
}

func TestPing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.dial(TransportWS)
	p.say(`{"type":"ping"}`)
	if got := p.expect(`"pong"`); got != `{"type":"pong"}` {
		t.Fatal(got)
	}
	p.say(`{"type":"ping","payload":{"a":[1,2]}}`)
	p.expect(`{"type":"pong","payload":{"a":[1,2]}}`)
	p.say(`{"type":"pong"}`)
	p.say(`{"type":"connection_init"}`)
	p.expect(`"connection_ack"`)
	p.say(`{"type":"ping","payload":null}`)
	p.expect(`"pong"`)
}

func TestDuplicateID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := strings.Repeat("é", 100)
	p := r.open()
	p.say(`{"id":"` + id + `","type":"subscribe","payload":{"query":"subscription {forever}"}}`)
	p.say(`{"id":"` + id + `","type":"subscribe","payload":{"query":"{hello}"}}`)
	p.ends(4409)
}

func TestIDReuse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.open()
	for range 200 {
		p.say(`{"id":"1","type":"subscribe","payload":{"query":"{hello}"}}`)
		p.expect(`"next"`)
		p.expect(`{"id":"1","type":"complete"}`)
	}
	// Completed by the client and used again at once: the old one's last words are not the new one's.
	for range 200 {
		p.say(`{"id":"2","type":"subscribe","payload":{"query":"subscription {ticks(n: 1000000)}"}}`)
		p.say(`{"id":"2","type":"complete"}`)
	}
	p.say(`{"id":"2","type":"subscribe","payload":{"query":"{hello}"}}`)
	for {
		if got := p.expect(`"id":"2"`); strings.Contains(got, "hello") {
			break
		}
	}
	p.expect(`{"id":"2","type":"complete"}`)
}

func TestOperations(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.open()
	p.say(`{"id":"q\"1","type":"subscribe","payload":{"query":"query Q {hello}","operationName":"Q","variables":{}}}`)
	p.expect(`{"id":"q\"1","type":"next","payload":{"data":{"hello":"world"}}}`)
	p.expect(`{"id":"q\"1","type":"complete"}`)
	p.say(`{"id":"m","type":"subscribe","payload":{"query":"mutation {set}"}}`)
	p.expect(`"next"`)
	p.expect(`"complete"`)
	p.say(`{"id":"f","type":"subscribe","payload":{"query":"{fails}"}}`)
	p.expect(`"next"`, `"errors":[`, `"data":{"fails":null}`)
	p.expect(`"complete"`)
	p.say(`{"id":"s","type":"subscribe","payload":{"query":"subscription S($n: Int!) {ticks(n: $n)}","variables":{"n":3}}}`)
	for i := 1; i <= 3; i++ {
		p.expect(fmt.Sprintf(`"next","payload":{"data":{"ticks":%d}}`, i))
	}
	p.expect(`{"id":"s","type":"complete"}`)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.open()
	for name, payload := range map[string]string{
		"parse": `{"query":"{"}`, "validate": `{"query":"{nope}"}`, "variables": `{"query":"subscription S($n: Int!) {ticks(n: $n)}","variables":{"n":"x"}}`,
		"no such operation": `{"query":"query A {hello} query B {hello}","operationName":"C"}`,
	} {
		p.say(`{"id":"` + name + `","type":"subscribe","payload":` + payload + `}`)
		p.expect(`{"id":"`+name+`","type":"error","payload":[{`, `"message"`)
	}
	p.say(`{"id":"ends","type":"subscribe","payload":{"query":"subscription {ends}"}}`)
	p.expect(`"next"`)
	p.expect(`{"id":"ends","type":"error"`, "over")
	p.say(`{"type":"ping"}`)
	p.expect(`"pong"`) // and no complete before it
}

func TestClientComplete(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.open()
	p.say(`{"id":"nobody","type":"complete"}`)
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription {big}"}}`)
	p.expect(`"next"`)
	p.say(`{"id":"1","type":"complete"}`)
	p.say(`{"type":"ping","payload":{"after":1}}`)
	for {
		if got, closed := p.read(); closed != nil {
			t.Fatal(closed)
		} else if strings.Contains(got, "after") {
			break
		}
	}
	p.say(`{"id":"2","type":"subscribe","payload":{"query":"{hello}"}}`)
	for range 2 {
		p.expect(`"id":"2"`) // nothing of the first any more: what was on its way came before the pong
	}
	eventually(t, "the subscription ends", func() bool { return r.engine.running.Load() == 0 })
}

func TestSideBySide(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.open()
	for i := range 50 {
		p.say(fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"subscription {ticks(n: 20)}"}}`, i))
	}
	last := map[string]int{}
	for done := 0; done < 50; {
		got := p.expect(`"id"`)
		var id string
		var n int
		if _, err := fmt.Sscanf(got, `{"id":%q,"type":"next","payload":{"data":{"ticks":%d}}}`, &id, &n); err != nil {
			done++
			continue
		}
		if n != last[id]+1 {
			t.Fatalf("%s: %d after %d", id, n, last[id])
		}
		last[id] = n
	}
}

func TestLegacy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.dial(LegacyWS)
	p.say(`{"type":"connection_init","payload":{}}`)
	p.expect(`"connection_ack"`)
	p.expect(`{"type":"ka"}`)
	skip := func() string { // keep-alives come when they come
		for {
			if got := p.expect(`"type"`); got != `{"type":"ka"}` {
				return got
			}
		}
	}
	p.say(`{"id":"1","type":"start","payload":{"query":"{hello}"}}`)
	if got := skip(); got != `{"id":"1","type":"data","payload":{"data":{"hello":"world"}}}` {
		t.Fatal(got)
	}
	if got := skip(); got != `{"id":"1","type":"complete"}` {
		t.Fatal(got)
	}
	p.say(`{"id":"2","type":"start","payload":{"query":"{nope}"}}`)
	if got := skip(); !strings.HasPrefix(got, `{"id":"2","type":"error","payload":{"message"`) {
		t.Fatal(got)
	}
	p.say(`{"id":"3","type":"start","payload":{"query":"subscription {forever}"}}`)
	p.say(`{"id":"3","type":"stop"}`)
	eventually(t, "stop ends it", func() bool { return r.engine.running.Load() == 0 })
	p.say(`{"type":"connection_terminate"}`)
	p.ends(websocket.CloseNormalClosure)
}

func TestLegacyReplaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.dial(LegacyWS)
	p.say(`{"type":"connection_init"}`)
	p.say(`{"type":"connection_init"}`) // the newer's rule holds for both
	p.ends(4429)
	p = r.dial(LegacyWS)
	p.say(`{"type":"connection_init"}`)
	p.expect(`"connection_ack"`)
	p.say(`{"id":"1","type":"start","payload":{"query":"subscription {forever}"}}`)
	eventually(t, "it runs", func() bool { return r.engine.running.Load() == 1 })
	p.say(`{"id":"1","type":"start","payload":{"query":"{hello}"}}`)
	for {
		if got := p.expect(`"type"`); strings.Contains(got, "hello") {
			break
		}
	}
	eventually(t, "the first ends", func() bool { return r.engine.running.Load() == 0 })
}
