package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// worldsOfAFamily run the same public schedule; the first of them without
// anything hidden, each other with a hidden schedule of its own.
const worldsOfAFamily = 5

// groupsOfAWorld are played before one viewer, a hidden schedule each: most of what a
// world costs is the public one, and a schedule that shows shows beside others too.
const groupsOfAWorld = 40

// hiddenSchedules are run by make test; NONINTERFERENCE says how many instead.
const hiddenSchedules = 80

// TestNoninterference: whatever those do who are hidden from a viewer, the
// viewer's whole trace is the same, over the wire, on a real server and Postgres.
//
// A family of worlds plays one random public schedule: what a friend and the viewer
// do, what is asked, and the messages everybody may read. Beside it each world but the
// first has its own random schedules: each of what five others do who are hidden, each for
// another reason, and of a channel that the viewer cannot read; many groups of five
// play theirs before one viewer, every other group on another node than it. The viewer holds every
// subscription there is over one socket, and asks after each step. Nothing waits for a
// time: each step ends with what the friend and the viewer made to be seen, awaited on
// every subscription that brings it, and when push has told all of it. What is normalised, and
// why that hides nothing, stands at trace; what is pushed, at pushed.
//
// NONINTERFERENCE=N runs N hidden schedules (make soak), NONINTERFERENCE_SEED=S those
// of a run before, which prints its seed. The seed says also what RECIPROCITY is.
func TestNoninterference(t *testing.T) { //nolint:tparallel // whole does
	whole(t)
	schedules := number(t, "NONINTERFERENCE", hiddenSchedules)
	seed := number(t, "NONINTERFERENCE_SEED", int(rand.Uint32())) //nolint:gosec // to vary, not to hide
	groups := min(groupsOfAWorld, (schedules+worldsOfAFamily-2)/(worldsOfAFamily-1))
	families := (schedules + groups*(worldsOfAFamily-1) - 1) / (groups * (worldsOfAFamily - 1))
	reciprocity := cmp.Or(os.Getenv("NONINTERFERENCE_RECIPROCITY"), []string{"off", "receipts", "all"}[seed%3])
	t.Logf("NONINTERFERENCE=%d NONINTERFERENCE_SEED=%d NONINTERFERENCE_RECIPROCITY=%s", schedules, seed, reciprocity)
	db := pgtest.NewURL(t)
	pool := pgtest.Pool(t, db)
	env := map[string]string{"OFFLINE_GRACE": "0s", "IDLE_AFTER": "1h", "OPERATIONS_PER_MINUTE": "1000000", "MAX_SOCKETS_PER_IP": "100000", "RECIPROCITY": reciprocity,
		"HIDDEN_AFTER": "1h", "PUSH_AFTER": "1s", "PUSH_WEBHOOK_SECRET": "what signs the schedules"}
	hook := newPushed(t)
	env["PUSH_WEBHOOK_URL"] = hook.url
	nodes := []*node{inside(t, db, env), inside(t, db, env)}
	defer pooled.CloseIdleConnections()
	began := time.Now()
	t.Run("families", func(t *testing.T) {
		for f := range families {
			t.Run(strconv.Itoa(f), func(t *testing.T) {
				t.Parallel()
				family(t, nodes, pool, hook, seed, f, groups)
			})
		}
	})
	played := families * (worldsOfAFamily - 1) * groups
	t.Logf("%d hidden schedules of five users each, %d before a viewer at a time, %.1f a second", played, groups, float64(played)/time.Since(began).Seconds())
}

