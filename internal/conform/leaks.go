package conform

import (
	"fmt"
	"strings"
)

// shut is somebody who shows nothing to anybody.
func shut(c *C) {
	c.change(c.alice, "visibility: nobody")
	c.cleanup(func(c *C) {
		c.ask(c.alice, `mutation { a: clearCustomStatus { id } b: setPresence(status: online) { id } }`)
		c.ask(c.carol, `mutation { clearCustomStatus { id } }`)
	})
	sees(c, c.bob, aliceID, "alice offline", status("offline"))
	sees(c, c.carol, aliceID, "alice offline", status("offline"))
}

func shown() section {
	return section{shut, []check{
		{"leak E2: somebody hidden looks as somebody never seen", func(c *C) {
			stir(c)
			for _, viewer := range []*user{c.bob, c.carol} {
				c.same("alice", look(c, viewer, aliceID), look(c, viewer, nobodyID))
			}
			st := c.watch(c.bob, `subscription { presenceChanged(userIds: [%q]) { %s } }`, aliceID, seen)
			c.same("stream", strings.ReplaceAll(st.next(c, "the state").at("presenceChanged").json(), aliceID, "that user"), look(c, c.bob, nobodyID))
		}},
		{"leak E28: presenceVisibility of somebody hidden is that of somebody never seen", func(c *C) {
			c.same("alice", visibility(c, c.bob, aliceID), visibility(c, c.bob, nobodyID))
			c.that(!strings.Contains(visibility(c, c.bob, aliceID), "true"), "something is true")
		}},
		{"leak E4 E5: watchers of somebody hidden are told nothing", func(c *C) {
			st := watchBoth(c)
			stir(c)
			c.that(len(after(c, st)) == 0, "something was told of alice")
		}},
		{"leak E17: somebody hidden counts as offline", hiddenCounts},
		{"leak E18: filters, order and cursors do not find somebody hidden", hiddenFilters},
	}}
}

// separate are settings one by one, and what a viewer cannot do about them.
func separate() []check {
	return []check{
		{"leak: showOnlineStatus hides the status alone", func(c *C) {
			c.change(c.carol, "showOnlineStatus: false")
			sees(c, c.bob, carolID, "offline", status("offline"))
			c.same("visibility", visibility(c, c.bob, carolID), `{"canViewLastSeen":true,"canViewOnlineStatus":false,"canViewPresence":true,"isContact":false,"isInvisible":false}`)
		}},
		{"leak: showLastSeen hides when last seen alone", func(c *C) {
			c.change(c.carol, "showLastSeen: false")
			c.eventually(c.bob, "it is hidden", func(v value) bool {
				return v.at("presence.lastSeenAt").null() && v.at("presence.status").String() == "online"
			}, `{ presence(userId: %q) { status lastSeenAt } }`, carolID)
		}},
		{"leak E11: broadcastTyping off hides typing", func(c *C) { quiet(c, "broadcastTyping: false") }},
		{"leak E11: typingVisibility nobody hides typing", func(c *C) { quiet(c, "typingVisibility: nobody") }},
		{"leak E11: typingVisibility contacts is decided for each viewer", func(c *C) {
			c.change(c.carol, "typingVisibility: contacts")
			c.cleanup(func(c *C) { c.ask(c.carol, `mutation { removeContact(userId: %q) }`, aliceID) })
			c.ask(c.carol, `mutation { addContact(userId: %q) }`, aliceID)
			st, other := watchTyping(c, c.bob, inRoom(team)), watchTyping(c, c.alice, inRoom(team))
			shows(c, other, c.carol, inRoom(team))
			v := shows(c, st, c.alice, inRoom(team))
			c.same("bob is told of", v.at("users").each("userId"), []string{aliceID})
		}},
		{"leak E27: nobody makes oneself a contact", func(c *C) {
			c.change(c.carol, "visibility: contacts")
			sees(c, c.bob, carolID, "nothing", status("offline"))
			c.cleanup(func(c *C) { c.ask(c.bob, `mutation { removeContact(userId: %q) }`, carolID) })
			c.ask(c.bob, `mutation { addContact(userId: %q) }`, carolID)
			c.same("carol", look(c, c.bob, carolID), look(c, c.bob, nobodyID))
			c.that(!strings.Contains(visibility(c, c.bob, carolID), "true"), "something is true")
		}},
		{"leak E26: limits count what is asked for, seen or not", func(c *C) {
			most := c.e.config.at("maxIds").num()
			c.refused(c.bob, "validation-failed", `{ presences(userIds: %s) { id } }`, ids(most+1))
		}},
		{"leak E36: to whom is blocked one looks as never seen, and never types", blocked},
		{"leak E39: what is written in others' channels reaches nobody else", func(c *C) {
			st := c.watch(c.carol, `subscription { events(kinds: [messages, channels, members]) { payload { __typename ... on MessageCreated { message { channelId } } } } }`)
			st.next(c, "the beginning")
			of := sent(c, c.bob, aliceBob, "").at("message.id")
			sent(c, c.bob, team, "")
			v, before := st.until(c, "a message", is("events.payload.__typename", "MessageCreated"))
			c.same("first", v.at("events.payload.message.channelId"), team)
			c.that(len(before) == 0, "told %v", before)
			page := c.ask(c.carol, `{ message(id: %q) { id } sync(channelIds: [%q]) { channels { channelId } messages { id } readStates { channelId } } }`, of, aliceBob)
			c.same("asked", page.json(), `{"message":null,"sync":{"channels":[],"messages":[],"readStates":[]}}`)
		}},
	}
}

