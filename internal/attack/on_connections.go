package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// onConnections are attacks by connections that keep to no order.
func onConnections() []attack {
	return append([]attack{
		{"bodies", "8,000 connections whose bodies never come: `/graphql` without a token, `/hasura/`, no path at all, `/healthz`; again as they end", func(ctx context.Context, f *foe) {
			f.flood(ctx, 1000, func(w, turn int) {
				path := []string{"/graphql", "/hasura/actions", "/nowhere", "/healthz"}[w%4]
				f.hang(ctx, 8, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
			})
		}},
		{"drips", "500 connections: a header and a body with the attacker's token, a byte a second", func(ctx context.Context, f *foe) {
			f.flood(ctx, 500, func(w, _ int) {
				c := f.plain(ctx)
				if c == nil {
					return
				}
				head := "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + f.token + "\r\nContent-Length: 1000000\r\n"
				if w%2 == 0 {
					head += "\r\n"
				}
				_, err := io.WriteString(c, head)
				for err == nil && ctx.Err() == nil && f.Turns == 0 {
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
						_, err = io.WriteString(c, "x")
					}
				}
				f.count("connections")
				_ = c.Close()
			})
		}},
		{"handshakes", "400 sockets that never say who they are, and 400 that do not finish the upgrade; again as they end", func(ctx context.Context, f *foe) {
			f.flood(ctx, 400, func(w, _ int) {
				if w%2 == 1 {
					f.hang(ctx, 2, "GET /graphql HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
					return
				}
				if ws := f.upgraded(ctx, "graphql-transport-ws"); ws != nil {
					f.keep(ws.NetConn())
					if f.Turns == 0 {
						f.ended(ctx, drop(ws))
					}
					_ = ws.Close()
				} else {
					pause(ctx)
				}
			})
		}},
	}, heavy()...)
}

// heavy are connections that have the server hold much.
func heavy() []attack {
	return []attack{
		{"ahead", "200 sockets of the older protocol: `start` frames of 60 kB before it is known whose they are", func(ctx context.Context, f *foe) {
			big := `{"type":"start","id":"%d","payload":{"query":"` + strings.Repeat(" ", f.dosed(60_000)) + `"}}`
			f.flood(ctx, 200, func(int, int) {
				ws := f.upgraded(ctx, "graphql-ws")
				if ws == nil {
					pause(ctx)
					return
				}
				f.keep(ws.NetConn())
				for i := range 64 {
					if f.say(ws, fmt.Sprintf(big, i)) != nil {
						break
					}
				}
				f.count("connections")
				if f.Turns == 0 {
					f.ended(ctx, drop(ws))
				}
				_ = ws.Close()
			})
		}},
		{"streams", "1,000 event streams over HTTP", func(ctx context.Context, f *foe) {
			f.flood(ctx, 1000, func(w, _ int) {
				sub, end := context.WithCancel(ctx)
				defer end()
				if f.Turns > 0 {
					context.AfterFunc(ctx, end)
					end() // begun and gone
				}
				f.ask(sub, watchGeneral, map[string]any{"c": f.General}, "Accept", "text/event-stream")
				pause(ctx)
			})
		}},
		{"unread", "600 large messages of its own, written before; 1,000 connections that ask for the most that is answered, and read nothing", func(ctx context.Context, f *foe) {
			body := fmt.Sprintf(`{"query":"{ %s }"}`, aliases(7, `sync(first: 1000) { cursor messages { id content metadata } }`))
			f.flood(ctx, 1000, func(int, int) {
				c := f.plain(ctx)
				if c == nil {
					pause(ctx)
					return
				}
				defer func() { _ = c.Close() }()
				if t, ok := c.(*net.TCPConn); ok {
					_ = t.SetReadBuffer(4096)
				}
				_, err := fmt.Fprintf(c, "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", f.token, len(body), body)
				if err != nil {
					f.failed(ctx, err)
					return
				}
				if f.Turns > 0 {
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(15 * time.Second):
				}
				f.count("connections")
			})
		}},
	}
}

// pause is what even this attacker takes after a refusal: it would attack itself.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

// hang opens connections, says a part of a request on each, and waits how they end.
func (f *foe) hang(ctx context.Context, n int, text string) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			c := f.plain(ctx)
			if c == nil {
				pause(ctx)
				return
			}
			defer func() { _ = c.Close() }()
			if _, err := io.WriteString(c, text); err != nil {
				f.failed(ctx, err)
				return
			}
			if f.Turns > 0 {
				f.count("connections")
				return
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					f.failed(ctx, err)
				}
				pause(ctx)
				return
			}
			_ = res.Body.Close()
			f.count(fmt.Sprintf("HTTP %d", res.StatusCode))
			_, _ = io.Copy(io.Discard, c) // until it is closed
		})
	}
	all.Wait()
}
