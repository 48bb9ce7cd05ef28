package conform

import (
	"fmt"
	"slices"
	"strings"
)

const page = "cursor hasMore reset channels { channelId } messages { id channelId } deletedMessageIds readStates { channelId } presences { userId status } typing { id totalCount } members { userId }"

// drained is a cursor after which nothing is there yet.
func drained(c *C, u *user, more string) string {
	v := c.ask(u, `{ sync(first: 1000%s) { %s } }`, more, page).at("sync")
	for v.at("hasMore").v == true {
		v = c.ask(u, `{ sync(cursor: %q, first: 1000%s) { %s } }`, v.at("cursor"), more, page).at("sync")
	}
	return v.at("cursor").String()
}

func syncing() []check {
	return []check{
		{"sync: a fresh start brings channels, how far one is, and at most 50 messages of each", func(c *C) {
			v := c.ask(c.bob, `{ sync(first: 1000, presenceOf: [%q], rooms: [{ %s }]) { %s } }`, aliceID, inRoom(general), page).at("sync")
			in := v.at("channels").each("channelId")
			for _, room := range []string{general, team, aliceBob} {
				c.that(slices.Contains(in, room), "%s is not among %v", room, in)
			}
			per := map[string]int{}
			for _, room := range v.at("messages").each("channelId") {
				per[room]++
				c.that(per[room] <= 50, "more than 50 messages of %s", room)
			}
			c.same("presence of", v.at("presences").each("userId"), []string{aliceID})
			c.same("rooms", v.at("typing").each("id"), []string{"channel:" + general})
			c.that(v.at("cursor").String() != "" && len(v.at("readStates").list()) >= 3, "%s", brief(v.json()))
		}},
		{"sync: a cursor brings what came after it, and nothing else", func(c *C) {
			at := drained(c, c.bob, "")
			of := sent(c, c.carol, team, "").at("message.id")
			v := c.ask(c.bob, `{ sync(cursor: %q) { %s } }`, at, page).at("sync")
			c.same("messages", v.at("messages").each("id"), []string{of.String()})
			c.that(v.at("reset").v == false && v.at("hasMore").v == false, "%s", v.json())
			c.same("again", c.ask(c.bob, `{ sync(cursor: %q) { messages { id } } }`, v.at("cursor")).at("sync.messages").json(), "[]")
			c.same("the old one again", c.ask(c.bob, `{ sync(cursor: %q) { messages { id } } }`, at).at("sync.messages").each("id"), []string{of.String()})
		}},
		{"sync: hasMore tells that more is there, and pages lose and double nothing", func(c *C) {
			at := drained(c, c.bob, "")
			var said, got []string
			for range 3 {
				said = append(said, sent(c, c.carol, team, "").at("message.id").String())
			}
			for more := true; more; {
				v := c.ask(c.bob, `{ sync(cursor: %q, first: 1) { %s } }`, at, page).at("sync")
				got, at, more = append(got, v.at("messages").each("id")...), v.at("cursor").String(), v.at("hasMore").v == true
				c.that(!more || len(got) < len(said), "more after %v", got)
			}
			c.same("messages", got, said)
		}},
		{"sync: changes and deletions come as they are by then", func(c *C) {
			edited, deleted := sent(c, c.carol, team, "").at("message.id"), sent(c, c.carol, team, "").at("message.id")
			at := drained(c, c.bob, "")
			c.ask(c.carol, `mutation { editMessage(messageId: %q, content: "changed", baseVersion: 1) { message { id } } }`, edited)
			c.ask(c.carol, `mutation { deleteMessage(messageId: %q) { id } }`, deleted)
			v := c.ask(c.bob, `{ sync(cursor: %q) { messages { id content } deletedMessageIds } }`, at).at("sync")
			c.same("changed", v.at("messages").one("id", edited.String()).at("content"), "changed")
			c.that(strings.Contains(v.at("deletedMessageIds").json(), deleted.String()), "%s", v.json())
		}},
		{"sync: a cursor is its user's and its channels'; another's and a forged one are refused", func(c *C) {
			at := drained(c, c.bob, "")
			c.refused(c.carol, "validation-failed", `{ sync(cursor: %q) { cursor } }`, at)
			c.refused(c.bob, "validation-failed", `{ sync(cursor: %q, channelIds: [%q]) { cursor } }`, at, team)
			c.refused(c.bob, "validation-failed", `{ sync(cursor: "forged") { cursor } }`)
			c.watch(c.carol, `subscription { events(cursor: %q) { cursor } }`, at).ends(c, "validation-failed")
		}},
		{"sync: a page over maxPageMessages is refused", func(c *C) {
			c.refused(c.bob, "validation-failed", `{ sync(first: %d) { cursor } }`, c.e.config.at("maxPageMessages").num()+1)
		}},
		{"sync: waitMs holds the answer until there is news", func(c *C) {
			st := c.watch(c.bob, `{ sync(cursor: %q, waitMs: 20000) { messages { id } } }`, drained(c, c.bob, ""))
			of := sent(c, c.carol, team, "").at("message.id")
			c.same("news", st.next(c, "news").at("sync.messages").each("id"), []string{of.String()})
		}},
	}
}