// quiet: carol's typing is not shown, alice's afterwards is.
func quiet(c *C, setting string) {
	c.change(c.carol, setting)
	st := watchTyping(c, c.bob, inRoom(team))
	types(c, c.carol, inRoom(team))
	v := shows(c, st, c.alice, inRoom(team))
	c.same("typing", v.at("totalCount").String()+fmt.Sprint(v.at("users").each("userId")), "1["+aliceID+"]")
	c.that(!strings.Contains(v.at("text").String(), "Carol"), "%s", v)
}

func blocked(c *C) {
	c.cleanup(func(c *C) {
		c.ask(c.alice, `mutation { unblockUser(userId: %q) }`, carolID)
		sees(c, c.carol, aliceID, "alice again", status("online"))
	})
	c.ask(c.alice, `mutation { blockUser(userId: %q) }`, carolID)
	sees(c, c.carol, aliceID, "nothing", status("offline"))
	c.same("alice", look(c, c.carol, aliceID), look(c, c.carol, nobodyID))
	c.same("visibility", visibility(c, c.carol, aliceID), visibility(c, c.carol, nobodyID))
	st := watchTyping(c, c.carol, inRoom(team))
	types(c, c.alice, inRoom(team))
	c.same("typing", shows(c, st, c.bob, inRoom(team)).at("users").each("userId"), []string{bobID})
	sees(c, c.bob, aliceID, "what others see", status("online"))
}

