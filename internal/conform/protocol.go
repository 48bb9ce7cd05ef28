package conform

import (
	"fmt"
	"strings"

	"github.com/gorilla/websocket"
)

const (
	hello   = `{ realtimeConfig { serverTime } }`
	forever = `subscription { presenceSettingsChanged { id } }`
)

// openings are the rules of how a socket begins.
func openings() []check {
	return []check{
		{"protocol: a socket without a subprotocol is closed with 4406", func(c *C) { c.raw().closes(c, 4406) }},
		{"protocol: a socket with unknown subprotocols is closed with 4406", func(c *C) { c.raw("mqtt", "graphql").closes(c, 4406) }},
		{"protocol: of both subprotocols graphql-transport-ws is chosen", func(c *C) {
			c.same("subprotocol", c.raw(legacy, modern).ws.Subprotocol(), modern)
		}},
		{"protocol: connection_ack answers connection_init", func(c *C) { c.alive(c.socket(c.bob)) }},
		{"protocol: the token may stand as the bare Authorization key", func(c *C) {
			s := c.raw(modern)
			c.says(s, `{"type":"connection_init","payload":{"Authorization":"Bearer `+c.bob.token+`","presence":false}}`)
			c.expect(s, "connection_ack")
		}},
		{"protocol: a second connection_init is closed with 4429", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, initOf(c.bob.token, unseen))
			s.closes(c, 4429)
		}},
		{"protocol: two connection_inits at once are closed with 4429", func(c *C) {
			s := c.raw(modern)
			c.says(s, initOf(c.bob.token, unseen))
			c.says(s, initOf(c.bob.token, unseen))
			s.closes(c, 4429)
		}},
		{"protocol: a subscribe before connection_init is closed with 4401", func(c *C) {
			s := c.raw(modern)
			c.says(s, subscribeOf("subscribe", "1", hello))
			s.closes(c, 4401)
		}},
		{"protocol: a bad token is closed with 4403", func(c *C) {
			s := c.raw(modern)
			c.says(s, initOf("a.bad.token", nil))
			s.closes(c, 4403)
		}},
		{"protocol: a token with another signature is closed with 4403", func(c *C) {
			s := c.raw(modern)
			c.says(s, initOf(tampered(c.bob.token), nil))
			s.closes(c, 4403)
		}},
		{"protocol: a ping before connection_init is answered", func(c *C) { c.alive(c.raw(modern)) }},
		{"protocol: nobody is acknowledged before connection_init", func(c *C) {
			s := c.raw(modern)
			c.alive(s)
			c.says(s, initOf(c.bob.token, unseen))
			c.expect(s, "connection_ack")
		}},
	}
}

// tampered is a token that was signed by somebody else.
func tampered(token string) string {
	at := strings.LastIndex(token, ".") + 1
	swapped := []byte(token)
	for i := at; i < len(swapped); i++ {
		if swapped[i] = 'A'; token[i] == 'A' {
			swapped[i] = 'Q'
		}
	}
	return string(swapped)
}

// badMessages are those that must be answered with 4400, on an open socket.
var badMessages = []struct{ what, text string }{
	{"text that is no JSON", `hello`},
	{"an array", `[]`},
	{"null", `null`},
	{"a message without a type", `{}`},
	{"a type that is no string", `{"type":1}`},
	{"an unknown type", `{"type":"shout"}`},
	{"the older protocol's start", `{"id":"1","type":"start","payload":{"query":"` + hello + `"}}`},
	{"a server's message", `{"id":"1","type":"next","payload":{}}`},
	{"an id that is no string", `{"id":1,"type":"complete"}`},
	{"a complete without an id", `{"type":"complete"}`},
	{"a subscribe without an id", `{"type":"subscribe","payload":{"query":"` + hello + `"}}`},
	{"a subscribe with an empty id", `{"id":"","type":"subscribe","payload":{"query":"` + hello + `"}}`},
	{"a subscribe without a payload", `{"id":"1","type":"subscribe"}`},
	{"a subscribe without a query", `{"id":"1","type":"subscribe","payload":{}}`},
	{"a query that is no string", `{"id":"1","type":"subscribe","payload":{"query":1}}`},
	{"variables that are no object", `{"id":"1","type":"subscribe","payload":{"query":"` + hello + `","variables":[]}}`},
	{"a ping whose payload is no object", `{"type":"ping","payload":1}`},
}