// family plays one public schedule in all its worlds, at the same time: most of it is waiting.
func family(t *testing.T, nodes []*node, pool *pgxpool.Pool, hook *pushed, seed, f, groups int) {
	plan := publicSchedule(rand.New(rand.NewPCG(uint64(seed), uint64(f))), groups*len(reasons)) //nolint:gosec // as above
	worlds := make([]*world, worldsOfAFamily)
	dusk, dawn := quietNow()
	for i := range worlds {
		w := newWorld(t, nodes, f*worldsOfAFamily+i, groups)
		w.pool, w.push, w.vars["dusk"], w.vars["dawn"] = pool, hook, dusk, dawn
		worlds[i] = w
	}
	populate(t, pool, worlds)
	t.Run("worlds", func(t *testing.T) {
		for i, w := range worlds {
			for j, g := range w.groups {
				if i > 0 {
					g.next = rand.New(rand.NewPCG(uint64(seed), uint64(f)<<32|uint64(i)<<16|uint64(j))) //nolint:gosec // as above
				}
			}
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				w.t = t
				w.play(plan)
			})
		}
	})
	if t.Failed() {
		return
	}
	for i, w := range worlds[1:] {
		if a, b := worlds[0].told, w.told; !slices.Equal(a, b) {
			t.Fatalf("NONINTERFERENCE_SEED=%d, family %d, world %d: the viewer was told of what is hidden\n%s\nhidden schedule:\n%s",
				seed, f, i+1, firstDifference(a, b), strings.Join(w.done, "\n"))
		}
	}
}

func firstDifference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		x, y := "(nothing)", "(nothing)"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return "nothing hidden happens: " + x + "\nsomething hidden does:  " + y
		}
	}
	return "none"
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q", name, v)
	}
	return n
}

// publicStep is what happens in every world of a family.
type publicStep struct {
	status string // the friend's
	writer int    // who also writes, if not 0: somebody hidden, too
	about  int    // of the hidden, whom the viewer does something about
	named  bool   // the friend mentions the viewer
	edit   bool   // it changes what it wrote
	remove bool   // or takes it back
	reply  bool   // the viewer and the friend write in the thread
	extra  string // something the viewer does of itself
	ask    []int  // which questions the viewer asks
}

func publicSchedule(r *rand.Rand, hidden int) []publicStep {
	plan := make([]publicStep, 3+r.IntN(3))
	for i := range plan {
		p := publicStep{status: []string{"online", "away", "busy"}[r.IntN(3)], named: r.IntN(3) == 0, edit: r.IntN(4) == 0, remove: r.IntN(4) == 0, reply: r.IntN(2) == 0, extra: extras[r.IntN(len(extras))], about: firstHidden + r.IntN(hidden)}
		if r.IntN(3) == 0 {
			p.writer = firstHidden + r.IntN(hidden)
		}
		p.ask = r.Perm(len(questions))[:2]
		if i == len(plan)-1 {
			p.ask = r.Perm(len(questions))
		}
		plan[i] = p
	}
	return plan
}

// extras are what the viewer does of itself, by variables.
var extras = []string{
	`mutation($h: uuid!) { blockUser(userId: $h) }`,
	`mutation($h: uuid!) { unblockUser(userId: $h) }`,
	`mutation($h: uuid!) { addContact(userId: $h) }`,
	`mutation($h: uuid!) { removeContact(userId: $h) }`,
	`mutation($c: uuid!) { setChannelNotifications(channelId: $c, input: {level: mentions}) { level } }`,
	`mutation($c: uuid!) { setChannelNotifications(channelId: $c, input: {level: all}) { level } }`,
	`mutation($dusk: String!, $dawn: String!) { setQuietHours(input: {from: $dusk, to: $dawn, timeZone: "UTC"}) { from to } }`,
	`mutation($dusk: String!, $dawn: String!) { setQuietHours(input: {from: $dawn, to: $dusk, timeZone: "UTC"}) { from to } }`,
	`mutation { setQuietHours { from } }`,
	`mutation($c: uuid!, $last: uuid!) { acknowledgeRead(input: [{channelId: $c, messageId: $last}]) { unreadCount } }`,
	`mutation($last: uuid!) { markUnread(messageId: $last) { unreadCount } }`,
	`mutation { setPresence(status: away) { status } }`,
	`mutation { updatePresenceSettings(input: {showLastSeen: true}) { showLastSeen visibility } }`,
	`mutation($d: uuid!) { startTyping(room: {channelId: $d}) { accepted } }`,
	`mutation($d: uuid!) { sendMessage(input: {clientMessageId: "no", channelId: $d, content: "no"}) { status error { code message retryable } } }`,
	`mutation($d: uuid!, $hm: uuid!) { acknowledgeRead(input: [{channelId: $d, messageId: $hm}]) { unreadCount } }`,
	`mutation($hm: uuid!) { editMessage(messageId: $hm, content: "no", baseVersion: 1) { message { id } } }`,
	`mutation($hm: uuid!) { deleteMessage(messageId: $hm) { id } }`,
	`query($d: uuid!) { messages(channelId: $d) { messages { id } } }`,
	`mutation($s: uuid!) { followThread(threadId: $s) { followed } }`,
	`mutation($t: uuid!) { unfollowThread(threadId: $t) { followed } }`,
	`query($d: uuid!) { sync(channelIds: [$d]) { channels { id } messages { id } members { userId } hasMore reset cursor } }`,
}

