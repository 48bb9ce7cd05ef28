package conform

import (
	"fmt"

	"github.com/gorilla/websocket"
)

// old opens a socket of the older protocol.
func old(c *C) *socket {
	s := c.raw(legacy)
	c.says(s, initOf(c.bob.token, unseen))
	c.expect(s, "connection_ack")
	return s
}

// heard is the next message that is no keep-alive.
func heard(c *C, s *socket, kind string) message {
	for {
		m := c.frame(s, s.in, kind)
		if m.Type == "ka" {
			continue
		}
		if m.Type != kind {
			c.failf("want %s, got %s", kind, brief(m.String()))
		}
		return m
	}
}

// older are the rules of the legacy subprotocol graphql-ws.
func older() []check {
	return []check{
		{"legacy: connection_ack answers connection_init", func(c *C) { old(c) }},
		{"legacy: a query is answered with one data and then one complete", func(c *C) {
			s := old(c)
			for range 2 {
				c.says(s, subscribeOf("start", "q", hello))
				m := heard(c, s, "data")
				c.that(!m.payload(c).at("data.realtimeConfig.serverTime").null(), "answered %s", m)
				heard(c, s, "complete")
			}
		}},
		{"legacy: a stop is confirmed with complete, and nothing comes after it", func(c *C) {
			s := old(c)
			c.says(s, subscribeOf("start", "x", forever))
			heard(c, s, "data")
			c.says(s, `{"id":"x","type":"stop"}`)
			heard(c, s, "complete")
			c.says(s, subscribeOf("start", "y", hello))
			if m := heard(c, s, "data"); m.ID == nil || *m.ID != "y" {
				c.failf("after its complete came %s", m)
			}
		}},
		{"legacy: a start before connection_init is closed with 4401", func(c *C) {
			s := c.raw(legacy)
			c.says(s, subscribeOf("start", "q", hello))
			s.closes(c, 4401)
		}},
		{"legacy: a bad token is told by connection_error and closed with 4403", func(c *C) {
			s := c.raw(legacy)
			c.says(s, initOf("a.bad.token", nil))
			heard(c, s, "connection_error")
			s.closes(c, 4403)
		}},
		{"legacy: a second connection_init is closed with 4429", func(c *C) {
			s := old(c)
			c.says(s, initOf(c.bob.token, unseen))
			s.closes(c, 4429)
		}},
		{"legacy: connection_terminate is closed with 1000", func(c *C) {
			s := old(c)
			c.says(s, `{"type":"connection_terminate"}`)
			s.closes(c, websocket.CloseNormalClosure)
		}},
		{"legacy: a bad message is told by connection_error, and the socket stays", func(c *C) {
			s := old(c)
			for _, text := range []string{`{`, `[]`, `{"type":"shout"}`} {
				c.says(s, text)
				heard(c, s, "connection_error")
			}
			c.says(s, subscribeOf("start", "q", hello))
			heard(c, s, "data")
		}},
		{"legacy: a refused subscription is an error with one problem", func(c *C) {
			s := old(c)
			c.says(s, subscribeOf("start", "x", fmt.Sprintf(`subscription { messageChanged(channelId: %q) { cursor } }`, noRoom)))
			m := heard(c, s, "error")
			c.same("code", m.payload(c).at("extensions.code"), "access-denied")
		}},
	}
}
