package conform

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// told collects what a viewer's stream of several users tells.
const told = "userId status lastSeenAt customStatus { text }"

// after lets carol say something on a stream that tells of her too, twice, and
// hands on what the stream told before of anybody else: what was done earlier has
// been told by then, or is not.
func after(c *C, st *stream) (others []value) {
	for range 2 {
		line := c.e.text()
		c.ask(c.carol, `mutation { setCustomStatus(input: { text: %q }) { id } }`, line)
		_, before := st.until(c, "carol's line", func(v value) bool {
			return v.at("presenceChanged.userId").String() == carolID && v.at("presenceChanged.customStatus.text").String() == line
		})
		for _, v := range before {
			if v.at("presenceChanged.userId").String() != carolID {
				others = append(others, v.at("presenceChanged"))
			}
		}
	}
	return others
}

// watchBoth is bob's stream of alice and carol, past the first states.
func watchBoth(c *C) *stream {
	st := c.watch(c.bob, `subscription { presenceChanged(userIds: [%q, %q]) { %s } }`, aliceID, carolID, told)
	st.next(c, "a state")
	st.next(c, "a state")
	return st
}

// disappear makes alice invisible, as bob is told of it, until the section is over.
func disappear(c *C) {
	c.cleanup(func(c *C) {
		c.ask(c.alice, `mutation { a: setInvisibleMode(enabled: false) { id } b: setPresence(status: online) { id } c: clearCustomStatus { id } d: stopAllTyping }`)
		c.ask(c.carol, `mutation { clearCustomStatus { id } }`)
		sees(c, c.bob, aliceID, "alice again", status("online"))
	})
	c.ask(c.alice, `mutation { setCustomStatus(input: { text: "before" }) { id } }`)
	sees(c, c.bob, aliceID, "alice's line", is("customStatus.text", "before"))
	st := watchBoth(c)
	defer st.s.close()
	c.ask(c.alice, `mutation { setInvisibleMode(enabled: true) { id } }`)
	v, _ := st.until(c, "alice offline", func(v value) bool { return v.at("presenceChanged.userId").String() == aliceID })
	c.e.went = append([]value{v.at("presenceChanged")}, after(c, st)...)
	sees(c, c.carol, aliceID, "alice offline", status("offline"))
}

// stir is what alice does that nobody may notice.
func stir(c *C) {
	s := c.enter(c.alice, map[string]any{"device": map[string]string{"id": c.e.text(), "type": "ios", "name": "phone"}})
	c.start(s, `mutation { heartbeat(input: { active: true, hidden: false }) { id } }`).next(c, "an answer")
	for _, m := range []string{`setPresence(status: busy) { id }`, `setCustomStatus(input: { text: "staged" }) { id }`, `setPresence(status: away) { id }`, `setPresence(status: online) { id }`} {
		c.ask(c.alice, `mutation { %s }`, m)
	}
	c.ask(c.alice, `{ sync { cursor } channelPresence(channelId: %q) { totalCount } }`, general)
	s.close()
}

// invisible are the rows on somebody who is there and invisible: alice.
func invisible() section {
	return section{disappear, slices.Concat(unnoticed(), unspoken())}
}

// unnoticed are the rows on what is seen of its presence.
func unnoticed() []check {
	return []check{
		{"leak E3: going invisible is told as one disconnection, with when last seen", func(c *C) {
			c.same("events", len(c.e.went), 1)
			v := c.e.went[0]
			c.same("status", v.at("status").String()+" "+v.at("customStatus.text").String(), "offline before")
			c.that(!v.at("lastSeenAt").null(), "%s", v)
		}},
		{"leak E1: whether somebody is invisible is told to oneself alone", func(c *C) {
			ask := fmt.Sprintf(`{ presenceVisibility(userId: %q) { isInvisible } }`, aliceID)
			c.same("bob", c.ask(c.bob, "%s", ask).at("presenceVisibility.isInvisible"), "false")
			c.same("carol", c.ask(c.carol, "%s", ask).at("presenceVisibility.isInvisible"), "false")
			c.same("alice", c.ask(c.alice, "%s", ask).at("presenceVisibility.isInvisible"), "true")
			c.same("alice", c.ask(c.alice, `{ myPresence { status shownStatus invisible } }`).at("myPresence").json(), `{"invisible":true,"shownStatus":"offline","status":"online"}`)
		}},
		{"leak E28: presenceVisibility of somebody invisible is as its settings say", func(c *C) {
			c.same("visibility", visibility(c, c.bob, aliceID), `{"canViewLastSeen":true,"canViewOnlineStatus":true,"canViewPresence":true,"isContact":true,"isInvisible":false}`)
		}},
		{"leak E4 E5: whatever somebody invisible does, watchers are told nothing", func(c *C) {
			st := watchBoth(c)
			stir(c)
			c.that(len(after(c, st)) == 0, "something was told of alice")
		}},
		{"leak E6 E8: when last seen and the line stay as they were", func(c *C) {
			was := look(c, c.bob, aliceID)
			stir(c)
			c.same("alice", look(c, c.bob, aliceID), was)
			c.that(strings.Contains(was, `"before"`), "the line is %s", was)
		}},
		{"leak E7: when last seen is told to the minute", func(c *C) {
			text := c.ask(c.bob, `{ presence(userId: %q) { lastSeenAt } }`, aliceID).at("presence.lastSeenAt").String()
			at, err := time.Parse(time.RFC3339, text)
			c.that(err == nil && at.Equal(at.Truncate(time.Minute)), "it is %s", text)
		}},
		{"leak E32: no device is told", func(c *C) {
			c.that(c.ask(c.bob, `{ presence(userId: %q) { device } }`, aliceID).at("presence.device").null() && c.ask(c.bob, `{ presence(userId: %q) { device } }`, carolID).at("presence.device").null(), "one is")
		}},
	}
}