// questions are what the viewer asks, all with the same variables.
var questions = []string{
	`query($all: [uuid!]!) { presences(userIds: $all) { id userId status lastSeenAt customStatus { text emoji expiresAt } device } }`,
	`query($c: uuid!, $d: uuid!) {
		a: channelPresence(channelId: $c, first: 3) { totalCount edges { cursor node { userId status customStatus { text } } } pageInfo { hasNextPage startCursor endCursor } }
		b: channelPresence(channelId: $c, status: [online, away, busy]) { totalCount nodes { userId status lastSeenAt } pageInfo { hasNextPage endCursor } }
		o: channelPresence(channelId: $c, status: [offline], first: 2) { totalCount nodes { userId lastSeenAt } pageInfo { hasNextPage endCursor } }
		channelPresenceCounts(channelId: $c) { online away busy offline }
		n: channelPresence(channelId: $d) { totalCount } x: channelPresenceCounts(channelId: $d) { online } }`,
	`query($h: uuid!, $f: uuid!, $c: uuid!, $d: uuid!) {
		presenceVisibility(userId: $h) { canViewPresence canViewOnlineStatus canViewLastSeen isContact isInvisible }
		v: presenceVisibility(userId: $f) { canViewPresence isContact } presence(userId: $h) { userId status lastSeenAt device }
		typing(room: {channelId: $c}) { id totalCount text users { userId displayName } } t: typing(room: {channelId: $d}) { totalCount }
		previewPresence(as: user, userId: $h) { status } }`,
	`query($m: uuid!, $c: uuid!) {
		messageDelivery(messageId: $m) { status totalRecipients deliveredCount readCount deliveredAt readAt receipts { totalCount nodes { userId deliveredAt readAt } pageInfo { hasNextPage } } }
		deliveryStatuses(messageIds: [$m]) { id status readCount receipts(first: 1) { totalCount edges { cursor node { userId } } pageInfo { hasNextPage endCursor } } }
		messages(channelId: $c, first: 4) { messages { id senderId content seq version type editedBy } pageInfo { hasNextPage startCursor endCursor } } }`,
	`query($t: uuid!, $s: uuid!, $tm: uuid!, $c: uuid!, $d: uuid!) { threadReadState(threadId: $t) { lastReadMessageId unreadCount mentionCount followed } n: threadReadState(threadId: $s) { unreadCount }
		messageDelivery(messageId: $tm) { status totalRecipients deliveredCount readCount readAt receipts { totalCount nodes { userId readAt } } }
		typing(room: {channelId: $c, threadId: $t}) { totalCount users { userId } } x: typing(room: {channelId: $d, threadId: $s}) { totalCount } messages(channelId: $c, threadId: $t, first: 3) { messages { id content seq } } }`,
	`query($c: uuid!, $d: uuid!) { readState(channelId: $c) { lastReadMessageId unreadCount mentionCount } n: readState(channelId: $d) { unreadCount }
		readStates { channelId unreadCount mentionCount } unreadTotals { channels messages mentions threads } channelNotifications(channelId: $c) { level mutedUntil } }`,
	`query($cursor: String, $all: [uuid!]!, $c: uuid!) { sync(cursor: $cursor, presenceOf: $all, rooms: [{channelId: $c}]) {
		cursor hasMore reset progress { done total } channels { channelId name type memberCount lastSeq role canWrite } leftChannelIds members { userId kind }
		messages { id senderId content seq version } deletedMessageIds readStates { channelId unreadCount mentionCount } threadReadStates { threadId unreadCount followed }
		deliveries { messageId status deliveredCount readCount totalRecipients } presences { userId status lastSeenAt customStatus { text } }
		typing { id totalCount users { userId } } settings { visibility showOnlineStatus invisibleMode } } }`,
	`query($hm: uuid!, $d: uuid!) { message(id: $hm) { id content } messageDelivery(messageId: $hm) { status }
		contacts { totalCount nodes { userId explicit displayName } pageInfo { hasNextPage endCursor } } myPresence { status shownStatus invisible customStatus { text } } presenceSettings { visibility invisibleMode } quietHours { from }
		channelNotifications(channelId: $d) { level } }`,
}

