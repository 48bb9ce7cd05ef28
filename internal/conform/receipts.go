package conform

import "fmt"

// ack says up to where a user has come.
func ack(c *C, u *user, how, room string, message value) {
	c.ask(u, `mutation { %s(input: [{ channelId: %q, messageId: %q }]) { channelId } }`, how, room, message)
}

const progress = "status totalRecipients deliveredCount readCount"

// delivery is how far a message has come, as its sender sees it.
func delivery(c *C, u *user, of value, what, want string) {
	c.eventually(u, what, func(v value) bool { return v.at("messageDelivery").json() == want },
		`{ messageDelivery(messageId: %q) { %s } }`, of, progress)
}

func reached(status string, total, delivered, read int) string {
	return fmt.Sprintf(`{"deliveredCount":%d,"readCount":%d,"status":%q,"totalRecipients":%d}`, delivered, read, status, total)
}

func acknowledgements() []check {
	return []check{
		{"receipts: delivered, then read, is told to the sender", func(c *C) {
			st := c.watch(c.bob, `subscription { deliveryChanged(channelId: %q) { messageId status } }`, team)
			st.listening(c, func() { ack(c, c.carol, "acknowledgeRead", team, sent(c, c.bob, team, "").at("message.id")) })
			of := sent(c, c.bob, team, "").at("message.id")
			for _, step := range []struct{ how, want string }{{"acknowledgeDelivered", "delivered"}, {"acknowledgeRead", "read"}} {
				ack(c, c.carol, step.how, team, of)
				st.until(c, step.want, func(v value) bool {
					return v.at("deliveryChanged.messageId").String() == of.String() && v.at("deliveryChanged.status").String() == step.want
				})
			}
			delivery(c, c.bob, of, "one of two has read", reached("read", 2, 1, 1))
			v := c.ask(c.bob, `{ messageDelivery(messageId: %q) { receipts { totalCount nodes { userId } } } }`, of)
			c.same("receipts", v.at("messageDelivery.receipts.nodes").each("userId"), []string{carolID})
		}},
		{"receipts: a mark never moves backwards", func(c *C) {
			old, young := sent(c, c.bob, team, "").at("message.id"), sent(c, c.bob, team, "").at("message.id")
			ack(c, c.carol, "acknowledgeRead", team, young)
			ack(c, c.carol, "acknowledgeRead", team, old)
			ack(c, c.carol, "acknowledgeDelivered", team, old)
			v := c.ask(c.carol, `{ readState(channelId: %q) { lastReadMessageId lastDeliveredMessageId unreadCount } }`, team).at("readState")
			c.same("mark", v.json(), fmt.Sprintf(`{"lastDeliveredMessageId":%q,"lastReadMessageId":%q,"unreadCount":0}`, young, young))
		}},
		{"receipts: a mark counts for all before it", func(c *C) {
			old, young := sent(c, c.bob, team, "").at("message.id"), sent(c, c.bob, team, "").at("message.id")
			ack(c, c.carol, "acknowledgeRead", team, young)
			delivery(c, c.bob, old, "the older is read too", reached("read", 2, 1, 1))
		}},
		{"receipts: unread and mentions are counted, and told to one's own devices", func(c *C) {
			st := c.watch(c.carol, `subscription { readStateChanged { channelId unreadCount mentionCount } }`)
			st.listening(c, func() { ack(c, c.carol, "acknowledgeRead", team, sent(c, c.bob, team, "").at("message.id")) })
			of := sent(c, c.bob, team, fmt.Sprintf(`, mentions: [%q]`, carolID)).at("message.id")
			st.until(c, "one unread", is("readStateChanged", fmt.Sprintf(`{"channelId":%q,"mentionCount":1,"unreadCount":1}`, team)))
			ack(c, c.carol, "acknowledgeRead", team, of)
			st.until(c, "nothing unread", is("readStateChanged", fmt.Sprintf(`{"channelId":%q,"mentionCount":0,"unreadCount":0}`, team)))
		}},
		{"receipts: markUnread is one's own; the sender is told nothing new", func(c *C) {
			of := sent(c, c.bob, team, "").at("message.id")
			ack(c, c.carol, "acknowledgeRead", team, of)
			delivery(c, c.bob, of, "read", reached("read", 2, 1, 1))
			c.same("unread", c.ask(c.carol, `mutation { markUnread(messageId: %q) { unreadCount } }`, of).at("markUnread.unreadCount"), 1)
			c.same("delivery", c.ask(c.bob, `{ messageDelivery(messageId: %q) { %s } }`, of, progress).at("messageDelivery").json(), reached("read", 2, 1, 1))
			ack(c, c.carol, "acknowledgeRead", team, of)
		}},
		{"receipts: a mark on a message there is none of is refused, and the others count", func(c *C) {
			of := sent(c, c.bob, team, "").at("message.id")
			r := c.post(c.carol, fmt.Sprintf(`mutation { acknowledgeRead(input: [{ channelId: %q, messageId: %q }, { channelId: %q, messageId: %q }]) { channelId } }`, team, noMessage, team, of), nil)
			c.same("code", r.code(), "access-denied")
			c.same("index", fmt.Sprint(r.errors[0].Extensions["index"]), 0)
			c.same("mark", c.ask(c.carol, `{ readState(channelId: %q) { lastReadMessageId } }`, team).at("readState.lastReadMessageId"), of)
		}},
		{"receipts: how far a message has come is its sender's alone", func(c *C) {
			of := sent(c, c.bob, team, "").at("message.id")
			v := c.ask(c.carol, `{ messageDelivery(messageId: %q) { status } deliveryStatuses(messageIds: [%q, %q]) { messageId } }`, of, of, noMessage)
			c.same("another's", v.json(), `{"deliveryStatuses":[],"messageDelivery":null}`)
			c.same("own", c.ask(c.bob, `{ deliveryStatuses(messageIds: [%q, %q]) { messageId } }`, of, noMessage).at("deliveryStatuses").each("messageId"), []string{of.String()})
		}},
	}
}

