package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

type historyPage struct {
	Messages []struct {
		ID, Seq  string
		Version  int
		Content  *string
		Delivery *struct{ Status string }
	}
	PageInfo struct {
		HasNextPage            bool
		StartCursor, EndCursor *string
	}
}

func (n *node) history(who http.Header, args string) historyPage {
	n.t.Helper()
	const q = `{ messages(channelId: %q%s) { messages { id seq version content delivery { status } } pageInfo { hasNextPage startCursor endCursor } } }`
	return field[historyPage](n.t, n.post(fmt.Sprintf(q, demo.Team, args), who), "messages")
}

// TestAChannelsPast: page by page down and up again, over HTTP, with what was edited,
// deleted and read; a single message by its id, many at once too; and null, or one
// refusal, for whoever may not read it.
func TestAChannelsPast(t *testing.T) {
	whole(t)
	url := database(t)
	n := inside(t, url, nil)
	alice, bob, erin := bearer(token(t, demo.Alice)), bearer(token(t, demo.Bob)), bearer(token(t, demo.Erin))
	var sent []string
	for i := range 7 {
		sent = append(sent, n.says(demo.Alice, demo.Team, fmt.Sprint("past", i), fmt.Sprint("number ", i)))
	}
	n.post(acknowledge("Read", demo.Team, sent[5]), bob)
	n.post(fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "edited", baseVersion: 1) { message { id } } }`, sent[4]), alice)
	n.post(fmt.Sprintf(`mutation { deleteMessage(messageId: %q) { id } }`, sent[3]), alice)
	top := n.history(alice, ", first: 3")
	if len(top.Messages) != 3 || !top.PageInfo.HasNextPage || top.Messages[0].ID != sent[6] || top.Messages[0].Delivery.Status != "sent" || top.Messages[1].Delivery.Status != "read" ||
		*top.Messages[2].Content != "edited" || top.Messages[2].Version != 2 {
		t.Errorf("%+v", top)
	}
	next := n.history(alice, fmt.Sprintf(", first: 2, before: %q", *top.PageInfo.EndCursor))
	if next.Messages[0].ID != sent[3] || next.Messages[0].Content != nil || next.Messages[1].ID != sent[2] {
		t.Errorf("%+v", next)
	}
	up := n.history(alice, fmt.Sprintf(", first: 4, after: %q", *next.PageInfo.StartCursor))
	if len(up.Messages) != 3 || up.PageInfo.HasNextPage || up.Messages[0].ID != sent[4] || up.Messages[2].ID != sent[6] {
		t.Errorf("%+v", up)
	}
	if p := n.history(bob, ", first: 1"); p.Messages[0].Delivery != nil {
		t.Errorf("how far another's message has come: %+v", p)
	}
	one := func(id string) string { return fmt.Sprintf(`message(id: %q) { seq content threadId }`, id) }
	r := n.post(`{ `+one(sent[6])+` }`, bob)
	if field[string](t, r, "message", "content") != "number 6" {
		t.Errorf("%s", r)
	}
	var joined strings.Builder // as Hasura asks for a list
	for i, id := range slices.Concat(sent, []string{uuid.NewString()}) {
		fmt.Fprintf(&joined, "f%d: %s ", i, one(id))
	}
	before := n.post(`{ `+joined.String()+` }`, bob)
	if !strings.Contains(string(before.Data), `"f7":null`) || strings.Count(string(before.Data), `"seq"`) != 7 || len(before.Errors) > 0 {
		t.Errorf("%s", before)
	}
	outside := n.post(`{ `+joined.String()+` }`, erin)
	if strings.Contains(string(outside.Data), "seq") || len(outside.Errors) > 0 {
		t.Errorf("from outside %s", outside)
	}
	listed := n.post(fmt.Sprintf(`{ realtimeConfig { maxPageMessages } sync(first: 1) { channels { channelId memberCount } } messages(channelId: %q, threadId: %q) { messages { id } } }`, demo.Team, uuid.NewString()), alice)
	if field[int](t, listed, "realtimeConfig", "maxPageMessages") != 1000 || strings.Contains(string(listed.Data), `"memberCount":0`) || !strings.Contains(string(listed.Data), `"messages":{"messages":[]}`) {
		t.Errorf("%s", listed)
	}
	page := func(channel, args string) string {
		return fmt.Sprintf(`{ messages(channelId: %q%s) { messages { id } } }`, channel, args)
	}
	team, end := demo.Team.String(), *top.PageInfo.EndCursor
	alice.Set("Content-Type", "application/json")
	erin.Set("Content-Type", "application/json")
	for name, c := range map[string]struct {
		query, code string
		who         http.Header
	}{
		"first 0":            {page(team, ", first: 0"), "validation-failed", alice},
		"first -1":           {page(team, ", first: -1"), "validation-failed", alice},
		"first 1,001":        {page(team, ", first: 1001"), "validation-failed", alice},
		"first huge":         {page(team, ", first: 2147483647"), "validation-failed", alice},
		"both ways":          {page(team, fmt.Sprintf(", before: %q, after: %q", end, end)), "validation-failed", alice},
		"no cursor":          {page(team, `, before: "%%%"`), "validation-failed", alice},
		"a cursor cut short": {page(team, `, after: "`+end[:30]+`"`), "validation-failed", alice},
		"another's cursor":   {page(team, fmt.Sprintf(", before: %q", end)), "validation-failed", erin},
		"another channel's":  {page(demo.General.String(), fmt.Sprintf(", before: %q", end)), "validation-failed", alice},
		"a thread's":         {page(team, fmt.Sprintf(", threadId: %q, before: %q", demo.Team, end)), "validation-failed", alice},
		"from outside":       {page(team, ""), "access-denied", erin},
		"nowhere":            {page(uuid.NewString(), ""), "access-denied", alice},
		"unread nowhere":     {fmt.Sprintf(`mutation { markUnread(messageId: %q) { id } }`, uuid.NewString()), "access-denied", alice},
		"unread outside":     {fmt.Sprintf(`mutation { markUnread(messageId: %q) { id } }`, sent[0]), "access-denied", erin},
		"to follow nothing":  {fmt.Sprintf(`mutation { followThread(threadId: %q) { id } }`, uuid.NewString()), "access-denied", alice},
	} {
		_, body := n.raw(http.MethodPost, operation(c.query), c.who)
		onlyTyped(t, name, body, c.code)
	}
}

// TestAThreadOverHTTP: followed, written in, read and marked unread, each with what it
// answers, what a client is brought that comes back, and what stays as it was.
func TestAThreadOverHTTP(t *testing.T) {
	whole(t)
	url := database(t)
	n := inside(t, url, nil)
	thread := uuid.NewString()
	if _, err := pgtest.Pool(t, url).Exec(t.Context(), `insert into public.nchat_threads (id, channel_id) values ($1, $2)`, thread, demo.Team); err != nil {
		t.Fatal(err)
	}
	alice, bob, erin := bearer(token(t, demo.Alice)), bearer(token(t, demo.Bob)), bearer(token(t, demo.Erin))
	const state = `threadId channelId unreadCount mentionCount followed lastReadMessageId`
	asked := fmt.Sprintf(`{ threadReadState(threadId: %q) { %s } readState(channelId: %q) { unreadCount } unreadTotals { threads } }`, thread, state, demo.Team)
	channelBefore := n.post(fmt.Sprintf(`{ readState(channelId: %q) { unreadCount } }`, demo.Team), bob)
	unread := field[int](t, channelBefore, "readState", "unreadCount")
	followed := n.post(fmt.Sprintf(`mutation { followThread(threadId: %q) { %s } }`, thread, state), bob)
	if !field[bool](t, followed, "followThread", "followed") {
		t.Fatalf("%s", followed)
	}
	cursor := field[string](t, n.post(`{ sync { cursor } }`, bob), "sync", "cursor")
	reply := field[string](t, n.post(fmt.Sprintf(`mutation { sendMessage(input: {channelId: %q, threadId: %q, clientMessageId: "reply", content: "x", mentions: [%q]}) { message { id } } }`, demo.Team, thread, demo.Bob), alice), "sendMessage", "message", "id")
	expect := func(what string, inThread, threads int) {
		t.Helper()
		r := n.post(asked, bob)
		if field[int](t, r, "threadReadState", "unreadCount") != inThread || field[int](t, r, "threadReadState", "mentionCount") != inThread ||
			field[int](t, r, "unreadTotals", "threads") != threads || field[int](t, r, "readState", "unreadCount") != unread {
			t.Errorf("%s: %s", what, r)
		}
	}
	expect("written", 1, 1)
	missed := n.post(fmt.Sprintf(`{ sync(cursor: %q) { threadReadStates { threadId unreadCount } } }`, cursor), bob)
	if !strings.Contains(string(missed.Data), fmt.Sprintf(`[{"threadId":%q,"unreadCount":1}]`, thread)) {
		t.Errorf("missed: %s", missed)
	}
	if r := n.post(fmt.Sprintf(`{ sync(cursor: %q) { cursor } messages(channelId: %q, threadId: %q) { messages { id threadId } } }`, cursor, demo.Team, thread), bob); !strings.Contains(string(r.Data), reply) {
		t.Errorf("%s", r)
	}
	n.post(fmt.Sprintf(`mutation { acknowledgeRead(input: [{channelId: %q, threadId: %q, messageId: %q}]) { unreadCount } }`, demo.Team, thread, reply), bob)
	expect("read", 0, 0)
	if r := n.post(fmt.Sprintf(`{ messageDelivery(messageId: %q) { status readCount } }`, reply), alice); field[int](t, r, "messageDelivery", "readCount") != 1 {
		t.Errorf("%s", r)
	}
	if r := n.post(fmt.Sprintf(`mutation { markUnread(messageId: %q) { channelId unreadCount } }`, reply), bob); field[int](t, r, "markUnread", "unreadCount") != unread {
		t.Errorf("%s", r)
	}
	expect("marked unread", 1, 1)
	n.post(acknowledge("Read", demo.Team, reply), bob) // an older client, which names no thread
	expect("read once more", 0, 0)
	n.post(fmt.Sprintf(`mutation { unfollowThread(threadId: %q) { id } }`, thread), bob)
	if r := n.post(asked, bob); field[bool](t, r, "threadReadState", "followed") {
		t.Errorf("%s", r)
	}
	if r := n.post(fmt.Sprintf(`{ threadReadState(threadId: %q) { id } }`, thread), erin); string(r.Data) != `{"threadReadState":null}` || len(r.Errors) > 0 {
		t.Errorf("from outside %s", r)
	}
}