// streams are the viewer's subscriptions. The first three bring the friend's line.
var streams = []struct{ name, text string }{
	{"presence", `subscription($all: [uuid!]!) { presenceChanged(userIds: $all) { userId status lastSeenAt customStatus { text } device } }`},
	{"window", `subscription($c: uuid!) { presenceWindow(channelId: $c, first: 4) { snapshot counts { online away busy offline } presences { userId status lastSeenAt customStatus { text } } } }`},
	{"events", `subscription($all: [uuid!]!, $c: uuid!, $t: uuid!) { events(presenceOf: $all, rooms: [{channelId: $c}, {channelId: $c, threadId: $t}]) { cursor payload { __typename
		... on MessageCreated { message { id senderId content seq version } } ... on MessageUpdated { message { id content seq version editedBy } } ... on MessageDeleted { messageId channelId }
		... on DeliveryChanged { delivery { messageId status deliveredCount readCount } } ... on ReadStateChanged { readState { channelId } } ... on ThreadReadStateChanged { threadReadState { channelId } }
		... on PresenceChanged { presence { userId status lastSeenAt customStatus { text } } } ... on TypingChanged { rooms { id totalCount text users { userId } } }
		... on ChannelUpdated { channel { channelId memberCount } } ... on MemberJoined { change { userId kind } } ... on MemberLeft { change { userId kind } }
		... on SettingsChanged { settings { visibility } } ... on StreamReset { reason } ... on StreamGap { channelId } } } }`},
	{"messages", `subscription($c: uuid!) { messageChanged(channelId: $c) { kind cursor message { id senderId content seq version editedBy } } }`},
	{"deliveries", `subscription { deliveryChanged { messageId channelId status deliveredCount readCount totalRecipients deliveredAt readAt receipts { totalCount nodes { userId } } } }`},
	{"typing", `subscription($c: uuid!, $t: uuid!) { typingChanged(rooms: [{channelId: $c}, {channelId: $c, threadId: $t}]) { id totalCount text users { userId displayName } } }`},
	{"read", `subscription { readStateChanged { channelId unreadCount mentionCount } }`},
	{"threads", `subscription { threadReadStateChanged { threadId channelId unreadCount mentionCount followed } }`},
	{"secret", `subscription($d: uuid!) { messageChanged(channelId: $d) { kind } }`},
	{"secret typing", `subscription($d: uuid!) { typingChanged(rooms: [{channelId: $d}]) { totalCount } }`},
	{"secret window", `subscription($d: uuid!) { presenceWindow(channelId: $d) { snapshot } }`},
	{"settings", `subscription { presenceSettingsChanged { visibility showLastSeen } }`},
}

