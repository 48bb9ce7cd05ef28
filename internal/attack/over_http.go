package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// overHTTP are floods of operations.
func overHTTP() []attack {
	return append([]attack{
		{"operations", "64 clients ask `realtimeConfig`, one after another", func(ctx context.Context, f *foe) {
			f.flood(ctx, 64, func(int, int) { f.ask(ctx, `{ realtimeConfig { serverTime } }`, nil) })
		}},
		{"ids", "16 clients: `presences` of 1,000 ids, under 30 names and alone in turn", func(ctx context.Context, f *foe) {
			one := `presences(userIds: $u) { status }`
			f.flood(ctx, 16, func(_, turn int) {
				f.ask(ctx, `query ($u: [uuid!]!) { `+[]string{aliases(30, one), one}[turn%2]+`}`, map[string]any{"u": ids(f.dosed(1000))})
			})
		}},
		{"names", "16 clients: 30 names of `channelPresence`, `readStates`, `contacts` and `messages` of 1,000", func(ctx context.Context, f *foe) {
			f.flood(ctx, 16, func(_, turn int) {
				field := []string{`channelPresence(channelId: "` + f.General + `", first: 1000) { totalCount nodes { userId status lastSeenAt } }`, `readStates { channelId unreadCount mentionCount }`,
					`contacts(first: 1000) { totalCount }`, `messages(channelId: "` + f.General + `", first: 1000) { messages { id content metadata } }`}[turn%4]
				f.ask(ctx, `{ `+aliases(30, field)+`}`, nil)
			})
		}},
		{"polls", "200 clients: 30 names of `sync(waitMs: 25000)`, while others write", func(ctx context.Context, f *foe) {
			f.ask(ctx, `{ sync { cursor } }`, nil)
			f.flood(ctx, 200, func(int, int) {
				f.ask(ctx, `{ `+aliases(30, `sync(since: "2099-01-01T00:00:00Z", waitMs: 25000) { cursor }`)+`}`, nil)
			})
		}},
		{"waits", "64 clients: one `sync(waitMs: 25000)` after a cursor, again and again", func(ctx context.Context, f *foe) {
			f.flood(ctx, 64, func(int, int) {
				cursor, _, _ := strings.Cut(strings.TrimPrefix(f.ask(ctx, `{ sync(first: 1) { cursor } }`, nil), `{"data":{"sync":{"cursor":"`), `"`)
				f.ask(ctx, `query ($c: String) { sync(cursor: $c, waitMs: 25000) { cursor } }`, map[string]any{"c": cursor})
			})
		}},
		{"numbers", "8 clients: a message whose metadata are `1e131071`, 1,700 times", func(ctx context.Context, f *foe) {
			numbers := json.RawMessage(`{"a":[` + strings.Repeat("1e131071,", f.dosed(1700)) + `0]}`)
			f.flood(ctx, 8, func(int, int) {
				m := message(f.General, 1, 0)
				m["metadata"] = numbers
				f.ask(ctx, sendOne, map[string]any{"m": m})
			})
		}},
		{"spam", "16 clients: 30 names of `sendMessages` of 100, and 100 alone, in a room of everybody", func(ctx context.Context, f *foe) {
			f.flood(ctx, 16, func(_, turn int) {
				var all []map[string]any
				for range f.dosed(100) {
					all = append(all, message(f.General, 20, 0))
				}
				one := `sendMessages(input: $m) { results { status error { code } } }`
				f.ask(ctx, `mutation ($m: [SendMessageInput!]!) { `+[]string{one, aliases(30, one)}[turn%8/7]+`}`, map[string]any{"m": all})
			})
		}},
		{"large", "1,000 messages of 40 kB and 16 kB of metadata in a room of everybody", func(ctx context.Context, f *foe) {
			f.fill(ctx, f.General, 60)
			f.hold(ctx)
		}},
		{"answers", "600 such messages of its own, written before; 16 clients: 30, 7 and 1 names of `sync` from the beginning, and of `messages`", func(ctx context.Context, f *foe) {
			f.flood(ctx, 16, func(_, turn int) {
				one := []string{`sync(first: 1000) { cursor messages { id content metadata } }`, `messages(channelId: "` + f.Own[turn%len(f.Own)] + `", first: 1000) { messages { id content metadata } }`}[turn%2]
				f.ask(ctx, `{ `+aliases([]int{30, 7, 1}[turn%3], one)+`}`, nil)
			})
		}},
	}, append(documents(), changes()...)...)
}