// consents are the rules of whose receipts count, and of what is one's own.
func consents() []check {
	return []check{
		{"receipts: who keeps read receipts private is not counted, in count, list or status", func(c *C) {
			of := sent(c, c.bob, team, "").at("message.id")
			c.change(c.carol, "allowReadReceipts: false")
			ack(c, c.carol, "acknowledgeRead", team, of)
			ack(c, c.alice, "acknowledgeDelivered", team, of)
			delivery(c, c.bob, of, "both have it, nobody read", reached("delivered", 2, 2, 0))
			c.same("unread", c.ask(c.carol, `{ readState(channelId: %q) { unreadCount } }`, team).at("readState.unreadCount"), 0)
		}},
		{"receipts: who keeps delivery receipts private is not counted", func(c *C) {
			of := sent(c, c.bob, team, "").at("message.id")
			c.change(c.carol, "allowDeliveryReceipts: false, allowReadReceipts: false")
			ack(c, c.carol, "acknowledgeDelivered", team, of)
			ack(c, c.alice, "acknowledgeDelivered", team, of)
			delivery(c, c.bob, of, "alice has it", reached("delivered", 2, 1, 0))
		}},
		{"receipts: unreadTotals are without muted channels", func(c *C) {
			c.cleanup(func(c *C) {
				c.ask(c.carol, `mutation { setChannelNotifications(channelId: %q, input: { level: all, mutedUntil: null }) { level } }`, team)
			})
			of := sent(c, c.bob, team, "").at("message.id")
			before := c.eventually(c.carol, "unread", func(v value) bool { return v.at("readState.unreadCount").num() > 0 }, `{ readState(channelId: %q) { unreadCount } }`, team).at("readState.unreadCount").num()
			total := c.ask(c.carol, `{ unreadTotals { messages } }`).at("unreadTotals.messages").num()
			st := c.watch(c.carol, `subscription { unreadTotalsChanged { messages } }`)
			c.ask(c.carol, `mutation { setChannelNotifications(channelId: %q, input: { level: none }) { level } }`, team)
			st.until(c, "the channel's taken off", is("unreadTotalsChanged.messages", fmt.Sprint(total-before)))
			ack(c, c.carol, "acknowledgeRead", team, of)
		}},
		{"receipts: a thread's mark moves no channel's, and following is one's own", func(c *C) {
			of := sent(c, c.alice, general, fmt.Sprintf(`, threadId: %q, parentMessageId: %q`, thread, threadRoot)).at("message.id")
			was := c.ask(c.bob, `{ threadReadState(threadId: %q) { followed } readState(channelId: %q) { lastReadMessageId } }`, thread, general)
			if was.at("threadReadState.followed").v == false {
				c.cleanup(func(c *C) { c.ask(c.bob, `mutation { unfollowThread(threadId: %q) { id } }`, thread) })
			}
			c.same("followed", c.ask(c.bob, `mutation { followThread(threadId: %q) { followed } }`, thread).at("followThread.followed"), "true")
			c.ask(c.bob, `mutation { acknowledgeRead(input: [{ channelId: %q, threadId: %q, messageId: %q }]) { channelId } }`, general, thread, of)
			v := c.ask(c.bob, `{ threadReadState(threadId: %q) { unreadCount lastReadMessageId } readState(channelId: %q) { lastReadMessageId } }`, thread, general)
			c.same("thread", v.at("threadReadState").json(), fmt.Sprintf(`{"lastReadMessageId":%q,"unreadCount":0}`, of))
			c.same("channel", v.at("readState").json(), was.at("readState").json())
		}},
	}
}