// unspoken are the rows on what it does.
func unspoken() []check {
	return []check{
		{"leak E9 E10: typing while invisible is in no list, count or text, also not in a direct conversation", hiddenTyping},
		{"leak E12 E13: receipts are held while invisible, delivered ones too", heldReceipts},
		{"leak E14: receipts in a group are not counted while invisible", func(c *C) {
			of := sent(c, c.bob, team, "").at("message.id")
			ack(c, c.alice, "acknowledgeRead", team, of)
			ack(c, c.carol, "acknowledgeRead", team, of)
			delivery(c, c.bob, of, "carol has read", reached("read", 2, 1, 1))
			c.same("receipts", c.ask(c.bob, `{ messageDelivery(messageId: %q) { receipts { totalCount nodes { userId } } } }`, of).at("messageDelivery.receipts.nodes").each("userId"), []string{carolID})
		}},
		{"leak E17: counts are over what the viewer sees", hiddenCounts},
		{"leak E18: filters, order and cursors are over what the viewer sees", hiddenFilters},
		{"leak E21: what is hidden takes no number", func(c *C) {
			first, _ := strconv.Atoi(sent(c, c.bob, team, "").at("message.seq").String())
			stir(c)
			types(c, c.alice, inRoom(team))
			c.same("number", sent(c, c.bob, team, "").at("message.seq"), first+1)
		}},
		{"leak E29: connecting and leaving is no membership", func(c *C) {
			st := c.watch(c.bob, `subscription { events(kinds: [members, channels, messages]) { payload { __typename } } }`)
			st.next(c, "the beginning")
			c.enter(c.alice, nil).close()
			sent(c, c.carol, team, "")
			_, before := st.until(c, "a message", is("events.payload.__typename", "MessageCreated"))
			c.that(len(before) == 0, "told %v", before)
		}},
		{"leak E33 E34: what is written while invisible adds nothing to presence, and its writer is warned", func(c *C) {
			was := look(c, c.bob, aliceID)
			st := watchBoth(c)
			r := sent(c, c.alice, team, "")
			c.same("breaksCover", r.at("breaksCover"), "true")
			c.same("breaksCover", c.ask(c.alice, `mutation { editMessage(messageId: %q, content: "changed", baseVersion: 1) { breaksCover } }`, r.at("message.id")).at("editMessage.breaksCover"), "true")
			c.that(len(after(c, st)) == 0, "something was told of alice")
			c.same("alice", look(c, c.bob, aliceID), was)
		}},
		{"leak E35: settings are told to nobody else", func(c *C) {
			st := c.watch(c.bob, `subscription { presenceSettingsChanged { userId showLastSeen } }`)
			st.next(c, "the settings")
			c.ask(c.alice, `mutation { updatePresenceSettings(input: { allowDeliveryReceipts: true, invisibleMode: true }) { id } }`)
			c.change(c.bob, "showLastSeen: false")
			c.same("told", st.next(c, "bob's own").at("presenceSettingsChanged").json(), fmt.Sprintf(`{"showLastSeen":false,"userId":%q}`, bobID))
		}},
		{"leak E8 E12: what was held is told when one is visible again", func(c *C) {
			of := sent(c, c.bob, aliceBob, "").at("message.id")
			ack(c, c.alice, "acknowledgeRead", aliceBob, of)
			stir(c)
			st := watchBoth(c)
			c.ask(c.alice, `mutation { setInvisibleMode(enabled: false) { id } }`)
			v, before := st.until(c, "alice online", is("presenceChanged.status", "online"))
			c.that(len(before) == 0 && v.at("presenceChanged.customStatus.text").String() == "staged", "%v, then %s", before, v)
			delivery(c, c.bob, of, "read", reached("read", 1, 1, 1))
		}},
	}
}

