package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// field is a value within an operation's data, by the names on the way to it.
func field[T any](t testing.TB, r result, path ...string) (out T) {
	t.Helper()
	raw := r.Data
	for _, name := range path {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatalf("no %v in %s", path, r)
		}
		raw = m[name]
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("no %v in %s: %v", path, r, err)
	}
	return out
}

func sendMessage(channel uuid.UUID, key, content string) string {
	return fmt.Sprintf(`mutation { sendMessage(input: {channelId: %q, clientMessageId: %q, content: %q}) { status duplicate message { id seq version } error { code retryable } } }`, channel, key, content)
}

// says sends a message and answers its id.
func (n *node) says(user, channel uuid.UUID, key, content string) string {
	n.t.Helper()
	return field[string](n.t, n.post(sendMessage(channel, key, content), bearer(token(n.t, user))), "sendMessage", "message", "id")
}

func acknowledge(what string, channel uuid.UUID, message string) string {
	return fmt.Sprintf(`mutation { acknowledge%s(input: [{channelId: %q, messageId: %q}]) { channelId lastReadMessageId unreadCount mentionCount } }`, what, channel, message)
}

// TestAMessageOnItsWay: sent by one, on the other's screen, delivered because it
// was written to the socket, read, and every step is told to whom it concerns,
// on another server too.
func TestAMessageOnItsWay(t *testing.T) {
	whole(t)
	url := database(t)
	a, b := inside(t, url, nil), inside(t, url, nil)
	alice, bob := a.dial(token(t, demo.Alice)), b.dial(token(t, demo.Bob), map[string]any{"autoDeliver": true})
	changed := bob.start(`subscription { messageChanged(channelId: "` + demo.Team.String() + `") { kind cursor message { id content delivery { status } } } }`)
	delivery := alice.start(`subscription { deliveryChanged { messageId status totalRecipients deliveredCount readCount receipts { nodes { userId } } } }`)
	reading := bob.start(`subscription { readStateChanged { channelId unreadCount mentionCount lastReadMessageId } }`)
	probes := 0 // these say nothing when they begin: so until each has said something
	eventually(t, "all subscriptions stand", func() bool {
		probes++
		probe := a.says(demo.Alice, demo.Team, fmt.Sprint("probe", probes), "is this on?")
		bob.run(acknowledge("Read", demo.Team, probe))
		return len(changed) > 0 && len(delivery) > 0 && len(reading) > 0
	})

	sent := field[string](t, alice.run(sendMessage(demo.Team, "k1", "hello")), "sendMessage", "message", "id")
	if r := until(t, changed, `"content":"hello"`); !strings.Contains(r.String(), `"delivery":null`) {
		t.Error(r)
	}
	r := until(t, delivery, sent)
	if s := r.String(); !strings.Contains(s, `"delivered"`) || !strings.Contains(s, `"totalRecipients":2,"deliveredCount":1,"readCount":0`) {
		t.Error("delivered by the socket:", r)
	}
	bob.run(acknowledge("Read", demo.Team, sent))
	r = until(t, delivery, `"read"`)
	if !strings.Contains(r.String(), `"readCount":1`) || !strings.Contains(r.String(), demo.Bob.String()) {
		t.Error(r)
	}
	until(t, reading, `"lastReadMessageId":"`+sent+`"`)
	if r := a.post(fmt.Sprintf(`{ messageDelivery(messageId: %q) { status } }`, sent), bearer(token(t, demo.Carol))); !strings.Contains(r.String(), `"messageDelivery":null`) {
		t.Error("somebody else learns how far it is:", r)
	}

	edit := fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "changed", baseVersion: 1) { message { version content } conflict { resolution } } }`, sent)
	if r := alice.run(edit); !strings.Contains(r.String(), `"version":2,"content":"changed"},"conflict":null`) {
		t.Error(r)
	}
	until(t, changed, `"updated"`)
	if r := alice.run(fmt.Sprintf(`mutation { deleteMessage(messageId: %q) { content deletedAt } }`, sent)); !strings.Contains(r.String(), `"content":null`) {
		t.Error(r)
	}
	until(t, changed, `"deleted"`)
}

// TestEventsBesideTheLog: kinds, presence and typing on the one subscription,
// and going on after its cursor.
func TestEventsBesideTheLog(t *testing.T) {
	whole(t)
	n := inside(t, database(t), nil)
	const payload = `{ cursor payload { __typename ... on MessageCreated { message { content } } ... on PresenceChanged { presence { userId status } }
	  ... on TypingChanged { rooms { totalCount } } ... on SyncProgress { done total } ... on StreamReset { reason } ... on MemberLeft { change { userId } }
	  ... on ReadStateChanged { readState { unreadCount } } ... on SettingsChanged { settings { visibility } } ... on ChannelUpdated { channel { name } } } }`
	bob := n.dial(token(t, demo.Bob))
	all := bob.start(`subscription { events(presenceOf: ["` + demo.Alice.String() + `"], rooms: [` + inChannel(demo.Team) + `]) ` + payload + ` }`)
	few := bob.start(`subscription { events(kinds: [members]) ` + payload + ` }`)
	if r := next(t, few); !strings.Contains(r.String(), `"StreamReset","reason":"started"`) {
		t.Error(r)
	}
	if r := next(t, all); !strings.Contains(r.String(), `"StreamReset","reason":"started"`) {
		t.Error("before it says that it begins:", r)
	}
	until(t, all, `"PresenceChanged"`)
	alice := n.dial(token(t, demo.Alice))
	until(t, all, `"online"`)
	provoked(t, all, `"rooms":[{"totalCount":1}]`, alice.types(inChannel(demo.Team)))
	r := n.says(demo.Alice, demo.Team, "e1", "first")
	if r == "" {
		t.Fatal("not sent")
	}
	var first result
	for told, ended := false, false; !told || !ended; { // to send is to have typed, and either is told first
		switch r := next(t, all); {
		case strings.Contains(r.String(), `"first"`):
			first, told = r, true
		case strings.Contains(r.String(), `"rooms":[{"totalCount":0}]`):
			ended = true
		}
	}
	cursor := field[string](t, first, "events", "cursor")
	n.says(demo.Alice, demo.Team, "e2", "second")
	until(t, all, `"second"`)
	n.post(`mutation { updatePresenceSettings(input: {visibility: contacts}) { visibility } }`, bearer(token(t, demo.Bob)))
	until(t, all, `"SettingsChanged"`)

	pool := pgtest.Pool(t, n.url)
	if _, err := pool.Exec(t.Context(), `update public.nchat_channels set name = 'renamed' where id = $1`, demo.Team); err != nil {
		t.Fatal(err)
	}
	until(t, all, `"renamed"`)
	if _, err := pool.Exec(t.Context(), `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Carol); err != nil {
		t.Fatal(err)
	}
	if r := next(t, few); !strings.Contains(r.String(), `"MemberLeft"`) || !strings.Contains(r.String(), demo.Carol.String()) {
		t.Error("kinds: [members] brings", r)
	}
	again := bob.start(`subscription { events(cursor: "` + cursor + `", kinds: [messages]) ` + payload + ` }`)
	if r := next(t, again); !strings.Contains(r.String(), `"second"`) {
		t.Error("after the cursor comes", r)
	}
	if r := next(t, again); !strings.Contains(r.String(), `"SyncProgress","done":1,"total":1`) {
		t.Error("and then", r)
	}
}

