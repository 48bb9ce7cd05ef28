package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// reason is why somebody is hidden: how it becomes so, in every world, and what it
// then may do in some of them without anybody's noticing.
type reason struct {
	name   string
	choose string // what it does before the schedule begins; "": nothing
	begins chosen // those it begins with
	acts   []string
}

// chosen is a row of presence_settings, but for whose.
type chosen struct {
	Visibility string `json:"visibility"`
	Status     bool   `json:"show_online_status"`
	LastSeen   bool   `json:"show_last_seen"`
	Read       bool   `json:"allow_read_receipts"`
	Delivered  bool   `json:"allow_delivery_receipts"`
	Typing     bool   `json:"broadcast_typing"`
}

// What the hidden do. Acts of others change what the act before did, or are refused: all
// the better. $c is the channel it shares with the viewer, $d the one it does not, $m the
// viewer's last message, $v the viewer, $t a thread of $c with $tm, the viewer's last there, $s one of $d.
var (
	comings = []string{
		`heartbeat(input: {active: true, device: ios, name: "phone"}) { id }`, `heartbeat(input: {active: false, hidden: true}) { id }`,
		`setPresence(status: away) { status }`, `setPresence(status: busy) { status }`, `setPresence(status: online) { status }`, `setPresence(status: offline) { status }`,
		"socket", "socket",
	}
	lines  = []string{`setCustomStatus(input: {text: "hidden", emoji: "🙈"}) { status }`, `setCustomStatus(input: {text: "another"}) { status }`, `clearCustomStatus { status }`}
	typist = []string{`startTyping(room: {channelId: $c}) { accepted }`, `startTyping(room: {channelId: $c}) { accepted }`, `stopTyping(room: {channelId: $c}) { accepted }`, `stopAllTyping`, `startTyping(room: {channelId: $d}) { accepted }`,
		`startTyping(room: {channelId: $c, threadId: $t}) { accepted }`, `startTyping(room: {channelId: $d, threadId: $s}) { accepted }`}
	reads = []string{
		`acknowledgeDelivered(input: [{channelId: $c, messageId: $m}]) { unreadCount }`, `acknowledgeRead(input: [{channelId: $c, messageId: $m}]) { unreadCount }`,
		`acknowledgeRead(input: [{channelId: $c, messageId: $m}]) { unreadCount }`, `markUnread(messageId: $m) { unreadCount }`,
		`acknowledgeRead(input: [{channelId: $c, threadId: $t, messageId: $tm}]) { unreadCount }`, `markUnread(messageId: $tm) { unreadCount }`,
		`followThread(threadId: $t) { followed }`, `unfollowThread(threadId: $t) { followed }`,
	}
	elsewhere = []string{
		`sendMessage(input: {clientMessageId: $key, channelId: $d, content: "in secret", mentions: [$v]}) { message { id } }`,
		`sendMessage(input: {clientMessageId: $key, channelId: $d, threadId: $s, content: "in secret", mentions: [$v]}) { message { id } }`,
		`setChannelNotifications(channelId: $c, input: {level: none}) { level }`, `setChannelNotifications(channelId: $c, input: {level: all}) { level }`, `setQuietHours(input: {from: "20:00", to: "08:00", timeZone: "Asia/Tokyo"}) { from }`,
	}
	relations = []string{`addContact(userId: $v)`, `removeContact(userId: $v)`, `blockUser(userId: $f)`, `unblockUser(userId: $f)`}
	switches  = []string{
		`updatePresenceSettings(input: {showOnlineStatus: false, broadcastTyping: false}) { id }`, `updatePresenceSettings(input: {showOnlineStatus: true, broadcastTyping: true, typingVisibility: everyone}) { id }`,
		`updatePresenceSettings(input: {allowReadReceipts: false, allowDeliveryReceipts: false}) { id }`, `updatePresenceSettings(input: {allowReadReceipts: true, showLastSeen: true}) { id }`,
		`setInvisibleMode(enabled: true) { id }`, `setInvisibleMode(enabled: false) { id }`,
	}
	reasons = []reason{
		{"shows itself to nobody", "", chosen{"nobody", true, true, true, true, true}, slices.Concat(comings, lines, typist, reads, elsewhere, relations, switches, []string{`blockUser(userId: $v)`, `unblockUser(userId: $v)`})},
		{"shows itself to contacts", "", chosen{"contacts", true, true, true, true, true}, slices.Concat(comings, lines, typist, reads, elsewhere, switches, []string{`addContact(userId: $f)`, `removeContact(userId: $f)`})},
		{"blocks the viewer", "", chosen{"everyone", true, true, true, true, true}, slices.Concat(comings, lines, typist, reads, elsewhere, relations, switches, []string{`updatePresenceSettings(input: {visibility: contacts}) { id }`, `resetPresenceSettings { id }`})},
		{"is invisible", `setInvisibleMode(enabled: true) { id }`, chosen{"everyone", true, true, true, true, true}, slices.Concat(comings, lines, typist, reads, elsewhere)},
		{"shares nothing but its line", "", chosen{"everyone", false, false, false, false, false},
			slices.Concat(comings, typist, reads, elsewhere, []string{`setInvisibleMode(enabled: true) { id }`, `setInvisibleMode(enabled: false) { id }`})},
	}
)

