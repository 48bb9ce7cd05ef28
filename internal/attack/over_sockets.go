package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

const (
	watchGeneral = `subscription ($c: uuid!) { messageChanged(channelId: $c) { message { id content metadata } } }`
	watchUsers   = `subscription ($u: [uuid!]!) { presenceChanged(userIds: $u) { status } }`
)

// frames writes one frame after another to each of so many sockets, which are read.
func frames(ctx context.Context, f *foe, sockets int, frame func(i int) string) {
	f.sockets(ctx, sockets, true, func(_ int, ws *websocket.Conn) {
		for i := 0; ctx.Err() == nil && (f.Turns == 0 || i < f.Turns); i++ {
			if f.say(ws, frame(i)) != nil {
				return // its reader says how it ended
			}
		}
	})
}

// overSockets are attacks over sockets that are let in: 20 are one user's.
func overSockets() []attack {
	return append([]attack{
		{"frames", "20 sockets: `realtimeConfig`, as fast as can be written", func(ctx context.Context, f *foe) {
			frames(ctx, f, 20, func(i int) string { return subscribe(i, `{ realtimeConfig { serverTime } }`, nil) })
		}},
		{"queries", "20 sockets: `presences` of 1,000 ids and `sync` from the beginning, as fast as can be written", func(ctx context.Context, f *foe) {
			u := ids(f.dosed(1000))
			frames(ctx, f, 20, func(i int) string {
				if i%2 == 0 {
					return subscribe(i, `query ($u: [uuid!]!) { presences(userIds: $u) { status } }`, map[string]any{"u": u})
				}
				return subscribe(i, `{ sync(first: 1000) { cursor messages { id content metadata } } }`, nil)
			})
		}},
		{"subscriptions", "20 sockets: subscriptions begun and ended, as fast as can be written", func(ctx context.Context, f *foe) {
			frames(ctx, f, 20, func(i int) string {
				if i%2 == 1 {
					return fmt.Sprintf(`{"id":"%d","type":"complete"}`, i-1)
				}
				return subscribe(i, watchGeneral, map[string]any{"c": f.General})
			})
		}},
		{"pings", "20 sockets: pings, pongs and completes, as fast as can be written", func(ctx context.Context, f *foe) {
			f.sockets(ctx, 20, true, func(_ int, ws *websocket.Conn) {
				for i := 0; ctx.Err() == nil && (f.Turns == 0 || i < f.Turns); i++ {
					var err error
					if i%2 == 0 {
						err = ws.WriteMessage(websocket.PingMessage, []byte("ping"))
					} else {
						err = f.say(ws, []string{`{"type":"ping"}`, `{"type":"pong"}`, `{"type":"complete","id":"x"}`}[i/2%3])
					}
					if err != nil {
						return
					}
				}
			})
		}},
		{"watched", "20 sockets: 64 subscriptions to 1,000 ids each", func(ctx context.Context, f *foe) {
			begin(ctx, f, true, func(i int) string { return subscribe(i, watchUsers, map[string]any{"u": ids(f.dosed(1000))}) })
		}},
		{"texts", "20 sockets: 64 subscriptions, each of a document of 1,900 tokens of its own", func(ctx context.Context, f *foe) {
			var n atomic.Int64
			begin(ctx, f, true, func(i int) string {
				return subscribe(i, fmt.Sprintf(`subscription ($c: uuid!) { messageChanged(channelId: $c) { a%d: cursor %s } }`, n.Add(1),
					strings.Repeat(`cursor kind message { id content type } `, 240)), map[string]any{"c": f.Own[0]})
			})
		}},
	}, append(unruly(), told()...)...)
}

