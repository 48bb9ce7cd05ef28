package conform

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// messages are the rules of writing.
func messages() []check {
	return []check{
		{"messages: a message is sent with its number, version and key", func(c *C) {
			r := sent(c, c.bob, general, fmt.Sprintf(`, mentions: [%q], metadata: { a: 1 }`, aliceID))
			m := r.at("message")
			c.same("message", strings.Join([]string{m.at("senderId").String(), m.at("channelId").String(), m.at("type").String(), m.at("version").String(), m.at("mentions.0").String(), m.at("metadata").json()}, " "),
				strings.Join([]string{bobID, general, "text", "1", aliceID, `{"a":1}`}, " "))
			c.same("key", m.at("clientMessageId"), r.at("clientMessageId"))
			c.that(m.at("editedAt").null() && m.at("deletedAt").null() && r.at("duplicate").v == false, "%s", r)
		}},
		{"messages: the same key sends once, and answers the same message", func(c *C) {
			r := sent(c, c.bob, general, "")
			st := c.watch(c.carol, `subscription { events(kinds: [messages]) { payload { __typename ... on MessageCreated { message { id } } } } }`)
			st.next(c, "the beginning")
			for range 2 {
				v := c.ask(c.bob, `mutation { sendMessage(input: { clientMessageId: %q, channelId: %q, content: %q }) { duplicate status message { id } } }`, r.at("clientMessageId"), general, r.at("message.content")).at("sendMessage")
				c.same("again", v.at("duplicate").String()+v.at("message.id").String(), "true"+r.at("message.id").String())
			}
			next := sent(c, c.bob, general, "")
			v, _ := st.until(c, "a message", is("events.payload.__typename", "MessageCreated"))
			c.same("first told", v.at("events.payload.message.id"), next.at("message.id"))
			number, _ := strconv.Atoi(r.at("message.seq").String())
			c.same("number", next.at("message.seq"), number+1)
		}},
		{"messages: a key is its sender's alone", func(c *C) {
			r := sent(c, c.bob, general, "")
			v := c.ask(c.carol, `mutation { sendMessage(input: { clientMessageId: %q, channelId: %q, content: "carol's" }) { duplicate message { id } } }`, r.at("clientMessageId"), general).at("sendMessage")
			c.cleanup(func(c *C) { c.ask(c.carol, `mutation { deleteMessage(messageId: %q) { id } }`, v.at("message.id")) })
			c.that(v.at("duplicate").v == false && v.at("message.id").String() != r.at("message.id").String(), "%s", v)
			got := c.ask(c.carol, `{ message(id: %q) { clientMessageId delivery { status } } }`, r.at("message.id"))
			c.same("what others see", got.json(), `{"message":{"clientMessageId":null,"delivery":null}}`)
		}},
		{"messages: a key that was used with another content is refused", func(c *C) {
			r := sent(c, c.bob, general, "")
			v := c.ask(c.bob, `mutation { sendMessage(input: { clientMessageId: %q, channelId: %q, content: "another" }) { status error { code retryable } } }`, r.at("clientMessageId"), team).at("sendMessage")
			c.same("answer", v.json(), `{"error":{"code":"conflict","retryable":false},"status":"failed"}`)
		}},
		{"messages: an edit raises the version; the same once more changes nothing", func(c *C) {
			of := sent(c, c.bob, general, "").at("message.id")
			edit := fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "changed", baseVersion: 1) { message { content version editedAt } conflict { resolution } } }`, of)
			first, second := c.ask(c.bob, "%s", edit), c.ask(c.bob, "%s", edit)
			m := first.at("editMessage.message")
			c.that(m.at("content").String() == "changed" && m.at("version").num() == 2 && !m.at("editedAt").null(), "%s", m)
			c.same("again", second.at("editMessage.message").json(), m.json())
		}},
		{"messages: an edit of a version that is past tells its conflict", func(c *C) {
			of := sent(c, c.bob, general, "").at("message.id")
			c.ask(c.bob, `mutation { editMessage(messageId: %q, content: "one way", baseVersion: 1) { message { id } } }`, of)
			v := c.ask(c.bob, `mutation { editMessage(messageId: %q, content: "another way", baseVersion: 1) { conflict { resolution server client } } }`, of).at("editMessage.conflict")
			c.same("conflict", v.at("server").String()+", "+v.at("client").String(), "one way, another way")
			c.refused(c.bob, "validation-failed", `mutation { editMessage(messageId: %q, content: "x", baseVersion: 99) { message { id } } }`, of)
		}},
		{"messages: a deletion leaves only that it was, once", func(c *C) {
			of := sent(c, c.bob, general, fmt.Sprintf(`, mentions: [%q], metadata: { a: 1 }`, aliceID)).at("message.id")
			del := fmt.Sprintf(`mutation { deleteMessage(messageId: %q) { content metadata mentions deletedAt version } }`, of)
			first, second := c.ask(c.bob, "%s", del), c.ask(c.bob, "%s", del)
			m := first.at("deleteMessage")
			c.that(m.at("content").null() && m.at("metadata").null() && len(m.at("mentions").list()) == 0 && !m.at("deletedAt").null(), "%s", m)
			c.same("again", second.json(), first.json())
			c.that(c.ask(c.carol, `{ message(id: %q) { content } }`, of).at("message.content").null(), "it is still to be read")
		}},
		{"messages: nobody edits or deletes another's direct message", func(c *C) {
			of := sent(c, c.alice, aliceBob, "").at("message.id")
			a := c.refused(c.bob, "access-denied", `mutation { editMessage(messageId: %q, content: "x", baseVersion: 1) { message { id } } }`, of)
			b := c.refused(c.bob, "access-denied", `mutation { editMessage(messageId: %q, content: "x", baseVersion: 1) { message { id } } }`, noMessage)
			c.same("another's and none", a.same(), b.same())
			c.refused(c.bob, "access-denied", `mutation { deleteMessage(messageId: %q) { id } }`, of)
		}},
	}
}

// reading are the rules of what others are told, and of the past.
func reading() []check {
	return []check{
		{"messages: messageChanged tells created, updated, deleted, in this order", func(c *C) {
			st := c.watch(c.carol, `subscription { messageChanged(channelId: %q) { kind cursor message { id content } } }`, team)
			st.listening(c, func() { sent(c, c.bob, team, "") })
			of := sent(c, c.bob, team, "").at("message.id")
			c.ask(c.bob, `mutation { editMessage(messageId: %q, content: "changed", baseVersion: 1) { message { id } } }`, of)
			c.ask(c.bob, `mutation { deleteMessage(messageId: %q) { id } }`, of)
			var kinds []string
			for len(kinds) == 0 || kinds[len(kinds)-1] != "deleted" {
				v, _ := st.until(c, "an event", is("messageChanged.message.id", of.String()))
				kinds = append(kinds, v.at("messageChanged.kind").String())
			}
			c.same("kinds", kinds, []string{"created", "updated", "deleted"})
		}},
		{"messages: sendMessages keeps the order, and tells the digest", batch},
		{"messages: limits are refused, and named", func(c *C) {
			most := c.e.config.at("maxContentLength").num()
			v := c.ask(c.bob, `mutation { sendMessage(input: { clientMessageId: %q, channelId: %q, content: %q }) { status error { code message } } }`, c.e.text(), general, strings.Repeat("x", most+1)).at("sendMessage")
			c.same("too long", v.at("status").String()+" "+v.at("error.code").String(), "failed validation-failed")
			for _, more := range []string{`type: system, content: "x"`, `type: bot, content: "x"`, `content: ""`} {
				v := c.ask(c.bob, `mutation { sendMessage(input: { clientMessageId: %q, channelId: %q, %s }) { status error { code } } }`, c.e.text(), general, more).at("sendMessage")
				c.same(more, v.at("status").String()+" "+v.at("error.code").String(), "failed validation-failed")
			}
			one := fmt.Sprintf(`{ clientMessageId: "x", channelId: %q, content: "x" },`, general)
			c.refused(c.bob, "validation-failed", `mutation { sendMessages(input: [%s]) { digest } }`, strings.Repeat(one, c.e.config.at("maxBatch").num()+1))
		}},
		{"messages: the past comes in pages, newest first, without gap or double, and back", history},
		{"messages: a page's cursor is its caller's and its channel's", func(c *C) {
			at := c.ask(c.bob, `{ messages(channelId: %q, first: 1) { pageInfo { endCursor } } }`, general).at("messages.pageInfo.endCursor")
			c.refused(c.carol, "validation-failed", `{ messages(channelId: %q, before: %q) { messages { id } } }`, general, at)
			c.refused(c.bob, "validation-failed", `{ messages(channelId: %q, before: %q) { messages { id } } }`, team, at)
			c.refused(c.bob, "validation-failed", `{ messages(channelId: %q, before: "forged") { messages { id } } }`, general)
			c.refused(c.bob, "validation-failed", `{ messages(channelId: %q, first: %d) { messages { id } } }`, general, c.e.config.at("maxPageMessages").num()+1)
		}},
		{"messages: a thread's come by threadId", func(c *C) {
			of := sent(c, c.alice, general, fmt.Sprintf(`, threadId: %q, parentMessageId: %q`, thread, threadRoot)).at("message")
			c.same("thread", of.at("threadId"), thread)
			got := c.ask(c.bob, `{ messages(channelId: %q, threadId: %q) { messages { id threadId } } }`, general, thread).at("messages.messages")
			c.same("newest", got.at("0.id"), of.at("id"))
			for _, in := range got.each("threadId") {
				c.same("thread", in, thread)
			}
		}},
	}
}

func batch(c *C) {
	var input []string
	var keys []string
	for range 3 {
		keys = append(keys, c.e.text())
		input = append(input, fmt.Sprintf(`{ clientMessageId: %q, channelId: %q, content: "in a batch" }`, keys[len(keys)-1], general))
	}
	all := strings.Join(input, ",")
	v := c.ask(c.bob, `mutation { sendMessages(input: [%s]) { digest results { clientMessageId status message { id seq } } } }`, all).at("sendMessages")
	numbers := []int{}
	for _, r := range v.at("results").list() {
		c.cleanup(func(c *C) { c.ask(c.bob, `mutation { deleteMessage(messageId: %q) { id } }`, r.at("message.id")) })
		numbers = append(numbers, r.at("message.seq").num())
	}
	c.same("keys", v.at("results").each("clientMessageId"), keys)
	c.that(slices.IsSorted(numbers) && numbers[0] > 0, "numbers are %v", numbers)
	c.refused(c.bob, "validation-failed", `mutation { sendMessages(input: [%s], digest: "%064d") { digest } }`, all, 0)
	same := c.ask(c.bob, `mutation { sendMessages(input: [%s], digest: %q) { results { duplicate } } }`, all, v.at("digest"))
	c.same("with its digest", same.at("sendMessages.results").each("duplicate"), []string{"true", "true", "true"})
}

func history(c *C) {
	var said []string
	for range 5 {
		said = append(said, sent(c, c.bob, team, "").at("message.id").String())
	}
	slices.Reverse(said)
	page := func(more string) value {
		return c.ask(c.carol, `{ messages(channelId: %q, first: 2%s) { messages { id } pageInfo { hasNextPage endCursor startCursor } } }`, team, more).at("messages")
	}
	var got []string
	v := page("")
	for len(got) < len(said) {
		got = append(got, v.at("messages").each("id")...)
		if len(got) < len(said) {
			c.that(v.at("pageInfo.hasNextPage").v == true, "no next page after %v", got)
			v = page(fmt.Sprintf(`, before: %q`, v.at("pageInfo.endCursor")))
		}
	}
	c.same("newest first", got[:len(said)], said)
	// From the last page forward again, oldest first.
	back := page(fmt.Sprintf(`, after: %q`, v.at("pageInfo.startCursor"))).at("messages").each("id")
	at := slices.Index(got, v.at("messages.0.id").String())
	c.same("forward", back, []string{got[at-1], got[at-2]})
}