func bads() (all []check) {
	for _, b := range badMessages {
		all = append(all, check{"protocol: " + b.what + " is closed with 4400", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, b.text)
			s.closes(c, 4400)
		}})
	}
	return append(all,
		check{"protocol: a connection_init whose payload is no object is closed with 4400", func(c *C) {
			s := c.raw(modern)
			c.says(s, `{"type":"connection_init","payload":[]}`)
			s.closes(c, 4400)
		}},
		check{"protocol: a binary frame is closed with 4400", func(c *C) {
			s := c.socket(c.bob)
			_ = s.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`))
			s.closes(c, 4400)
		}},
		check{"protocol: text that is no UTF-8 is closed with 4400 or 1007", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, "{\"type\":\"ping\",\"payload\":{\"x\":\"\xff\"}}")
			s.closes(c, 4400, websocket.CloseInvalidFramePayloadData)
		}},
		check{"protocol: a frame over maxFrameBytes is closed with 1009", func(c *C) {
			most := c.e.config.at("maxFrameBytes").num()
			if most > 8<<20 {
				skip("maxFrameBytes is %d", most)
			}
			s := c.socket(c.bob)
			_ = s.say(`{"type":"ping","payload":{"x":"` + strings.Repeat("x", most) + `"}}`)
			s.closes(c, websocket.CloseMessageTooBig)
		}},
		check{"protocol: a message in several frames is one", func(c *C) {
			s := c.socket(c.bob)
			w, err := s.ws.NextWriter(websocket.TextMessage)
			for _, part := range []string{`{"type":`, strings.Repeat(" ", 3000), `"ping"}`} {
				if err == nil {
					_, err = w.Write([]byte(part))
				}
			}
			c.that(err == nil && w.Close() == nil, "writing: %v", err)
			c.expect(s, "pong")
		}},
	)
}

// operations are the rules of what runs on a socket.
func operations() []check {
	return []check{
		{"protocol: a ping is answered with a pong of the same payload", func(c *C) { c.alive(c.socket(c.bob)) }},
		{"protocol: a pong nobody asked for is ignored", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, `{"type":"pong","payload":{"x":1}}`)
			c.alive(s)
		}},
		{"protocol: a query is answered with one next and then one complete", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, subscribeOf("subscribe", "q", hello))
			m := c.expect(s, "next")
			c.that(!m.payload(c).at("data.realtimeConfig.serverTime").null(), "answered %s", m)
			c.expect(s, "complete")
			c.alive(s)
		}},
		{"protocol: a request that cannot run is one error with a list, and no complete", func(c *C) {
			s := c.socket(c.bob)
			for _, query := range []string{`{ noSuchField }`, `{`, `query($a: uuid!) { presence(userId: $a) { id } }`} {
				c.says(s, subscribeOf("subscribe", "x", query))
				m := c.expect(s, "error")
				c.that(len(m.payload(c).list()) > 0, "an error without a list: %s", m)
				c.alive(s)
			}
		}},
		{"protocol: a subscription that is refused is one error, and its id is free", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, subscribeOf("subscribe", "x", fmt.Sprintf(`subscription { messageChanged(channelId: %q) { cursor } }`, noRoom)))
			c.expect(s, "error")
			c.alive(s)
			c.says(s, subscribeOf("subscribe", "x", hello))
			c.expect(s, "next")
		}},
		{"protocol: a second operation of an id that runs is closed with 4409", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, subscribeOf("subscribe", "x", forever))
			c.expect(s, "next")
			c.says(s, subscribeOf("subscribe", "x", hello))
			s.closes(c, 4409)
			c.same("reason", s.reason, "Subscriber for x already exists")
		}},
		{"protocol: a complete of the client's is not answered, and nothing comes after it", completed},
		{"protocol: an id may be used again after its complete", func(c *C) {
			s := c.socket(c.bob)
			for range 3 {
				c.says(s, subscribeOf("subscribe", "x", forever))
				c.expect(s, "next")
				c.says(s, `{"id":"x","type":"complete"}`)
			}
			c.alive(s)
		}},
		{"protocol: a complete of an id that does not run is ignored", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, `{"id":"never","type":"complete"}`)
			c.alive(s)
		}},
	}
}

// together are the rules of what runs beside each other.
func together() []check {
	return []check{
		{"protocol: operations run side by side under their own ids", func(c *C) {
			s := c.socket(c.bob)
			c.says(s, subscribeOf("subscribe", "a", forever))
			c.expect(s, "next")
			c.says(s, subscribeOf("subscribe", "b", hello))
			for _, kind := range []string{"next", "complete"} {
				if m := c.expect(s, kind); m.ID == nil || *m.ID != "b" {
					c.failf("answered %s", m)
				}
			}
			c.alive(s)
		}},
		{"protocol: operations past maxOperationsPerSocket are refused, and the socket stays", tooMany},
		{"protocol: a control ping is answered with its own data", func(c *C) {
			s := c.raw(modern)
			if err := s.ws.WriteControl(websocket.PingMessage, []byte("are you there"), deadline(c)); err != nil {
				c.failf("%v", err)
			}
			select {
			case got := <-s.pong:
				c.same("data", got, "are you there")
			case <-c.ctx.Done():
				c.failf("no pong came")
			}
		}},
		{"protocol: events of a subscription come in order", func(c *C) {
			st := c.watch(c.bob, `subscription { presenceChanged(userIds: [%q]) { customStatus { text } } }`, carolID)
			st.next(c, "the first state")
			c.cleanup(func(c *C) { c.ask(c.carol, `mutation { clearCustomStatus { id } }`) })
			for i := range 5 {
				c.ask(c.carol, `mutation { setCustomStatus(input: { text: "line %d" }) { id } }`, i)
				c.same("line", st.next(c, "a line").at("presenceChanged.customStatus.text"), fmt.Sprintf("line %d", i))
			}
		}},
		{"protocol: a socket that does not send connection_init is closed with 4408", func(c *C) {
			if ms := c.e.config.at("initTimeoutMs").num(); ms > int(c.e.timeout.Milliseconds()) {
				skip("initTimeoutMs is %d", ms)
			}
			c.e.mute.closes(c, 4408)
		}},
	}
}

// completed: what comes on another operation afterwards proves that nothing did on this one.
func completed(c *C) {
	s := c.socket(c.bob)
	line := fmt.Sprintf(`subscription { presenceChanged(userIds: [%q]) { customStatus { text } } }`, carolID)
	c.cleanup(func(c *C) { c.ask(c.carol, `mutation { clearCustomStatus { id } }`) })
	for _, id := range []string{"gone", "stays"} {
		c.says(s, subscribeOf("subscribe", id, line))
		c.expect(s, "next")
	}
	c.says(s, `{"id":"gone","type":"complete"}`)
	c.alive(s)
	for i := range 2 {
		c.ask(c.carol, `mutation { setCustomStatus(input: { text: "after %d" }) { id } }`, i)
		if m := c.expect(s, "next"); m.ID == nil || *m.ID != "stays" {
			c.failf("after its complete came %s", m)
		}
	}
	c.alive(s)
}

func tooMany(c *C) {
	most := c.e.config.at("maxOperationsPerSocket").num()
	if most > 200 {
		skip("maxOperationsPerSocket is %d", most)
	}
	s := c.socket(c.bob)
	for i := range most {
		c.says(s, subscribeOf("subscribe", fmt.Sprint(i), forever))
		c.expect(s, "next")
	}
	c.says(s, subscribeOf("subscribe", "one more", hello))
	m := c.expect(s, "error")
	c.that(!m.payload(c).at("0.extensions.code").null(), "answered %s", m)
	c.says(s, `{"id":"0","type":"complete"}`)
	c.alive(s)
	c.says(s, subscribeOf("subscribe", "now", hello))
	c.expect(s, "next")
}