// unruly are sockets that do not behave as sockets do.
func unruly() []attack {
	return []attack{
		{"deaf", "20 sockets: 64 subscriptions to everybody and everything, of which nothing is read, and 400 messages of 56 kB", func(ctx context.Context, f *foe) {
			f.sockets(ctx, 20, false, func(n int, ws *websocket.Conn) {
				for i := range f.dosed(64) {
					what := []string{watchGeneral, `subscription { events { payload { ... on MessageCreated { message { id content metadata } } } } }`}[i%2]
					vars := []any{map[string]any{"c": f.General}, nil}[i%2]
					if f.say(ws, subscribe(i, what, vars)) != nil {
						return
					}
				}
				if n == 0 {
					f.fill(ctx, f.General, 24)
				}
			})
		}},
		{"garbage", "32 sockets, one after another: no JSON, no text, 2 MB, another protocol's frames, ids in use", func(ctx context.Context, f *foe) {
			f.flood(ctx, 32, func(_, turn int) {
				ws := f.socket(ctx)
				if ws == nil {
					return
				}
				defer func() { _ = ws.Close() }()
				kind, what := websocket.TextMessage, []string{`{"no`, `[]`, `{"type":"start","id":"1"}`, subscribe(1, watchGeneral, map[string]any{"c": f.General}), `{"type":"connection_init"}`, "x", ""}[turn%7]
				switch turn % 7 {
				case 5:
					kind = websocket.BinaryMessage
				case 6:
					what = strings.Repeat("x", f.dosed(2<<20))
				}
				for range 2 {
					_ = ws.WriteMessage(kind, []byte(what)) // what comes of it is read
				}
				f.ended(ctx, drop(ws))
			})
		}},
		{"storm", "32 clients: connect, begin 10 subscriptions, and go, over and over", func(ctx context.Context, f *foe) {
			f.flood(ctx, 32, func(int, int) {
				ws := f.socket(ctx)
				if ws == nil {
					return
				}
				for i := range 10 {
					_ = f.say(ws, subscribe(i, watchUsers, map[string]any{"u": f.People[:min(len(f.People), 50)]}))
				}
				_ = ws.Close()
			})
		}},
	}
}

// told are attacks by what a user is told of what it does itself, or does by being told.
func told() []attack {
	const replay = `subscription ($c: String!) { events(cursor: $c) { cursor payload { ... on MessageCreated { message { id content metadata } } } } }`
	return []attack{
		{"replay", "20 sockets: 64 `events` after a cursor from before 85 messages of 56 kB of its own, of which nothing is read", func(ctx context.Context, f *foe) {
			cursor := between(f.ask(ctx, `{ sync(since: "2099-01-01T00:00:00Z") { cursor } }`, nil), `"cursor":"`, `"`)
			f.fill(ctx, f.Own[0], 5)
			begin(ctx, f, false, func(i int) string { return subscribe(i, replay, map[string]any{"c": cursor}) })
		}},
		{"asked", "600 large messages of its own, written before; 20 sockets: 64 times 7 names of `messages` of 1,000, of which nothing is read", func(ctx context.Context, f *foe) {
			begin(ctx, f, false, func(i int) string {
				return subscribe(i, `{ `+aliases(7, `messages(channelId: "`+f.Own[i%len(f.Own)]+`", first: 1000) { messages { id content metadata } }`)+`}`, nil)
			})
		}},
		{"events", "20 sockets: 64 times `messageChanged` of a room of its own with 24 names of `content`, of which nothing is read, and 85 messages of 56 kB", func(ctx context.Context, f *foe) {
			begin(ctx, f, false, func(i int) string {
				return subscribe(i, `subscription ($c: uuid!) { messageChanged(channelId: $c) { message { `+aliases(24, "content")+` } } }`, map[string]any{"c": f.Own[0]})
			})
			f.fill(ctx, f.Own[0], 5)
		}},
		{"autoDeliver", "20 sockets with `autoDeliver`: 64 subscriptions to the messages of a room where others write", func(ctx context.Context, f *foe) {
			f.init = `,"autoDeliver":true`
			begin(ctx, f, true, func(i int) string { return subscribe(i, watchGeneral, map[string]any{"c": f.Room}) })
		}},
		{"deliveries", "20 sockets: 64 `deliveryChanged`; messages, one after another, in a room of everybody, of whom some receive at once", func(ctx context.Context, f *foe) {
			var writing sync.WaitGroup
			defer writing.Wait()
			writing.Go(func() {
				f.flood(ctx, 1, func(int, int) { f.ask(ctx, sendOne, map[string]any{"m": message(f.General, 20, 0)}) })
			})
			begin(ctx, f, true, func(i int) string {
				return subscribe(i, `subscription { deliveryChanged { messageId status deliveredCount readCount } }`, nil)
			})
		}},
	}
}

// begin begins 64 operations on each of 20 sockets.
func begin(ctx context.Context, f *foe, reads bool, operation func(i int) string) {
	f.sockets(ctx, 20, reads, func(_ int, ws *websocket.Conn) {
		for i := range f.dosed(64) {
			if f.say(ws, operation(i)) != nil {
				return
			}
		}
	})
}

// drop reads a socket to its end.
func drop(ws *websocket.Conn) error {
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return err //nolint:wrapcheck // counted
		}
	}
}