// documents are attacks by what is sent, whatever is asked.
func documents() []attack {
	return []attack{
		{"documents", "16 clients: documents that no cache knows, of 60 kB and of 1 MB, good and bad, under hashes too", func(ctx context.Context, f *foe) {
			f.flood(ctx, 16, func(worker, turn int) {
				size := []int{60_000, 1_000_000, 60_000, 30_000}[turn%4]
				text := fmt.Sprintf("{ %s } #%d %d %s", []string{"realtimeConfig { serverTime }", "nothing"}[turn%2], worker, turn, strings.Repeat(" ", f.dosed(size)))
				if turn%4 == 3 {
					text = fmt.Sprintf("{ realtimeConfig { %s } }", aliases(f.dosed(1200), fmt.Sprintf("serverTime # %d %d\n", worker, turn)))
				}
				sum := sha256.Sum256([]byte(text))
				body, err := json.Marshal(map[string]any{"query": text, "extensions": map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hex.EncodeToString(sum[:])}}})
				if err != nil {
					panic(err) // ours
				}
				f.post(ctx, body)
			})
		}},
		{"introspection", "16 clients: the schema under many names, fragments in a ring, 100 levels", func(ctx context.Context, f *foe) {
			deep := strings.Repeat("ofType { ", 100) + "name" + strings.Repeat(" }", 100)
			f.flood(ctx, 16, func(_, turn int) {
				f.ask(ctx, []string{`{ ` + aliases(30, `__schema { types { name fields { name type { name ofType { name } } args { name } } } }`) + `}`,
					`query { ...A } fragment A on Query { ...B } fragment B on Query { ...A }`, `{ __schema { types { fields { type { ` + deep + ` } } } } }`,
					`{ ` + strings.Repeat("__typename ", 3000) + `}`}[turn%4], nil)
			})
		}},
		{"variables", "16 clients: variables of up to 1 MB, of 100,000 values and of 30,000, which there may be: deep, long, wide, and of an enum", func(ctx context.Context, f *foe) {
			sizes := []int{f.dosed(100_000), f.dosed(30_000)}
			var wide [2]strings.Builder
			for i, n := range sizes {
				for key := range n {
					fmt.Fprintf(&wide[i], `"%d":1,`, key)
				}
			}
			f.flood(ctx, 16, func(_, turn int) {
				n := sizes[turn/4%2]
				v := []string{`{"m":` + strings.Repeat(`[`, n) + strings.Repeat(`]`, n) + `}`, `{"m":{"channelId":"` + f.General + `","clientMessageId":"k","content":"` + strings.Repeat("x", 9*n) + `"}}`,
					`{"m":{"channelId":"` + f.General + `","clientMessageId":"k","content":"x","metadata":{` + strings.TrimSuffix(wide[turn/4%2].String(), ",") + `}}}`,
					`{"s":[` + strings.TrimSuffix(strings.Repeat(`"online",`, n), ",") + `]}`}[turn%4]
				q := sendOne
				if turn%4 == 3 {
					q = `query ($s: [PresenceStatus!]) { channelPresence(channelId: \"` + f.General + `\", status: $s) { totalCount } }`
				}
				f.post(ctx, []byte(`{"query":"`+q+`","variables":`+v+`}`))
			})
		}},
		{"arrays", "8 clients: arrays of 5,000 operations in one body", func(ctx context.Context, f *foe) {
			one := `{"query":"{ myPresence { status } }"},`
			f.flood(ctx, 8, func(int, int) {
				f.post(ctx, []byte(`[`+strings.TrimSuffix(strings.Repeat(one, f.dosed(5000)), ",")+`]`))
			})
		}},
	}
}

