package conform

import (
	"fmt"
	"strings"
)

// field is a root field of the contract with everything it takes and answers.
// Each is asked for with @skip, so that it is judged and not run.
type field struct{ vars, call string }

const (
	settings = "... on PresenceSettings { id userId createdAt updatedAt " + settingFields + " }"
	presence = "... on Presence { id userId status customStatus { ... on CustomStatus { text emoji expiresAt } } lastSeenAt device }"
	session  = "... on PresenceSession { id deviceId device name connectedAt lastActiveAt idle current latencyMs connectionQuality }"
	pageInfo = "pageInfo { hasNextPage endCursor }"
	mine     = "... on MyPresence { id userId status shownStatus manualStatus manualUntil customStatus { text } lastSeenAt invisible updatedAt sessions { " + session + " } }"
	typists  = "... on RoomTyping { id room { ... on Room { name channelId threadId dmId } } users(first: 3) { ... on TypingUser { userId displayName avatarUrl startedAt } } totalCount text }"
	ackOf    = "... on TypingAck { accepted expiresAt nextAllowedAt }"
	readOf   = "... on ReadState { id channelId lastReadMessageId lastReadAt lastDeliveredMessageId unreadCount mentionCount }"
	threadOf = "... on ThreadReadState { unreadCount mentionCount followed }"
	receipts = "... on MessageDelivery { id messageId channelId status totalRecipients deliveredCount readCount deliveredAt readAt receipts(first: 1) { nodes { ... on Receipt { userId messageId deliveredAt readAt } } " + pageInfo + " } }"
	written  = "... on Message { id clientMessageId channelId threadId parentMessageId senderId content type metadata mentions seq version createdAt editedAt deletedAt delivery { " + receipts + " } }"
	outcome  = "... on SendResult { clientMessageId status message { " + written + " } duplicate error { ... on SendError { code message retryable retryAfterMs } } }"
	notifies = "... on ChannelNotifications { level mutedUntil }"
	totals   = "... on UnreadTotals { channels messages mentions threads }"
	counts   = "... on PresenceCounts { online away busy offline }"
)

// queries, mutations and subscriptions of the contract, by name.
var queries = map[string]field{
	"presence":              {"$a: uuid!", "(userId: $a) { " + presence + " }"},
	"presences":             {"$a: [uuid!]!", "(userIds: $a) { " + presence + " }"},
	"channelPresence":       {"$a: uuid!, $b: [PresenceStatus!], $c: Int, $d: String", "(channelId: $a, status: $b, first: $c, after: $d) { edges { cursor node { id } } nodes { " + presence + " } " + pageInfo + " }"},
	"channelPresenceCounts": {"$a: uuid!", "(channelId: $a) { " + counts + " }"},
	"presenceVisibility":    {"$a: uuid!", "(userId: $a) { ... on PresenceVisibility { canViewPresence canViewOnlineStatus canViewLastSeen isContact isInvisible } }"},
	"presenceSettings":      {"", " { " + settings + " }"},
	"myPresence":            {"", " { " + mine + " }"},
	"mySessions":            {"", " { " + session + " }"},
	"previewPresence":       {"$a: ViewerKind!, $b: uuid", "(as: $a, userId: $b) { " + presence + " }"},
	"contacts":              {"$a: Int, $b: String", "(first: $a, after: $b) { nodes { ... on Contact { id userId displayName avatarUrl explicit } } " + pageInfo + " }"},
	"typing":                {"$a: RoomInput!", "(room: $a) { " + typists + " }"},
	"messageDelivery":       {"$a: uuid!", "(messageId: $a) { " + receipts + " }"},
	"deliveryStatuses":      {"$a: [uuid!]!", "(messageIds: $a) { " + receipts + " }"},
	"readState":             {"$a: uuid!", "(channelId: $a) { " + readOf + " }"},
	"readStates":            {"", " { " + readOf + " }"},
	"sync": {"$a: String, $b: timestamptz, $c: [uuid!], $d: [uuid!], $e: [RoomInput!], $f: Int, $g: Int", "(cursor: $a, since: $b, channelIds: $c, presenceOf: $d, rooms: $e, first: $f, waitMs: $g) { ... on SyncPage { cursor hasMore reset progress { ... on SyncProgress { done total } } channels { ... on ChannelState { channelId } } leftChannelIds members { ... on MemberChange { channelId userId kind } } messages { " +
		written + " } deletedMessageIds readStates { " + readOf + " } deliveries { " + receipts + " } presences { " + presence + " } typing { " + typists + " } settings { " + settings + " } } }"},
	"realtimeConfig":       {"", " { ... on RealtimeConfig { serverTime heartbeatIntervalMs idleAfterMs hiddenAfterMs retry { baseMs maxMs maxAttempts } } }"},
	"messages":             {"$a: uuid!, $b: uuid, $c: String, $d: String, $e: Int", "(channelId: $a, threadId: $b, before: $c, after: $d, first: $e) { ... on MessagePage { messages { " + written + " } " + pageInfo + " } }"},
	"message":              {"$a: uuid!", "(id: $a) { " + written + " }"},
	"threadReadState":      {"$a: uuid!", "(threadId: $a) { " + threadOf + " }"},
	"unreadTotals":         {"", " { " + totals + " }"},
	"channelNotifications": {"$a: uuid!", "(channelId: $a) { " + notifies + " }"},
}