// telling are the rules of the stream of everything.
func telling() []check {
	return []check{
		{"sync: events without a cursor begin now, and say so", func(c *C) {
			st := c.watch(c.bob, `subscription { events { cursor payload { __typename ... on StreamReset { reason } } } }`)
			c.same("first", st.next(c, "the beginning").at("events.payload").json(), `{"__typename":"StreamReset","reason":"started"}`)
		}},
		{"sync: events with a cursor bring what was missed, then what comes, each once", func(c *C) {
			at := drained(c, c.bob, "")
			missed := sent(c, c.carol, team, "").at("message.id")
			st := c.watch(c.bob, `subscription { events(cursor: %q, kinds: [messages]) { cursor payload { __typename ... on MessageCreated { message { id } } } } }`, at)
			first, _ := st.until(c, "the missed one", is("events.payload.__typename", "MessageCreated"))
			c.same("missed", first.at("events.payload.message.id"), missed)
			of := sent(c, c.carol, team, "").at("message.id")
			next, before := st.until(c, "the next one", is("events.payload.__typename", "MessageCreated"))
			c.same("next", next.at("events.payload.message.id"), of)
			for _, v := range before {
				c.same("between", v.at("events.payload.__typename"), "SyncProgress")
			}
			v := c.ask(c.bob, `{ sync(cursor: %q) { messages { id } } }`, first.at("events.cursor")).at("sync.messages")
			c.same("sync after an event's cursor", v.each("id"), []string{of.String()})
		}},
		{"sync: events bring presence and typing where asked", func(c *C) {
			automatic(c, c.carol)
			st := c.watch(c.bob, `subscription { events(presenceOf: [%q], rooms: [{ %s }], kinds: [presence, typing]) { payload { __typename ... on PresenceChanged { presence { userId status } } ... on TypingChanged { rooms { totalCount } } } } }`, carolID, inRoom(team))
			c.ask(c.carol, `mutation { setPresence(status: busy) { status } }`)
			st.until(c, "carol busy", is("events.payload.presence.status", "busy"))
			types(c, c.carol, inRoom(team))
			st.until(c, "carol typing", is("events.payload.rooms.0.totalCount", "1"))
		}},
		{"sync: a channel's events come in its order", func(c *C) {
			st := c.watch(c.bob, `subscription { events(kinds: [messages]) { payload { __typename ... on MessageCreated { message { id } } } } }`)
			st.next(c, "the beginning")
			for range 4 {
				of := sent(c, c.carol, team, "").at("message.id")
				v, _ := st.until(c, "it", is("events.payload.__typename", "MessageCreated"))
				c.same("message", v.at("events.payload.message.id"), fmt.Sprint(of))
			}
		}},
	}
}