// changes are attacks by what others are told of, or by who asks.
func changes() []attack {
	return []attack{
		{"presence", "16 clients: status, line, settings, contacts and blocks back and forth, in the sight of all", func(ctx context.Context, f *foe) {
			f.flood(ctx, 16, func(w, turn int) {
				who := f.People[turn%len(f.People)]
				f.ask(ctx, []string{`mutation { setPresence(status: busy) { status } }`, `mutation { setPresence(status: away) { status } }`, `mutation { setInvisibleMode(enabled: true) { invisibleMode } }`,
					`mutation { setInvisibleMode(enabled: false) { invisibleMode } }`, `mutation { setCustomStatus(input: {text: "` + uuid.NewString() + `"}) { status } }`,
					`mutation { a: addContact(userId: "` + who + `") b: removeContact(userId: "` + who + `") }`, `mutation { a: blockUser(userId: "` + who + `") b: unblockUser(userId: "` + who + `") }`}[(w+turn)%7], nil)
			})
		}},
		{"sessions", "16 clients: heartbeats, each of a session of its own", func(ctx context.Context, f *foe) {
			f.flood(ctx, 16, func(int, int) {
				f.ask(ctx, `mutation { `+aliases(30, `heartbeat(input: {deviceId: "`+uuid.NewString()+`", active: true}) { id }`)+`}`, nil)
			})
		}},
		{"receipts", "16 clients: read, and unread again, in a room of everybody; signals of typing", func(ctx context.Context, f *foe) {
			var page struct {
				Data struct {
					Messages struct{ Messages []struct{ ID string } }
				}
			}
			_ = json.Unmarshal([]byte(f.ask(ctx, `{ messages(channelId: "`+f.General+`") { messages { id } } }`, nil)), &page) // none: nothing is unread
			f.flood(ctx, 16, func(_, turn int) {
				if turn%3 == 2 {
					f.ask(ctx, `mutation { `+aliases(30, `startTyping(room: {channelId: "`+f.General+`"}) { accepted }`)+`}`, nil)
					return
				}
				for i, m := range page.Data.Messages.Messages[:min(2, len(page.Data.Messages.Messages))] {
					f.ask(ctx, []string{`mutation { acknowledgeRead(input: [{channelId: "` + f.General + `", messageId: "` + m.ID + `"}]) { unreadCount } }`,
						`mutation { markUnread(messageId: "` + m.ID + `") { unreadCount } }`}[i], nil)
				}
			})
		}},
		{"edits", "16 clients: 30 names of `editMessage` of one message, each its own, in a room of everybody", func(ctx context.Context, f *foe) {
			type edited struct {
				id      string
				version int
			}
			of := make([]edited, 16)
			f.flood(ctx, len(of), func(w, _ int) {
				m := &of[w]
				if m.id == "" {
					m.id = between(f.ask(ctx, `mutation ($m: SendMessageInput!) { sendMessage(input: $m) { message { id } } }`, map[string]any{"m": message(f.General, 20, 0)}), `"id":"`, `"`)
					m.version = 1
				}
				var all strings.Builder
				for i := range 30 {
					fmt.Fprintf(&all, `a%d: editMessage(messageId: %q, content: %q, baseVersion: %d) { __typename } `, i, m.id, uuid.NewString(), m.version+i)
				}
				if !strings.Contains(f.ask(ctx, `mutation { `+all.String()+`}`, nil), `"errors"`) {
					m.version += 30
				}
			})
		}},
		{"strangers", "64 clients without a user: no token, broken ones, `/readyz`, paths that are none", func(ctx context.Context, f *foe) {
			f.flood(ctx, 64, func(w, turn int) {
				switch (w + turn) % 4 {
				case 0:
					f.ask(ctx, `{ realtimeConfig { serverTime } }`, nil, "Authorization", "")
				case 1:
					f.ask(ctx, `{ realtimeConfig { serverTime } }`, nil, "Authorization", "Bearer "+f.token[:len(f.token)-6]+"AAAAAA")
				case 2:
					f.request(ctx, http.MethodGet, "/readyz", nil)
				default:
					f.request(ctx, http.MethodPost, "/hasura/actions", []byte(strings.Repeat("x", f.dosed(500_000))))
				}
			})
		}},
	}
}