// world is one of a family, with users of its own.
type world struct {
	t      *testing.T
	nodes  []*node // the viewer and the friend are on the first
	n      int
	groups []*group
	tokens map[int]string
	names  map[string]string
	vars   map[string]any // of the viewer's questions
	viewer *sock
	friend *sock
	subs   []<-chan result
	held   [][]result // told, and not yet written down
	told   []string   // the trace
	done   []string   // what was done in hiding, to be shown
	base   int64      // the number of the last message before the schedule
	keys   int
	pool   *pgxpool.Pool
	push   *pushed
}

func newWorld(t *testing.T, nodes []*node, number, groups int) *world {
	w := &world{t: t, nodes: nodes, n: number, names: map[string]string{}, tokens: map[int]string{}, held: make([][]result, len(streams))}
	for g := range groups {
		w.groups = append(w.groups, &group{first: firstHidden + g*len(reasons)})
	}
	all := []uuid.UUID{}
	for i := range w.people() {
		w.names[w.user(i).String()] = fmt.Sprintf("user %d", i)
		all = append(all, w.user(i))
	}
	for i := range 2 {
		w.names[w.channel(i).String()], w.names[w.thread(i).String()] = fmt.Sprintf("channel %d", i), fmt.Sprintf("thread %d", i)
	}
	nobody := uuid.MustParse(fmt.Sprintf("%08x-0000-4000-8000-%012d", number+1, 999))
	w.names[nobody.String()] = "nobody"
	w.vars = map[string]any{"all": append(all, nobody), "c": w.channel(0), "d": w.channel(1), "f": w.user(theFriend), "v": w.user(theViewer), "hm": uuid.New(), "m": nobody,
		"t": w.thread(0), "s": w.thread(1), "tm": nobody}
	return w
}

// people is how many users the world has.
func (w *world) people() int { return firstHidden + len(w.groups)*len(reasons) }

// variable finds those a document declares or an act uses.
var variable = regexp.MustCompile(`\$(\w+)`)

// given are the variables a document names.
func (w *world) given(text string, more map[string]any) map[string]any {
	vars := map[string]any{}
	for _, m := range variable.FindAllStringSubmatch(text, -1) {
		if v, ok := more[m[1]]; ok {
			vars[m[1]] = v
		} else if v, ok := w.vars[m[1]]; ok {
			vars[m[1]] = v
		}
	}
	return vars
}

// mutation declares what fields use.
func mutation(fields ...string) string {
	kinds := map[string]string{"c": "uuid!", "d": "uuid!", "m": "uuid!", "v": "uuid!", "f": "uuid!", "t": "uuid!", "s": "uuid!", "tm": "uuid!", "key": "String!", "text": "String!", "status": "PresenceStatus!", "version": "Int!"}
	text, declared, list := "", "", map[string]bool{}
	for i, f := range fields {
		text += fmt.Sprintf(" a%d: %s", i, f)
		for _, m := range variable.FindAllStringSubmatch(f, -1) {
			if !list[m[1]] {
				list[m[1]] = true
				declared += "$" + m[1] + ": " + kinds[m[1]] + " "
			}
		}
	}
	if declared != "" {
		declared = "(" + declared + ")"
	}
	return "mutation" + declared + " {" + text + " }"
}

// play is the whole schedule; told is then what the viewer was told.
func (w *world) play(plan []publicStep) {
	w.t.Helper()
	w.friend, w.viewer = w.nodes[0].dial(token(w.t, w.user(theFriend))), w.nodes[0].dial(token(w.t, w.user(theViewer)), map[string]any{"hidden": true})
	defer func() {
		for _, g := range w.groups {
			for _, s := range g.open {
				_ = s.ws.Close()
			}
		}
		_, _ = w.friend.ws.Close(), w.viewer.ws.Close()
	}()
	w.choose()
	w.line("before", "online")
	w.subs = make([]<-chan result, len(streams))
	for i, s := range streams {
		w.subs[i] = w.viewer.startWith(s.text, w.given(s.text, nil))
	}
	w.await("presence", `"before"`)
	w.await("window", `"before"`)
	w.await("events", "StreamReset")
	w.await("events", `"before"`)
	w.await("typing", `"totalCount":0`)
	w.await("settings", "visibility")
	for _, s := range []string{"secret", "secret typing", "secret window"} {
		w.await(s, "access-denied")
	}
	w.begin()
	for i, p := range plan {
		w.inHiding()
		w.step(i, p)
	}
	w.typeAtLast()
	w.write("ended")
	w.pushes("ended", true)
}

