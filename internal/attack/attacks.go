package main

import (
	"context"
	"strings"

	"github.com/google/uuid"
)

// attack is one thing that one ordinary user does to a server, as hard as it can.
type attack struct {
	name string
	dose string // in words, for the table
	run  func(ctx context.Context, f *foe)
}

// attacks are all there are; docs/security.md has a row for each.
func attacks() []attack {
	return append(append(overHTTP(), overSockets()...), onConnections()...)
}

func find(name string) *attack {
	for _, a := range attacks() {
		if a.name == name {
			return &a
		}
	}
	return nil
}

// ids are n users, of whom nobody ever heard.
func ids(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = uuid.NewString()
	}
	return all
}

// between is what stands after the first of some words and before the next; "": it is not there.
func between(text, before, after string) string {
	_, text, _ = strings.Cut(text, before)
	text, _, _ = strings.Cut(text, after)
	return text
}

// message is one to be sent, of so many characters and so many bytes of the app's data.
func message(channel string, chars, data int) map[string]any {
	m := map[string]any{"channelId": channel, "clientMessageId": uuid.NewString(), "content": strings.Repeat("\U0001F525", chars)}
	if data > 0 {
		m["metadata"] = map[string]any{"a": strings.Repeat("x", data)}
	}
	return m
}

const (
	sendOne  = `mutation ($m: SendMessageInput!) { sendMessage(input: $m) { status error { code } } }`
	sendMany = `mutation ($m: [SendMessageInput!]!) { sendMessages(input: $m) { results { status error { code } } } }`
)

// fill sends large messages to a channel.
func (f *foe) fill(ctx context.Context, channel string, batches int) {
	for range f.dosed(batches) {
		var all []map[string]any
		for range 17 { // of 57 kB each: what a body takes
			all = append(all, message(channel, 10000, 16000))
		}
		f.ask(ctx, sendMany, map[string]any{"m": all})
		if ctx.Err() != nil {
			return
		}
	}
}