// populate makes the users and channels of worlds: of each the viewer, the friend and
// the hidden in one channel, and all but the viewer in another.
func populate(t *testing.T, pool *pgxpool.Pool, worlds []*world) {
	t.Helper()
	var users, channels, members, threads, blocks, choices []map[string]any
	for _, w := range worlds {
		for i := range w.people() {
			users = append(users, map[string]any{"id": w.user(i), "email": fmt.Sprintf("%d.%d@example.com", w.n, i), "display_name": w.name(i)})
			level := "all"
			if i >= firstHidden+pushGroups*len(reasons) {
				level = "none"
			}
			members = append(members, map[string]any{"channel_id": w.channel(0), "user_id": w.user(i), "notification_level": level})
			if i != theViewer {
				members = append(members, map[string]any{"channel_id": w.channel(1), "user_id": w.user(i), "notification_level": level})
			}
		}
		for i := range 2 {
			channels = append(channels, map[string]any{"id": w.channel(i), "name": "c", "slug": w.channel(i).String(), "type": "private", "created_by": w.user(theFriend)})
			threads = append(threads, map[string]any{"id": w.thread(i), "channel_id": w.channel(i)})
		}
		for i := firstHidden; i < w.people(); i++ {
			why := reasons[(i-firstHidden)%len(reasons)]
			if why.name == "blocks the viewer" {
				blocks = append(blocks, map[string]any{"blocker_id": w.user(i), "blocked_user_id": w.user(theViewer)})
			}
			choices = append(choices, map[string]any{"user_id": w.user(i), "is": why.begins})
		}
	}
	for _, q := range []struct {
		sql  string
		rows []map[string]any
	}{
		{`insert into public.nchat_users (id, email, display_name) select id, email, display_name from json_populate_recordset(null::public.nchat_users, $1)`, users},
		{`insert into public.nchat_channels (id, name, slug, type, created_by) select id, name, slug, type, created_by from json_populate_recordset(null::public.nchat_channels, $1)`, channels},
		{`insert into public.nchat_channel_members (channel_id, user_id, notification_level) select channel_id, user_id, notification_level from json_populate_recordset(null::public.nchat_channel_members, $1) order by user_id`, members},
		{`insert into public.nchat_threads (id, channel_id) select id, channel_id from json_populate_recordset(null::public.nchat_threads, $1)`, threads},
		{`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) select blocker_id, blocked_user_id from json_populate_recordset(null::public.nchat_blocked_users, $1)`, blocks},
		{`insert into realtime.presence_settings (tenant, user_id, visibility, show_online_status, show_last_seen, allow_read_receipts, allow_delivery_receipts, broadcast_typing)
		  select 'primary', (c ->> 'user_id')::uuid, s.visibility, s.show_online_status, s.show_last_seen, s.allow_read_receipts, s.allow_delivery_receipts, s.broadcast_typing
		    from json_array_elements($1) c, json_populate_record(null::realtime.presence_settings, c -> 'is') s`, choices},
	} {
		rows, err := json.Marshal(q.rows)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(t.Context(), q.sql, string(rows)); err != nil {
			t.Fatal(err)
		}
	}
}

// The users of a world by number: their ids have the same order in every world.
const (
	theViewer = iota
	theFriend
	firstHidden
)

func (w *world) user(i int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("%08x-0000-4000-8000-%012d", w.n+1, i))
}

func (w *world) channel(i int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("%08x-0000-4000-9000-%012d", w.n+1, i))
}

// thread is that of channel i.
func (w *world) thread(i int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("%08x-0000-4000-a000-%012d", w.n+1, i))
}

func (w *world) name(i int) string {
	switch i {
	case theViewer:
		return "viewer"
	case theFriend:
		return "friend"
	}
	return fmt.Sprint("hidden ", i)
}
