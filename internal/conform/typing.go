package conform

import (
	"fmt"
	"strings"
	"time"
)

const typed = "id totalCount text users { userId displayName }"

// types says that a user types, as soon as the server takes it, and takes it back
// after the check.
func types(c *C, u *user, room string) value {
	c.cleanup(func(c *C) { c.ask(u, `mutation { stopAllTyping }`) })
	for {
		ack := c.ask(u, `mutation { startTyping(room: { %s }) { accepted expiresAt nextAllowedAt } }`, room).at("startTyping")
		if ack.at("accepted").v == true {
			return ack
		}
		at, err := time.Parse(time.RFC3339, ack.at("nextAllowedAt").String())
		c.that(err == nil, "throttled without a time: %s", ack)
		c.pause(max(time.Until(at), again), "the throttle of typing")
	}
}

func inRoom(id string) string { return fmt.Sprintf("channelId: %q", id) }

func watchTyping(c *C, u *user, rooms ...string) *stream {
	st := c.watch(u, `subscription { typingChanged(rooms: [{ %s }]) { %s } }`, strings.Join(rooms, " }, { "), typed)
	st.next(c, "the rooms")
	return st
}

// shows lets a user type until a stream of one room, or of several of which this is
// the first, tells of it, and hands on what it told first.
func shows(c *C, st *stream, u *user, room string) value {
	return st.provoked(c, func() { types(c, u, room) }, 3*time.Second).at("typingChanged.0")
}

// endsEarly sees that something ends typing before it would end by itself. A
// machine too slow to tell gets a few tries.
func endsEarly(c *C, end func()) {
	for range 3 {
		until := types(c, c.carol, inRoom(general)).at("expiresAt").String()
		c.eventually(c.bob, "carol typing", func(v value) bool { return v.at("typing.totalCount").num() == 1 }, `{ typing(room: { %s }) { totalCount } }`, inRoom(general))
		end()
		v := c.eventually(c.bob, "nobody typing", func(v value) bool { return v.at("typing.totalCount").num() == 0 },
			`{ typing(room: { %s }) { totalCount text } realtimeConfig { serverTime } }`, inRoom(general))
		c.that(v.at("typing.text").null(), "a text of nobody: %s", v)
		ends, err := time.Parse(time.RFC3339, until)
		now, wrong := time.Parse(time.RFC3339, v.at("realtimeConfig.serverTime").String())
		c.that(err == nil && wrong == nil, "times: %s, %s", until, v)
		if now.Before(ends) {
			return
		}
	}
	c.failf("it did not end before it would by itself")
}

func typing() []check {
	channel, dm := "channel:"+general, "dm:"+aliceBob
	return []check{
		{"typing: a start is told with count and text", func(c *C) {
			r := shows(c, watchTyping(c, c.bob, inRoom(general)), c.carol, inRoom(general))
			c.same("who", r.at("id").String()+r.at("totalCount").String()+r.at("users").json(), fmt.Sprintf(`%s1[{"displayName":"Carol","userId":%q}]`, channel, carolID))
			c.that(strings.Contains(r.at("text").String(), "Carol"), "text %s", r.at("text"))
		}},
		{"typing: a stop takes it back", func(c *C) {
			endsEarly(c, func() { c.ask(c.carol, `mutation { stopTyping(room: { %s }) { accepted } }`, inRoom(general)) })
		}},
		{"typing: a message in the room ends it", func(c *C) { endsEarly(c, func() { sent(c, c.carol, general, "") }) }},
		{"typing: it ends by itself", func(c *C) {
			st := watchTyping(c, c.bob, inRoom(team))
			c.same("count", shows(c, st, c.carol, inRoom(team)).at("totalCount"), 1)
			c.same("count", st.next(c, "nobody typing").at("typingChanged.0.totalCount"), 0)
		}},
		{"typing: a signal too soon is not taken, and changes nothing", throttled},
		{"typing: nobody is told of their own", func(c *C) {
			st := watchTyping(c, c.carol, inRoom(general))
			types(c, c.carol, inRoom(general))
			c.same("who", shows(c, st, c.bob, inRoom(general)).at("users").each("userId"), []string{bobID})
		}},
		{"typing: stopAllTyping ends it in every room, threads and direct ones too", func(c *C) {
			inThread := fmt.Sprintf("channelId: %q, threadId: %q", general, thread)
			st := watchTyping(c, c.bob, inThread, fmt.Sprintf("dmId: %q", aliceBob))
			shown := map[string]int{}
			note := func(v value) {
				for _, r := range v.at("typingChanged").list() {
					shown[r.at("id").String()] = r.at("totalCount").num()
				}
			}
			all := func(want int) bool { return shown[channel+":thread:"+thread] == want && shown[dm] == want }
			for !all(1) {
				note(st.provoked(c, func() {
					types(c, c.alice, inThread)
					types(c, c.alice, fmt.Sprintf("dmId: %q", aliceBob))
				}, 3*time.Second))
			}
			c.same("stopAllTyping", c.ask(c.alice, `mutation { stopAllTyping }`).at("stopAllTyping"), "true")
			for !all(0) {
				note(st.next(c, "nobody typing"))
			}
		}},
		{"typing: a room that is none is refused", func(c *C) {
			for _, room := range []string{"", fmt.Sprintf("channelId: %q, dmId: %q", general, aliceBob), fmt.Sprintf("threadId: %q", thread)} {
				c.refused(c.bob, "validation-failed", `mutation { startTyping(room: { %s }) { accepted } }`, room)
			}
		}},
		{"typing: rooms over maxRooms are refused", func(c *C) {
			most := c.e.config.at("maxRooms").num()
			c.watch(c.bob, `subscription { typingChanged(rooms: [%s]) { id } }`, strings.Repeat(fmt.Sprintf("{ %s },", inRoom(general)), most+1)).ends(c, "validation-failed")
		}},
	}
}

// throttled: one signal a second and room counts, but for a few at once.
func throttled(c *C) {
	began := time.Now()
	until := types(c, c.carol, inRoom(general)).at("expiresAt")
	for n := 1; n < 30; n++ {
		ack := c.ask(c.carol, `mutation { startTyping(room: { %s }) { accepted expiresAt nextAllowedAt } }`, inRoom(general)).at("startTyping")
		if ack.at("accepted").v == false {
			c.same("expiresAt", ack.at("expiresAt"), until)
			c.that(!ack.at("nextAllowedAt").null(), "no nextAllowedAt in %s", ack)
			return
		}
		c.that(float64(n) < 5+time.Since(began).Seconds(), "%d signals were taken within %s", n+1, time.Since(began))
		until = ack.at("expiresAt")
	}
	skip("the connection is slower than the throttle")
}
