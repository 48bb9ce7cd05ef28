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

// types of a room, as a viewer's stream tells them.
func roomIn(room string) func(v value) value {
	return func(v value) value { return v.at("typingChanged").one("id", room) }
}

func watchTyping(c *C, u *user, rooms ...string) *stream {
	st := c.watch(u, `subscription { typingChanged(rooms: [{ %s }]) { %s } }`, strings.Join(rooms, " }, { "), typed)
	st.next(c, "the rooms")
	return st
}

func typing() []check {
	channel, dm := "channel:"+general, "dm:"+aliceBob
	return []check{
		{"typing: a start is told with count and text, and a stop takes it back", func(c *C) {
			st := watchTyping(c, c.bob, inRoom(general))
			types(c, c.carol, inRoom(general))
			v, _ := st.until(c, "carol typing", func(v value) bool { return roomIn(channel)(v).at("totalCount").num() > 0 })
			r := roomIn(channel)(v)
			c.same("who", r.at("totalCount").String()+r.at("users").json(), fmt.Sprintf(`1[{"displayName":"Carol","userId":%q}]`, carolID))
			c.that(strings.Contains(r.at("text").String(), "Carol"), "text %s", r.at("text"))
			c.ask(c.carol, `mutation { stopTyping(room: { %s }) { accepted } }`, inRoom(general))
			v, _ = st.until(c, "nobody typing", func(v value) bool { return roomIn(channel)(v).at("totalCount").num() == 0 })
			c.that(roomIn(channel)(v).at("text").null(), "a text of nobody")
		}},
		{"typing: it ends by itself", func(c *C) {
			st := watchTyping(c, c.bob, inRoom(team))
			ack := types(c, c.carol, inRoom(team))
			c.that(!ack.at("expiresAt").null(), "no expiresAt in %s", ack)
			st.until(c, "carol typing", func(v value) bool { return v.at("typingChanged.0.totalCount").num() == 1 })
			st.until(c, "nobody typing", func(v value) bool { return v.at("typingChanged.0.totalCount").num() == 0 })
		}},
		{"typing: a signal too soon is not taken, and changes nothing", func(c *C) {
			until := types(c, c.carol, inRoom(general)).at("expiresAt")
			for range 30 {
				ack := c.ask(c.carol, `mutation { startTyping(room: { %s }) { accepted expiresAt nextAllowedAt } }`, inRoom(general)).at("startTyping")
				if ack.at("accepted").v == false {
					c.same("expiresAt", ack.at("expiresAt"), until)
					c.that(!ack.at("nextAllowedAt").null(), "no nextAllowedAt in %s", ack)
					return
				}
				until = ack.at("expiresAt")
			}
			c.failf("thirty signals in a row were taken")
		}},
		{"typing: nobody is told of their own", func(c *C) {
			st := watchTyping(c, c.carol, inRoom(general))
			types(c, c.carol, inRoom(general))
			types(c, c.bob, inRoom(general))
			v, before := st.until(c, "bob typing", func(v value) bool { return v.at("typingChanged.0.totalCount").num() > 0 })
			c.same("who", v.at("typingChanged.0.users").each("userId"), []string{bobID})
			c.that(len(before) == 0, "told of %v", before)
		}},
		{"typing: a message in the room ends it", func(c *C) {
			st := watchTyping(c, c.bob, inRoom(general))
			types(c, c.carol, inRoom(general))
			st.until(c, "carol typing", func(v value) bool { return v.at("typingChanged.0.totalCount").num() == 1 })
			sent(c, c.carol, general, "")
			st.until(c, "nobody typing", func(v value) bool { return v.at("typingChanged.0.totalCount").num() == 0 })
		}},
		{"typing: stopAllTyping ends it in every room, threads and direct ones too", func(c *C) {
			inThread := fmt.Sprintf("channelId: %q, threadId: %q", general, thread)
			st := watchTyping(c, c.bob, inThread, fmt.Sprintf("dmId: %q", aliceBob))
			types(c, c.alice, inThread)
			types(c, c.alice, fmt.Sprintf("dmId: %q", aliceBob))
			shown := map[string]int{}
			all := func(want int) func(value) bool {
				return func(v value) bool {
					for _, r := range v.at("typingChanged").list() {
						shown[r.at("id").String()] = r.at("totalCount").num()
					}
					return shown[channel+":thread:"+thread] == want && shown[dm] == want
				}
			}
			st.until(c, "alice typing in both", all(1))
			c.same("stopAllTyping", c.ask(c.alice, `mutation { stopAllTyping }`).at("stopAllTyping"), "true")
			st.until(c, "nobody typing", all(0))
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