// apart is E23: what one may not see is answered as what there is not.
func apart() []check {
	rooms, texts := []string{aliceErin, noRoom}, []string{ofErin, noMessage}
	return []check{
		{"leak E23: queries of a hidden room or message answer as of none: null", func(c *C) {
			for i, room := range rooms {
				c.same(room, c.ask(c.bob, `{ a: channelPresence(channelId: %q) { totalCount } b: channelPresenceCounts(channelId: %q) { online } c: typing(room: { dmId: %q }) { id }
					d: readState(channelId: %q) { id } e: message(id: %q) { id } f: messageDelivery(messageId: %q) { id } g: typing(room: { channelId: %q }) { id } }`,
					room, room, room, room, texts[i], texts[i], room).json(), `{"a":null,"b":null,"c":null,"d":null,"e":null,"f":null,"g":null}`)
			}
			c.that(c.ask(c.bob, `{ threadReadState(threadId: %q) { id } }`, noThread).at("threadReadState").null(), "a thread there is none of")
		}},
		{"leak E23: mutations on a hidden room or message are refused as on none", func(c *C) {
			for _, m := range []string{
				`startTyping(room: { channelId: %[1]q }) { accepted }`, `startTyping(room: { dmId: %[1]q }) { accepted }`, `stopTyping(room: { dmId: %[1]q }) { accepted }`,
				`editMessage(messageId: %[2]q, content: "x", baseVersion: 1) { message { id } }`, `deleteMessage(messageId: %[2]q) { id }`, `markUnread(messageId: %[2]q) { id }`,
				`acknowledgeRead(input: [{ channelId: %[1]q, messageId: %[2]q }]) { id }`, `acknowledgeDelivered(input: [{ channelId: %[1]q, messageId: %[2]q }]) { id }`,
				`setChannelNotifications(channelId: %[1]q, input: { level: none }) { level }`,
			} {
				var was string
				for i, room := range rooms {
					got := c.refused(c.bob, "access-denied", "mutation { "+m+" %[3]s}", room, texts[i], "").same()
					c.that(i == 0 || got == was, "%s: %s and %s", m, was, got)
					was = got
				}
			}
		}},
		{"leak E23: a message to a hidden room fails as to none", func(c *C) {
			var was string
			for i, room := range rooms {
				got := c.ask(c.bob, `mutation { sendMessage(input: { clientMessageId: %q, channelId: %q, content: "x" }) { status error { code message retryable retryAfterMs } } }`, c.e.text(), room).at("sendMessage").json()
				c.that(strings.Contains(got, `"access-denied"`) && (i == 0 || got == was), "%s and %s", was, got)
				was = got
			}
		}},
		{"leak E23: queries that are refused are refused alike", func(c *C) {
			for _, q := range []string{`messages(channelId: %q) { messages { id } }`, `channelNotifications(channelId: %q) { level }`} {
				a, b := c.refused(c.bob, "access-denied", "{ "+q+" }", aliceErin), c.refused(c.bob, "access-denied", "{ "+q+" }", noRoom)
				c.same(q, a.same(), b.same())
			}
		}},
		{"leak E23: subscriptions on a hidden room are refused as on none", func(c *C) {
			for _, sub := range []string{`presenceWindow(channelId: %q) { snapshot }`, `messageChanged(channelId: %q) { kind }`, `deliveryChanged(channelId: %q) { id }`,
				`typingChanged(rooms: [{ channelId: %q }]) { id }`, `typingChanged(rooms: [{ dmId: %q }]) { id }`} {
				a := c.watch(c.bob, "subscription { "+sub+" }", aliceErin).ends(c, "access-denied")
				b := c.watch(c.bob, "subscription { "+sub+" }", noRoom).ends(c, "access-denied")
				c.same(sub, a.same(), b.same())
			}
		}},
		{"leak E23 E30: how others have read is asked of nowhere", func(c *C) {
			c.same("messageDelivery", c.ask(c.bob, `{ messageDelivery(messageId: %q) { id } deliveryStatuses(messageIds: [%q, %q]) { id } }`, inGeneral, inGeneral, ofDave).json(), `{"deliveryStatuses":[],"messageDelivery":null}`)
		}},
		{"leak: mySessions and contacts are one's own alone", func(c *C) {
			for _, u := range []*user{c.bob, c.carol} {
				v := c.ask(u, `{ mySessions { id } contacts { nodes { userId } } }`)
				c.that(v.at("mySessions").one("id", c.alice.live.ack.at("sessionId").String()).null(), "alice's session is %s's", u.name)
				c.that(v.at("contacts.nodes").one("userId", u.id).null(), "%s is its own contact", u.name)
			}
		}},
	}
}