// TestSyncWaits: a poll is answered when there is something, and with its
// cursor when there is nothing.
func TestSyncWaits(t *testing.T) {
	whole(t)
	n := inside(t, database(t), nil)
	me := bearer(token(t, demo.Bob))
	cursor := field[string](t, n.post(`{ sync { cursor } }`, me), "sync", "cursor")
	ask := func(wait time.Duration) result {
		return n.post(fmt.Sprintf(`{ sync(cursor: %q, waitMs: %d, presenceOf: [%q], rooms: [%s]) { cursor hasMore reset messages { content } presences { userId } typing { totalCount } settings { visibility } } }`,
			cursor, wait.Milliseconds(), demo.Alice, inChannel(demo.Team)), me)
	}
	if r := ask(50 * time.Millisecond); !strings.Contains(r.String(), `"messages":[]`) || !strings.Contains(r.String(), `"presences":[{"userId":"`+demo.Alice.String()) || !strings.Contains(r.String(), `"typing":[{"totalCount":0}]`) {
		t.Error(r)
	}
	got := make(chan result, 1)
	go func() { got <- ask(25 * time.Second) }()
	n.says(demo.Alice, demo.Team, "w1", "at last")
	if r := next(t, got); !strings.Contains(r.String(), `"at last"`) {
		t.Error(r)
	}
}

