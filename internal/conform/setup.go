package conform

import (
	"context"
	"fmt"
	"strings"
)

// begin sees that the tokens are the three users', gets the server's limits, and
// brings all three online with nothing of their own choosing; it is put back
// afterwards as it was.
func (e *env) begin(c *C) {
	ctx, cancel := context.WithTimeout(c.ctx, 2*e.timeout)
	c.cleanup(func(*C) { cancel() })
	c.ctx = ctx
	e.config = c.ask(c.carol, `{ realtimeConfig { maxIds maxRooms maxBatch maxFrameBytes maxBodyBytes maxContentLength maxStatusLength maxOperationsPerSocket maxPageMessages initTimeoutMs offlineGraceMs } }`).at("realtimeConfig")
	for _, u := range e.users {
		if id := c.ask(u, `{ presenceSettings { userId } }`).at("presenceSettings.userId").String(); id != u.id {
			c.failf("the token for %s is %s's, and not %s's of the demo world", u.name, id, u.id)
		}
	}
	known := c.ask(c.bob, `{ readStates { channelId } }`).at("readStates").each("channelId")
	for _, room := range []string{general, team, aliceBob} {
		if !strings.Contains(fmt.Sprint(known), room) {
			c.failf("bob is no member of %s: the demo world is not there, or was changed", room)
		}
	}
	for _, u := range e.users {
		e.plain(c, u)
	}
	e.mute = c.raw(modern)
	for _, u := range e.users {
		u.live = c.enter(u, nil)
	}
	for _, who := range []*user{c.alice, c.carol} {
		st := c.watch(c.bob, `subscription { presenceChanged(userIds: [%q]) { status } }`, who.id)
		st.until(c, who.name+" online", func(v value) bool { return v.at("presenceChanged.status").String() == "online" })
		st.s.close()
	}
}

// plain gives a user the defaults, and notes how it was.
func (e *env) plain(c *C, u *user) {
	was := c.ask(u, `{ presenceSettings { %s } myPresence { manualStatus manualUntil customStatus { text emoji expiresAt } } }`, settingFields)
	c.cleanup(func(c *C) { putBack(c, u, was) })
	c.ask(u, `mutation { a: resetPresenceSettings { id } b: setPresence(status: online) { id } c: clearCustomStatus { id } d: stopAllTyping }`)
}

const settingFields = "visibility showOnlineStatus showLastSeen allowReadReceipts allowDeliveryReceipts invisibleMode broadcastTyping typingVisibility"

func putBack(c *C, u *user, was value) {
	input := make([]string, 0, 8)
	for f := range strings.FieldsSeq(settingFields) {
		input = append(input, f+": "+was.at("presenceSettings."+f).String())
	}
	c.ask(u, `mutation { updatePresenceSettings(input: { %s }) { id } }`, strings.Join(input, ", "))
	if manual := was.at("myPresence.manualStatus"); !manual.null() {
		until := ""
		if at := was.at("myPresence.manualUntil"); !at.null() {
			until = ", expiresAt: " + at.json()
		}
		c.ask(u, `mutation { setPresence(status: %s%s) { id } }`, manual, until)
	}
	if line := was.at("myPresence.customStatus"); !line.null() {
		c.ask(u, `mutation { setCustomStatus(input: { text: %s, emoji: %s, expiresAt: %s }) { id } }`,
			line.at("text").json(), line.at("emoji").json(), line.at("expiresAt").json())
	}
}

// change sets settings of a user's, and puts the defaults back after the check.
func (c *C) change(u *user, input string) {
	c.cleanup(func(c *C) { c.ask(u, `mutation { resetPresenceSettings { id } }`) })
	c.ask(u, `mutation { updatePresenceSettings(input: { %s }) { id } }`, input)
}

// seen is all that a presence shows.
const seen = "id userId status customStatus { text emoji expiresAt } lastSeenAt device"

// sees waits until a viewer is told of a presence that is as asked.
func sees(c *C, viewer *user, of, what string, is func(p value) bool) value {
	st := c.watch(viewer, `subscription { presenceChanged(userIds: [%q]) { %s } }`, of, seen)
	defer st.s.close()
	v, _ := st.until(c, what, func(v value) bool { return is(v.at("presenceChanged")) })
	return v.at("presenceChanged")
}

func status(want string) func(value) bool {
	return func(p value) bool { return p.at("status").String() == want }
}

// look is a presence as a viewer is answered, without whose it is.
func look(c *C, viewer *user, of string) string {
	p := c.ask(viewer, `{ presence(userId: %q) { %s } }`, of, seen).at("presence").json()
	return strings.ReplaceAll(p, of, "that user")
}

// text is one of this run's own.
func (e *env) text() string {
	e.key++
	return fmt.Sprintf("%s-%d", e.run, e.key)
}

// sent is a message that was sent, and is deleted after the check.
func sent(c *C, u *user, room, more string) value {
	key := c.e.text()
	r := c.ask(u, `mutation { sendMessage(input: { clientMessageId: %q, channelId: %q, content: %q%s }) {
		clientMessageId status duplicate breaksCover error { code message } message { %s } } }`, key, room, "said by "+key, more, messageFields).at("sendMessage")
	if r.at("status").String() != "sent" {
		c.failf("a message of %s was not sent: %s", u.name, r)
	}
	id := r.at("message.id")
	c.cleanup(func(c *C) { c.ask(u, `mutation { deleteMessage(messageId: %q) { id } }`, id) })
	return r
}

const messageFields = "id clientMessageId channelId threadId parentMessageId senderId content type metadata mentions seq version createdAt editedAt deletedAt delivery { status totalRecipients deliveredCount readCount }"