var mutations = map[string]field{
	"setPresence":             {"$a: PresenceStatus!, $b: timestamptz", "(status: $a, expiresAt: $b) { " + presence + " }"},
	"setCustomStatus":         {"$a: CustomStatusInput!", "(input: $a) { " + presence + " }"},
	"clearCustomStatus":       {"", " { " + presence + " }"},
	"heartbeat":               {"$a: HeartbeatInput!", "(input: $a) { " + session + " }"},
	"updatePresenceSettings":  {"$a: PresenceSettingsInput!, $b: timestamptz", "(input: $a, baseUpdatedAt: $b) { " + settings + " }"},
	"setInvisibleMode":        {"$a: Boolean!", "(enabled: $a) { " + settings + " }"},
	"resetPresenceSettings":   {"", " { " + settings + " }"},
	"addContact":              {"$a: uuid!", "(userId: $a)"},
	"removeContact":           {"$a: uuid!", "(userId: $a)"},
	"blockUser":               {"$a: uuid!", "(userId: $a)"},
	"unblockUser":             {"$a: uuid!", "(userId: $a)"},
	"startTyping":             {"$a: RoomInput!", "(room: $a) { " + ackOf + " }"},
	"stopTyping":              {"$a: RoomInput!", "(room: $a) { " + ackOf + " }"},
	"stopAllTyping":           {"", ""},
	"sendMessage":             {"$a: SendMessageInput!", "(input: $a) { " + outcome + " }"},
	"sendMessages":            {"$a: [SendMessageInput!]!, $b: String", "(input: $a, digest: $b) { ... on SendBatch { results { " + outcome + " } digest } }"},
	"editMessage":             {"$a: uuid!, $b: String!, $c: Int!", "(messageId: $a, content: $b, baseVersion: $c) { ... on EditResult { message { id } conflict { ... on EditConflict { resolution base server client } } } }"},
	"deleteMessage":           {"$a: uuid!", "(messageId: $a) { " + written + " }"},
	"acknowledgeDelivered":    {"$a: [MarkInput!]!", "(input: $a) { " + readOf + " }"},
	"acknowledgeRead":         {"$a: [MarkInput!]!", "(input: $a) { " + readOf + " }"},
	"markUnread":              {"$a: uuid!", "(messageId: $a) { " + readOf + " }"},
	"setChannelNotifications": {"$a: uuid!, $b: ChannelNotificationsInput!", "(channelId: $a, input: $b) { " + notifies + " }"},
	"followThread":            {"$a: uuid!", "(threadId: $a) { " + threadOf + " }"},
	"unfollowThread":          {"$a: uuid!", "(threadId: $a) { " + threadOf + " }"},
	"refreshSession":          {"$a: String!, $b: uuid", "(token: $a, sessionId: $b) { ... on SessionInfo { sessionId userId role expiresAt } }"},
	"signOutSession":          {"$a: uuid!", "(sessionId: $a)"},
	"revokeSessions":          {"$a: uuid!, $b: String", "(userId: $a, tokenId: $b)"},
}

var subscriptions = map[string]field{
	"presenceChanged":         {"$a: [uuid!]!", "(userIds: $a) { " + presence + " }"},
	"presenceWindow":          {"$a: uuid!, $b: Int, $c: String", "(channelId: $a, first: $b, after: $c) { ... on PresenceBatch { presences { id } counts { " + counts + " } snapshot } }"},
	"presenceSettingsChanged": {"", " { " + settings + " }"},
	"myPresenceChanged":       {"", " { " + mine + " }"},
	"typingChanged":           {"$a: [RoomInput!]!", "(rooms: $a) { " + typists + " }"},
	"messageChanged":          {"$a: uuid!", "(channelId: $a) { ... on MessageEvent { kind message { id } cursor } }"},
	"deliveryChanged":         {"$a: uuid", "(channelId: $a) { " + receipts + " }"},
	"readStateChanged":        {"", " { " + readOf + " }"},
	"unreadTotalsChanged":     {"", " { " + totals + " }"},
	"events": {"$a: String, $b: [uuid!], $c: [RoomInput!], $d: [EventKind!]", "(cursor: $a, presenceOf: $b, rooms: $c, kinds: $d) { ... on Event { cursor payload { __typename ... on MessageCreated { message { id } } ... on MessageUpdated { message { id } } ... on MessageDeleted { messageId channelId } ... on DeliveryChanged { delivery { id } } ... on ReadStateChanged { readState { id } } ... on PresenceChanged { presence { id } } ... on TypingChanged { rooms { id } } ... on ChannelUpdated { channel { channelId } } " +
		"... on MemberJoined { memberCount change { userId } } ... on MemberLeft { memberCount change { userId } } ... on SettingsChanged { settings { id } } ... on SyncProgress { done total } ... on StreamReset { reason cursor } ... on StreamGap { channelId cursor } } } }"},
}

