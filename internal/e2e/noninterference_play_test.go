package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
)

// runWith runs an operation with variables on a socket, to its one response.
func (s *sock) runWith(query string, variables map[string]any) result {
	s.t.Helper()
	return next(s.t, s.startWith(query, variables))
}

// line sets the friend's line and status, and nothing else.
func (w *world) line(text, status string) {
	w.t.Helper()
	q := mutation(`setPresence(status: $status) { status }`, `setCustomStatus(input: {text: $text}) { status }`)
	if r := w.friend.runWith(q, map[string]any{"text": text, "status": status}); len(r.Errors) > 0 {
		w.t.Fatal(r)
	}
}

// friendDoes all that comes on a stream: it reads the viewer's message, writes one, and says
// so in its line. It answers its message.
func (w *world) friendDoes(text, status string, mentions ...uuid.UUID) string {
	w.t.Helper()
	ack := mutation(`acknowledgeRead(input: [{channelId: $c, messageId: $m}]) { unreadCount }`)
	if r := w.friend.runWith(ack, w.given(ack, nil)); len(r.Errors) > 0 {
		w.t.Fatal(r)
	}
	id := w.sent(w.friend.runWith, text+" of the friend", mentions...)
	w.line(text, status)
	return id
}

// pulse is friendDoes, awaited on every stream that brings any of it.
func (w *world) pulse(text, status string, mentions ...uuid.UUID) string {
	w.t.Helper()
	id := w.friendDoes(text, status, mentions...)
	m, _ := w.vars["m"].(string)
	w.await("presence", `"text":"`+text+`"`)
	w.await("window", `"text":"`+text+`"`)
	w.await("messages", id)
	w.await("deliveries", m)
	w.await("events", `"text":"`+text+`"`, id, `"delivery":{"messageId":"`+m)
	return id
}

// step is one of the public schedule, and what the viewer then asks.
func (w *world) step(i int, p publicStep) {
	w.t.Helper()
	at := fmt.Sprint("step ", i)
	w.vars["h"] = w.user(p.about)
	w.tell(at, "extra", asText(w.cleaned(w.viewer.runWith(p.extra, w.given(p.extra, nil)))))
	if pushing.MatchString(p.extra) {
		w.pushes(at+", extra", false)
	}
	if p.writer > 0 {
		id := w.sent(func(q string, v map[string]any) result {
			w.token(p.writer)
			r, err := w.send(p.writer, q, v)
			if err != nil {
				w.t.Fatal(err)
			}
			return r
		}, at+" of the hidden")
		w.await("messages", id)
		w.await("events", id)
	}
	if p.reply {
		w.vars["tm"] = w.sentIn(w.viewer.runWith, "t", at+" in the thread")
		id := w.sentIn(w.friend.runWith, "t", at+" of the friend in the thread")
		w.await("messages", id)
		w.await("events", id)
	}
	w.say(at)
	var named []uuid.UUID
	if p.named {
		named = append(named, w.user(theViewer))
	}
	id := w.pulse(at, p.status, named...)
	w.pushes(at, false)
	if p.edit {
		r := w.friend.runWith(`mutation($id: uuid!) { editMessage(messageId: $id, content: "changed", baseVersion: 1) { message { id } } }`, map[string]any{"id": id})
		if len(r.Errors) > 0 {
			w.t.Fatal(r)
		}
		w.await("messages", `"content":"changed"`)
		w.await("events", `"content":"changed"`)
	}
	if p.remove {
		if r := w.friend.runWith(`mutation($id: uuid!) { deleteMessage(messageId: $id) { id } }`, map[string]any{"id": id}); len(r.Errors) > 0 {
			w.t.Fatal(r)
		}
		w.await("messages", `"kind":"deleted"`)
		w.await("events", `MessageDeleted`)
		w.pushes(at+", removed", false)
	} else {
		w.vars["last"] = id
	}
	w.write(at)
	for _, q := range p.ask {
		w.ask(at, q)
	}
}

// ask puts a question and writes the answer down.
func (w *world) ask(at string, q int) {
	w.t.Helper()
	r := w.viewer.runWith(questions[q], w.given(questions[q], nil))
	var d struct{ Sync struct{ Cursor string } }
	if json.Unmarshal(r.Data, &d) == nil && d.Sync.Cursor != "" {
		w.vars["cursor"] = d.Sync.Cursor
	}
	w.tell(at, fmt.Sprint("question ", q), asText(w.cleaned(r)))
}

// typeAtLast has the friend type until it is told: then whatever was typed before has been.
func (w *world) typeAtLast() {
	w.t.Helper()
	eventually(w.t, "the friend is told to type", func() bool {
		w.friend.runWith(`mutation($c: uuid!) { startTyping(room: {channelId: $c}) { accepted } }`, w.given("$c", nil))
		w.drain("typing")
		w.drain("events")
		for _, s := range []string{"typing", "events"} {
			told := false
			for _, r := range w.held[streamAt(s)] {
				told = told || bytes.Contains([]byte(r.String()), []byte("friend is typing"))
			}
			if !told {
				return false
			}
		}
		return true
	})
}