// TestBadMessages: what may not be sent, edited, acknowledged or gone on from,
// each with its code, and nobody else is disturbed.
func TestBadMessages(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"OPERATIONS_PER_MINUTE": "100000", "MAX_CONTENT_CHARS": "100"})
	bob := newNeighbour(t, n)
	alice := bearer(token(t, demo.Alice))
	alice.Set("Content-Type", "application/json")
	mine := n.says(demo.Alice, demo.Team, "mine", "x")
	gone := n.says(demo.Alice, demo.Team, "gone", "x")
	n.post(fmt.Sprintf(`mutation { deleteMessage(messageId: %q) { id } }`, gone), alice)
	bobs := n.says(demo.Bob, demo.General, "bobs", "x")
	foreign := n.says(demo.Bob, demo.AliceBob, "dm", "x")
	theirs := field[string](t, n.post(`{ sync { cursor } }`, bearer(token(t, demo.Bob))), "sync", "cursor")
	filtered := field[string](t, n.post(fmt.Sprintf(`{ sync(channelIds: [%q]) { cursor } }`, demo.Team), alice), "sync", "cursor")
	list := func(n int, item func(int) string) string {
		out := make([]string, n)
		for i := range out {
			out[i] = item(i)
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	anID := func(int) string { return `"` + uuid.NewString() + `"` }
	aMark := func(int) string { return fmt.Sprintf(`{channelId: %q, messageId: %q}`, demo.Team, mine) }
	aMessage := func(i int) string {
		return fmt.Sprintf(`{channelId: %q, clientMessageId: "b%d", content: "x"}`, demo.Team, i)
	}
	erin := bearer(token(t, demo.Erin))
	erin.Set("Content-Type", "application/json")
	for name, c := range map[string]struct {
		query, code string
		who         http.Header
	}{
		"10,000 ids":              {`{ deliveryStatuses(messageIds: ` + list(10000, anID) + `) { status } }`, "validation-failed", alice},
		"1,001 ids":               {`{ deliveryStatuses(messageIds: ` + list(1001, anID) + `) { status } }`, "validation-failed", alice},
		"1,001 marks":             {`mutation { acknowledgeRead(input: ` + list(1001, aMark) + `) { id } }`, "validation-failed", alice},
		"101 messages":            {`mutation { sendMessages(input: ` + list(101, aMessage) + `) { digest } }`, "validation-failed", alice},
		"another digest":          {`mutation { sendMessages(input: ` + list(2, aMessage) + `, digest: "00") { digest } }`, "validation-failed", alice},
		"a forged cursor":         {`{ sync(cursor: "AAAA") { cursor } }`, "validation-failed", alice},
		"a cursor cut short":      {`{ sync(cursor: "` + theirs[:40] + `") { cursor } }`, "validation-failed", alice},
		"somebody else's cursor":  {`{ sync(cursor: "` + theirs + `") { cursor } }`, "validation-failed", alice},
		"a cursor of a filter":    {`{ sync(cursor: "` + filtered + `") { cursor } }`, "validation-failed", alice},
		"1,001 to a page":         {`{ sync(first: 1001) { cursor } }`, "validation-failed", alice},
		"to wait a minute":        {`{ sync(waitMs: 60000) { cursor } }`, "validation-failed", alice},
		"a receipt of another's":  {acknowledge("Read", demo.Team, foreign), "access-denied", alice},
		"a receipt of nothing":    {acknowledge("Read", demo.Team, uuid.NewString()), "access-denied", alice},
		"a receipt from outside":  {acknowledge("Read", demo.Team, mine), "access-denied", erin},
		"delivered from outside":  {acknowledge("Delivered", demo.Team, mine), "access-denied", erin},
		"an edit of another's":    {fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "y", baseVersion: 1) { message { id } } }`, bobs), "access-denied", alice},
		"an edit from outside":    {fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "y", baseVersion: 1) { message { id } } }`, mine), "access-denied", erin},
		"an edit to nothing":      {fmt.Sprintf(`mutation { editMessage(messageId: %q, content: " ", baseVersion: 1) { message { id } } }`, mine), "validation-failed", alice},
		"an edit over the limit":  {fmt.Sprintf(`mutation { editMessage(messageId: %q, content: %q, baseVersion: 1) { message { id } } }`, mine, strings.Repeat("ü", 101)), "validation-failed", alice},
		"an edit of the future":   {fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "y", baseVersion: 9) { message { id } } }`, mine), "validation-failed", alice},
		"a deletion of another's": {fmt.Sprintf(`mutation { deleteMessage(messageId: %q) { id } }`, foreign), "access-denied", erin},
		"delivery by nobody":      {`{ readStates { id } }`, "access-denied", http.Header{"Content-Type": {"application/json"}, "X-Hasura-Admin-Secret": {admin}}},
	} {
		_, body := n.raw(http.MethodPost, operation(c.query), c.who)
		onlyTyped(t, name, body, c.code)
	}
	for name, c := range map[string]struct{ input, code string }{
		"no content":        {`content: ""`, "validation-failed"},
		"blank":             {`content: " \n "`, "validation-failed"},
		"over the limit":    {`content: "` + strings.Repeat("ü", 101) + `"`, "validation-failed"},
		"a NUL":             {`content: "a\u0000b"`, "validation-failed"},
		"of the system":     {`content: "x", type: system`, "validation-failed"},
		"101 mentions":      {`content: "x", mentions: ` + list(101, anID), "validation-failed"},
		"metadata a list":   {`content: "x", metadata: [1]`, "validation-failed"},
		"metadata too long": {`content: "x", metadata: {a: "` + strings.Repeat("x", 17<<10) + `"}`, "validation-failed"},
		"a thread nowhere":  {`content: "x", threadId: "` + uuid.NewString() + `"`, "access-denied"},
	} {
		_, body := n.raw(http.MethodPost, operation(`mutation { sendMessage(input: {channelId: "`+demo.Team.String()+`", clientMessageId: "bad", `+c.input+`}) { status error { code retryable } } }`), alice)
		if !strings.Contains(body, `"status":"failed","error":{"code":"`+c.code+`","retryable":false}`) {
			t.Errorf("%s: %.300s", name, body)
		}
	}
	for name, key := range map[string]string{"no key": "", "a long key": strings.Repeat("k", 129), "a key with a line": "a\\nb"} {
		_, body := n.raw(http.MethodPost, operation(`mutation { sendMessage(input: {channelId: "`+demo.Team.String()+`", clientMessageId: "`+key+`", content: "x"}) { status error { code } } }`), alice)
		if !strings.Contains(body, `"failed","error":{"code":"validation-failed"}`) {
			t.Errorf("%s: %.300s", name, body)
		}
	}
	if _, body := n.raw(http.MethodPost, operation(sendMessage(demo.Team, "mine", "another")), alice); !strings.Contains(body, `"code":"conflict","retryable":false`) {
		t.Errorf("a key used before: %s", body)
	}
	if _, body := n.raw(http.MethodPost, operation(sendMessage(demo.Team, "mine", "x")), alice); !strings.Contains(body, `"duplicate":true`) || !strings.Contains(body, mine) {
		t.Errorf("the same again: %s", body)
	}
	_, body := n.raw(http.MethodPost, operation(fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "y", baseVersion: 1) { message { content } conflict { resolution } } }`, gone)), alice)
	if !strings.Contains(body, `"content":null},"conflict":{"resolution":"server_wins"}`) {
		t.Errorf("an edit of what is deleted: %s", body)
	}
	bob.undisturbed()
}
