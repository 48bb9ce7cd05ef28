package e2e

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestWhatOneMayNotSeeAnswersAlike: of a channel, a message or a thread that is
// another's, another tenant's or none there is one answer, by whichever field it is
// asked; of a user who hides, blocks, is another tenant's or none as well.
func TestWhatOneMayNotSeeAnswersAlike(t *testing.T) {
	whole(t)
	db := database(t)
	n, pool := inside(t, db, map[string]string{"POINTS_PER_MINUTE": "100000"}), pgtest.Pool(t, db)
	elsewhere, stranger := uuid.New(), uuid.New() // another tenant's
	kinds := map[string]map[string]string{        // ids by what they are
		"channel": {"closed": demo.Team.String(), "elsewhere": elsewhere.String(), "none": uuid.NewString()},
		"message": {"closed": n.says(demo.Alice, demo.Team, "k", "x"), "elsewhere": uuid.NewString(), "none": uuid.NewString()},
		"thread":  {"closed": uuid.NewString(), "elsewhere": uuid.NewString(), "none": uuid.NewString()},
		"user":    {"hides": demo.Carol.String(), "blocks": demo.Alice.String(), "elsewhere": stranger.String(), "none": uuid.NewString()},
	}
	seen := map[string]string{"channel": demo.General.String(), "thread": "00000000-0000-4000-a000-000000000001", "user": demo.Bob.String()}
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), q, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`insert into public.nchat_users (id, source_account_id, email, display_name, username) values ($1, 'other', 'z@example.com', 'z', 'z')`, stranger)
	exec(`insert into public.nchat_channels (id, source_account_id, name, slug, type) values ($1, 'other', 'z', 'z', 'public')`, elsewhere)
	exec(`insert into public.nchat_channel_members (source_account_id, channel_id, user_id) values ('other', $1, $2)`, elsewhere, stranger)
	exec(`insert into public.nchat_messages (id, source_account_id, channel_id, user_id, content) values ($1, 'other', $2, $3, 'x')`, kinds["message"]["elsewhere"], elsewhere, stranger)
	exec(`insert into public.nchat_threads (id, channel_id) values ($1, $2), ($3, $4)`, kinds["thread"]["closed"], demo.Team, kinds["thread"]["elsewhere"], elsewhere)
	exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2) on conflict do nothing`, demo.Alice, demo.Dave)
	n.dial(token(t, demo.Carol)).run(`mutation { updatePresenceSettings(input: {visibility: nobody}) { visibility } }`)
	n.dial(token(t, demo.Alice))
	n.dial(token(t, demo.Bob))
	dave := n.dial(token(t, demo.Dave))
	general := demo.General.String()
	for field, kind := range map[string]string{
		`{ messages(channelId: "ID") { messages { id } } }`:     "channel",
		`{ channelPresence(channelId: "ID") { totalCount } }`:   "channel",
		`{ channelPresenceCounts(channelId: "ID") { online } }`: "channel",
		`{ readState(channelId: "ID") { unreadCount } }`:        "channel",
		`{ channelNotifications(channelId: "ID") { level } }`:   "channel",
		`{ typing(room: {channelId: "ID"}) { text } }`:          "channel",
		`{ typing(room: {dmId: "ID"}) { text } }`:               "channel",
		`mutation { sendMessage(input: {clientMessageId: "c", channelId: "ID", content: "x"}) { status message { content } error { code message retryable } breaksCover } }`: "channel",
		`mutation { setChannelNotifications(channelId: "ID", input: {level: all}) { level } }`:                                                                               "channel",
		`mutation { startTyping(room: {channelId: "ID"}) { accepted } }`:                                                                                                     "channel",
		`mutation { stopTyping(room: {channelId: "ID"}) { accepted } }`:                                                                                                      "channel",
		`mutation { startTyping(room: {dmId: "ID"}) { accepted } }`:                                                                                                          "channel",
		`subscription { typingChanged(rooms: [{channelId: "ID"}]) { text } }`:                                                                                                "channel",
		`subscription { presenceWindow(channelId: "ID") { __typename } }`:                                                                                                    "channel",
		`subscription { messageChanged(channelId: "ID") { __typename } }`:                                                                                                    "channel",
		`{ message(id: "ID") { id } }`:                                                                                                                                       "message",
		`{ messageDelivery(messageId: "ID") { status } }`:                                                                                                                    "message",
		`{ deliveryStatuses(messageIds: ["ID"]) { status } }`:                                                                                                                "message",
		`mutation { editMessage(messageId: "ID", content: "x", baseVersion: 1) { __typename } }`:                                                                             "message",
		`mutation { deleteMessage(messageId: "ID") { id } }`:                                                                                                                 "message",
		`mutation { markUnread(messageId: "ID") { unreadCount } }`:                                                                                                           "message",
		`mutation { acknowledgeRead(input: [{channelId: "` + general + `", messageId: "ID"}]) { unreadCount } }`:                                                             "message",
		`mutation { acknowledgeDelivered(input: [{channelId: "` + general + `", messageId: "ID"}]) { channelId } }`:                                                          "message",
		`{ threadReadState(threadId: "ID") { unreadCount } }`:                                                                                                                "thread",
		`mutation { followThread(threadId: "ID") { unreadCount } }`:                                                                                                          "thread",
		`mutation { unfollowThread(threadId: "ID") { unreadCount } }`:                                                                                                        "thread",
		`{ presence(userId: "ID") { userId status lastSeenAt device customStatus { text } } }`:                                                                               "user",
		`{ presences(userIds: ["ID"]) { userId status lastSeenAt device customStatus { text } } }`:                                                                           "user",
		`subscription { presenceChanged(userIds: ["ID"]) { userId status lastSeenAt device } }`:                                                                              "user",
		`mutation { addContact(userId: "ID") }`:                                                                                                                              "user",
		`mutation { removeContact(userId: "ID") }`:                                                                                                                           "user",
		`mutation { blockUser(userId: "ID") }`:                                                                                                                               "user",
		`mutation { unblockUser(userId: "ID") }`:                                                                                                                             "user",
	} {
		first := ""
		for what, id := range kinds[kind] {
			got := strings.ReplaceAll(dave.run(strings.ReplaceAll(field, "ID", id)).String(), id, "ID")
			if first == "" {
				first = got
			}
			if got != first || strings.Contains(got, "validation-failed") || strings.Contains(got, "internal error") {
				t.Errorf("%s, %s: %s; before %s", field, what, got, first)
			}
		}
		if strings.Contains(field, "messageChanged") || strings.Contains(field, "dmId") || kind == "user" && strings.HasPrefix(field, "mutation") {
			continue // nothing is told yet; it is none; of users everything is taken
		}
		id := seen[kind]
		if kind == "message" { // what is done to it is done to no other
			id = n.says(demo.Dave, demo.General, uuid.NewString(), "x")
		}
		if got := dave.run(strings.ReplaceAll(field, "ID", id)).String(); strings.ReplaceAll(got, id, "ID") == first {
			t.Errorf("%s: of what one may see it is %s too", field, got)
		}
	}
}