// choose has the hidden become so who choose that.
func (w *world) choose() {
	w.t.Helper()
	var choices []*deed
	for _, g := range w.groups {
		for i, why := range reasons {
			if why.choose != "" {
				choices = append(choices, &deed{user: g.first + i, fields: []string{why.choose}})
			}
		}
	}
	w.all(choices)
	for _, d := range choices {
		if len(d.answer.Errors) > 0 {
			w.t.Fatal(d.answer)
		}
	}
}

// begin goes on until the streams that begin without a word speak. What came by then
// depends on when each began, and nothing hidden has happened yet in any world.
func (w *world) begin() {
	w.t.Helper()
	for i := 0; ; i++ {
		text := fmt.Sprintf("begin %d", i)
		w.vars["m"] = w.sent(w.viewer.runWith, text) // messages may not be listened to yet
		w.friendDoes(text, "online")
		w.await("events", `"text":"`+text+`"`)
		ready := true
		for _, s := range []string{"messages", "deliveries", "read"} {
			w.drain(s)
			ready = ready && len(w.held[streamAt(s)]) > 0
		}
		if ready {
			break
		}
	}
	w.say("begun")
	w.vars["tm"] = w.sentIn(w.viewer.runWith, "t", "begun in the thread")
	w.vars["last"] = w.pulse("begun", "online")
	ready := `mutation($c: uuid!, $last: uuid!) { acknowledgeRead(input: [{channelId: $c, messageId: $last}]) { unreadCount } }`
	if r := w.viewer.runWith(ready, w.given(ready, nil)); len(r.Errors) > 0 {
		w.t.Fatal(r)
	}
	w.stand()
	for i := range streams {
		w.held[i] = nil
	}
	w.pushes("begun", false)
	w.told = nil
}

// stand takes $cursor, and the number of the last message, as they are now.
func (w *world) stand() {
	w.t.Helper()
	from := `query($c: uuid!) { messages(channelId: $c, first: 1) { messages { seq } } sync { cursor hasMore } }`
	var d struct {
		Messages struct {
			Messages []struct {
				Seq int64 `json:",string"`
			}
		}
		Sync struct {
			Cursor  string
			HasMore bool
		}
	}
	if r := w.viewer.runWith(from, w.given(from, nil)); json.Unmarshal(r.Data, &d) != nil || d.Sync.HasMore || len(d.Messages.Messages) != 1 {
		w.t.Fatal(r)
	}
	w.base, w.vars["cursor"] = d.Messages.Messages[0].Seq, d.Sync.Cursor
}

// say has the viewer write a message, which is $m from then on.
func (w *world) say(text string) {
	w.t.Helper()
	w.vars["m"] = w.sent(w.viewer.runWith, text)
	w.await("messages", `"content":"`+text+`"`)
}

// sent writes into the shared channel by a socket's or HTTP's operation.
func (w *world) sent(run func(string, map[string]any) result, text string, mentions ...uuid.UUID) string {
	w.t.Helper()
	return w.sentIn(run, "", text, mentions...)
}

// sentIn writes into a thread of it, by its variable; "": into the channel.
func (w *world) sentIn(run func(string, map[string]any) result, thread, text string, mentions ...uuid.UUID) string {
	w.t.Helper()
	w.keys++
	in := map[string]any{"key": fmt.Sprint("k", w.keys), "text": text, "mentions": mentions}
	if thread != "" {
		in["thread"] = w.vars[thread]
	}
	r := run(`mutation($c: uuid!, $thread: uuid, $key: String!, $text: String!, $mentions: [uuid!]) {
		sendMessage(input: {clientMessageId: $key, channelId: $c, threadId: $thread, content: $text, mentions: $mentions}) { message { id } error { code } } }`,
		w.given("$c $thread $key $text $mentions", in))
	var d struct {
		SendMessage struct{ Message struct{ ID string } }
	}
	if err := json.Unmarshal(r.Data, &d); err != nil || d.SendMessage.Message.ID == "" {
		w.t.Fatal(r, err)
	}
	w.names[d.SendMessage.Message.ID] = "message " + text
	return d.SendMessage.Message.ID
}
