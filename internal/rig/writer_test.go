package rig

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	sendIt = `mutation ($c: uuid!, $k: String!, $t: String!) { sendMessage(input: {channelId: $c, clientMessageId: $k, content: $t}) { status duplicate message { id seq } error { code retryable } } }`
	readIt = `mutation ($c: uuid!, $m: uuid!) { acknowledgeRead(input: [{channelId: $c, messageId: $m}]) { unreadCount } }`
	syncIt = `query ($c: String) { sync(cursor: $c, first: 1000) { cursor hasMore reset messages { channelId seq } } }`
	editIt = `mutation ($m: uuid!, $t: String!) { editMessage(messageId: $m, content: $t, baseVersion: 1) { message { version } } }`
)

// write has the client write every so often until ctx ends; what has begun then is
// still seen through.
func (c *client) write(ctx context.Context, pace time.Duration) {
	for range paced(ctx, c.rand, pace) {
		c.step(context.WithoutCancel(ctx))
	}
}

// paced is when a writer writes, until ctx ends: at first within its pace, and then each
// time after half of it to one and a half.
func paced(ctx context.Context, by *rand.Rand, pace time.Duration) func(yield func() bool) {
	return func(yield func() bool) {
		for least := time.Duration(0); wait.For(ctx, least+time.Duration(by.Int64N(int64(pace)))) && yield(); {
			least = pace / 2
		}
	}
}

// step sends a message, and now and then again under the same key, at two nodes at
// once; then asks for it, edits it, reads, or types.
func (c *client) step(ctx context.Context) {
	mine := c.r.channelsOf(c.at)
	channel, types := mine[c.rand.IntN(len(mine))], mine[c.rand.IntN(len(mine))]
	if c.at%4 == 3 { // no message ends what it types: that ends by itself
		channel, types = mine[1], mine[0]
	}
	key := c.r.key()
	c.mu.Lock()
	cursor, known := c.cursor, c.known[channel]
	c.mu.Unlock()
	dice := c.rand.IntN(100)
	var both sync.WaitGroup
	var ack Ack
	var ok bool
	both.Go(func() { ack, ok = c.send(ctx, channel, key) })
	if dice < 10 {
		both.Go(func() { c.send(ctx, channel, key) })
	}
	both.Wait()
	if !ok {
		return
	}
	switch {
	case dice < 25 && cursor != "":
		c.catchUp(ctx, cursor, Read{User: c.user, Channel: channel, Known: known, Need: ack.Seq})
	case dice < 35:
		var out struct{ Message struct{ Version int } }
		c.until(ctx, editIt, map[string]any{"m": ack.ID, "t": "changed " + key}, "editMessage", &out)
	case dice < 55:
		c.read(ctx, channel)
	case dice < 65:
		c.types(types)
	}
}

type sent struct {
	Status  string
	Message struct{ ID, Seq string }
	Error   struct {
		Code      string
		Retryable bool
	}
}

func (c *client) send(ctx context.Context, channel, key string) (Ack, bool) {
	a := Ack{Key: key, Channel: channel, Sender: c.user, Began: time.Now()}
	for end := a.Began.Add(patient); time.Now().Before(end); {
		var out sent
		if !c.until(ctx, sendIt, map[string]any{"c": channel, "k": key, "t": "message " + key}, "sendMessage", &out) {
			if c.r.excused(c.user, a.Began) {
				return a, false
			}
			break
		}
		if out.Status == "failed" {
			if !out.Error.Retryable && c.r.excused(c.user, a.Began) {
				return a, false
			}
			if !out.Error.Retryable {
				c.r.odd("sendMessage: " + out.Error.Code + ", not to be tried again")
				return a, false
			}
			continue
		}
		a.At, a.ID, a.Seq = time.Now(), out.Message.ID, number(out.Message.Seq)
		c.r.acked(a)
		return a, true
	}
	c.r.odd("sendMessage: never answered")
	return a, false
}

// catchUp asks for all since the cursor, of any node.
func (c *client) catchUp(ctx context.Context, cursor string, r Read) {
	for more := true; more; {
		var p syncPage
		if c.r.excused(c.user, time.Now().Add(-patient)) {
			return // outs has what it may know
		}
		if !c.until(ctx, syncIt, map[string]any{"c": cursor}, "sync", &p) {
			c.r.odd("sync: never answered")
			return
		}
		for _, m := range p.Messages {
			if m.ChannelID == r.Channel {
				r.Brought = append(r.Brought, number(m.Seq))
			}
		}
		r.Reset = r.Reset || p.Reset
		cursor, more = p.Cursor, p.HasMore
	}
	c.r.synced(r)
}

// read acknowledges what the stream told last.
func (c *client) read(ctx context.Context, channel string) {
	c.mu.Lock()
	id, seq := c.newest[channel], c.known[channel]
	c.mu.Unlock()
	if id == "" {
		return
	}
	var out []struct{ UnreadCount int }
	if c.until(ctx, readIt, map[string]any{"c": channel, "m": id}, "acknowledgeRead", &out) {
		c.r.marked(Mark{c.user, channel, seq})
	}
}

// counts asks, when all is quiet, how much there is to read and how far the last
// message sent has come.
func (c *client) counts(ctx context.Context, last Ack) error {
	var states []struct {
		ChannelID   string
		UnreadCount int
	}
	if !c.until(ctx, `{ readStates { channelId unreadCount } }`, nil, "readStates", &states) {
		return fmt.Errorf("%s: readStates is never answered", c.user)
	}
	for _, s := range states {
		c.r.counted(Count{User: c.user, Channel: s.ChannelID, Unread: s.UnreadCount})
	}
	if last.ID == "" {
		return nil
	}
	var d struct{ TotalRecipients, DeliveredCount, ReadCount int }
	if !c.until(ctx, `query ($m: uuid!) { messageDelivery(messageId: $m) { totalRecipients deliveredCount readCount } }`, map[string]any{"m": last.ID}, "messageDelivery", &d) {
		return fmt.Errorf("%s: messageDelivery is never answered", c.user)
	}
	c.r.counted(Count{User: c.user, Channel: last.Channel, Message: last.ID, Seq: last.Seq, Total: d.TotalRecipients, Delivered: d.DeliveredCount, Read: d.ReadCount})
	return nil
}