func visibility(c *C, viewer *user, of string) string {
	return c.ask(viewer, `{ presenceVisibility(userId: %q) { canViewPresence canViewOnlineStatus canViewLastSeen isContact isInvisible } }`, of).at("presenceVisibility").json()
}

func hiddenTyping(c *C) {
	dm := fmt.Sprintf("dmId: %q", aliceBob)
	st := watchTyping(c, c.bob, inRoom(team), dm)
	types(c, c.alice, inRoom(team))
	types(c, c.alice, dm)
	r := shows(c, st, c.carol, inRoom(team))
	c.same("typing", r.at("totalCount").String()+r.at("users").json(), fmt.Sprintf(`1[{"displayName":"Carol","userId":%q}]`, carolID))
	c.that(!strings.Contains(r.at("text").String(), "Alice") && !strings.Contains(r.at("text").String(), "other"), "%s", r)
	for _, room := range []string{inRoom(team), dm} {
		q := c.ask(c.bob, `{ typing(room: { %s }) { users { userId } text } }`, room)
		c.that(!strings.Contains(q.json(), aliceID) && !strings.Contains(q.json(), "Alice"), "%s", q)
	}
}

func heldReceipts(c *C) {
	st := c.watch(c.bob, `subscription { deliveryChanged { messageId } }`)
	st.listening(c, func() { ack(c, c.carol, "acknowledgeRead", team, sent(c, c.bob, team, "").at("message.id")) })
	of := sent(c, c.bob, aliceBob, "").at("message.id")
	ack(c, c.alice, "acknowledgeDelivered", aliceBob, of)
	ack(c, c.alice, "acknowledgeRead", aliceBob, of)
	last := sent(c, c.bob, team, "").at("message.id")
	ack(c, c.carol, "acknowledgeRead", team, last)
	_, before := st.until(c, "carol's", is("deliveryChanged.messageId", last.String()))
	for _, v := range before {
		c.that(v.at("deliveryChanged.messageId").String() != of.String(), "told of alice's")
	}
	c.same("delivery", c.ask(c.bob, `{ messageDelivery(messageId: %q) { %s } }`, of, progress).at("messageDelivery").json(), reached("sent", 1, 0, 0))
	c.same("alice's own", c.ask(c.alice, `{ readState(channelId: %q) { lastReadMessageId } }`, aliceBob).at("readState.lastReadMessageId"), of)
}

// hiddenCounts: whatever alice is in truth, she is counted as offline.
func hiddenCounts(c *C) {
	ask := fmt.Sprintf(`{ channelPresenceCounts(channelId: %q) { online away busy offline } }`, team)
	st := c.watch(c.bob, `subscription { presenceWindow(channelId: %q) { presences { userId status } counts { online away busy offline } } }`, team)
	was := c.ask(c.bob, "%s", ask)
	v := st.next(c, "a snapshot").at("presenceWindow")
	c.same("window and query", v.at("counts").json(), was.at("channelPresenceCounts").json())
	c.same("alice", v.at("presences").one("userId", aliceID).at("status"), "offline")
	for _, s := range []string{"busy", "away", "online"} {
		c.ask(c.alice, `mutation { setPresence(status: %s) { id } }`, s)
		c.same("counts", c.ask(c.bob, "%s", ask).json(), was.json())
	}
	automatic(c, c.carol)
	c.ask(c.carol, `mutation { setPresence(status: busy) { id } }`)
	v = st.next(c, "carol busy").at("presenceWindow")
	c.same("changed", v.at("presences").each("userId"), []string{carolID})
	c.same("offline", v.at("counts.offline"), was.at("channelPresenceCounts.offline"))
}

func hiddenFilters(c *C) {
	all := func() string {
		return c.ask(c.bob, `{ a: channelPresence(channelId: %q, first: 4) { totalCount nodes { userId } }
			b: channelPresence(channelId: %q, status: [online, away, busy]) { totalCount nodes { userId } }
			c: channelPresence(channelId: %q, status: [offline]) { totalCount nodes { userId } pageInfo { endCursor } } }`, general, general, general).json()
	}
	was := all()
	v, err := parse([]byte(was))
	c.that(err == nil, "%v", err)
	c.that(v.at("b.nodes").one("userId", aliceID).null() && !v.at("c.nodes").one("userId", aliceID).null(), "%s", was)
	for _, s := range []string{"busy", "online"} {
		c.ask(c.alice, `mutation { setPresence(status: %s) { id } }`, s)
		c.same("pages while alice is "+s, all(), was)
	}
}