// judged are the values that stand for a variable of a type.
func judged(kind string) any {
	switch {
	case !strings.HasSuffix(kind, "!"):
		return nil
	case strings.HasPrefix(kind, "["):
		return []any{}
	}
	switch strings.TrimSuffix(kind, "!") {
	case "uuid":
		return nobodyID
	case "timestamptz":
		return "2030-01-01T00:00:00Z"
	case "Int":
		return 1
	case "Boolean":
		return true
	case "PresenceStatus":
		return "online"
	case "ViewerKind":
		return "stranger"
	case "RoomInput":
		return map[string]any{"channelId": noRoom}
	case "CustomStatusInput":
		return map[string]any{"text": "x", "emoji": nil, "expiresAt": nil}
	case "HeartbeatInput":
		return map[string]any{"sessionId": nobodyID, "deviceId": "x", "device": "web", "name": "x", "active": true, "hidden": false, "lastActivityAgoMs": 0}
	case "PresenceSettingsInput":
		return map[string]any{"visibility": "everyone", "showOnlineStatus": true, "showLastSeen": true, "allowReadReceipts": true, "allowDeliveryReceipts": true, "invisibleMode": false, "broadcastTyping": true, "typingVisibility": "everyone"}
	case "SendMessageInput":
		return map[string]any{"clientMessageId": "x", "channelId": noRoom, "threadId": nil, "parentMessageId": nil, "content": "x", "type": "text", "metadata": nil, "mentions": nil}
	case "ChannelNotificationsInput":
		return map[string]any{"level": "all", "mutedUntil": nil}
	}
	return "x"
}

// head is an operation's: its words for the variables, and their values.
func (f field) head(kind, more string) (string, map[string]any) {
	values := map[string]any{}
	for v := range strings.SplitSeq(f.vars, ", ") {
		if name, of, ok := strings.Cut(v, ": "); ok {
			values[strings.TrimPrefix(name, "$")] = judged(of)
		}
	}
	all := strings.TrimPrefix(strings.TrimPrefix(f.vars+more, ", "), " ")
	if all == "" {
		return kind, values
	}
	return kind + "(" + all + ")", values
}

// skipped is the field with @skip between its arguments and its selection.
func (f field) skipped(name string) string {
	args, rest := "", f.call
	if strings.HasPrefix(rest, "(") {
		end := strings.Index(rest, ")")
		args, rest = rest[:end+1], rest[end+1:]
	}
	return name + args + " @skip(if: $skip)" + rest
}

func exists(kind, name string, f field) check {
	return check{fmt.Sprintf("contract: %s %s", kind, name), func(c *C) {
		if kind == "subscription" {
			starts(c, name, f)
			return
		}
		head, values := f.head(kind, ", $skip: Boolean!")
		values["skip"] = true
		r := c.post(c.carol, head+" { "+f.skipped(name)+" }", values)
		c.that(r.status == 200 && len(r.errors) == 0, "%d %s", r.status, brief(r.body))
	}}
}

// starts sees that a subscription is one: a root field of it may not be skipped,
// so it is asked beside a field that there is not, which is all that may be wrong.
func starts(c *C, name string, f field) {
	head, values := f.head("subscription", "")
	s := c.socket(c.carol)
	body := value{map[string]any{"id": "1", "type": "subscribe", "payload": map[string]any{
		"query": head + " { " + name + f.call + " noSuchFieldAtAll }", "variables": values}}}
	c.says(s, body.json())
	m := c.expect(s, "error")
	all := m.payload(c).list()
	for _, p := range all {
		text := p.at("message").String()
		c.that(strings.Contains(text, "noSuchFieldAtAll") || strings.Contains(text, "one top level field") || strings.Contains(text, "only one"), "%s", text)
	}
	c.that(strings.Contains(m.String(), "noSuchFieldAtAll"), "a field that there is not was not refused: %s", m)
}
