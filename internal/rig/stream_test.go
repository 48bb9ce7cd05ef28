package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

func (c *client) subscription() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	const q = `subscription ($c: String, $p: [uuid!], $r: [RoomInput!]) { events(cursor: $c, presenceOf: $p, rooms: $r, kinds: [messages, presence, typing, channels, members]) { cursor payload { __typename
		... on MessageCreated { message { id channelId seq version } } ... on MessageUpdated { message { id channelId seq version } }
		... on PresenceChanged { presence { userId status } } ... on StreamReset { reason } ... on StreamGap { channelId }
		... on ChannelUpdated { channel { channelId lastSeq } } ... on MemberLeft { change { channelId userId } }
		... on TypingChanged { rooms { room { channelId } users(first: 100) { userId } } } } } }`
	var rooms []map[string]string
	for _, ch := range c.r.typingOf(c.at) {
		rooms = append(rooms, map[string]string{"channelId": ch})
	}
	return map[string]any{"id": stream, "type": "subscribe", "payload": map[string]any{"query": q,
		"variables": map[string]any{"c": orNull(c.cursor), "p": c.r.watched(c.at), "r": rooms}}}
}

// stream is the id of a client's stream on its socket.
const stream = "1"

type event struct {
	Cursor  string
	Payload struct {
		Type    string `json:"__typename"`
		Message struct {
			ID, ChannelID, Seq string
			Version            int
		}
		Presence struct{ UserID, Status string }
		Channel  struct{ ChannelID, LastSeq string }
		Change   struct{ ChannelID, UserID string }
		Rooms    []struct {
			Room  struct{ ChannelID string }
			Users []struct{ UserID string }
		}
	}
}

// next records what the stream tells, and begins anew where it says so.
func (c *client) next(ctx context.Context, payload json.RawMessage) error {
	var is struct{ Data struct{ Events event } }
	if err := json.Unmarshal(payload, &is); err != nil || is.Data.Events.Payload.Type == "" {
		c.r.odd("frame " + codeOf(payload))
		return fmt.Errorf("an odd frame: %.300s", payload)
	}
	e := is.Data.Events
	p, m := e.Payload, e.Payload.Message
	c.mu.Lock()
	t := Told{Channel: m.ChannelID, Seq: number(m.Seq), ID: m.ID, Version: m.Version, At: c.alive}
	switch p.Type {
	case "MessageCreated":
		t.Kind = Created
		c.versions[t.ID] = t.Version
		c.told.Told = append(c.told.Told, t)
		if t.Seq > c.known[t.Channel] {
			c.known[t.Channel], c.newest[t.Channel] = t.Seq, t.ID
		}
	case "MessageUpdated":
		t.Kind = Updated
		c.versions[t.ID] = max(c.versions[t.ID], t.Version)
		c.told.Told = append(c.told.Told, t)
	case "PresenceChanged":
		c.r.see(Seen{c.user, p.Presence.UserID, p.Presence.Status != "offline", c.alive})
	case "StreamReset":
		c.told.Told = append(c.told.Told, Told{Kind: Reset})
		c.cursor = ""
		c.mu.Unlock()
		if err := c.base(ctx); err != nil {
			return err
		}
		return errors.New("begins anew") // with the new cursor, on another socket
	case "TypingChanged":
		for _, room := range p.Rooms {
			users := []string{}
			for _, u := range room.Users {
				users = append(users, u.UserID)
			}
			c.pictures[room.Room.ChannelID] = users
			c.r.pictured(Typing{c.user, room.Room.ChannelID, users, c.before, c.alive})
		}
	case "MemberLeft":
		if p.Change.UserID == c.user {
			c.out[p.Change.ChannelID] = true
			c.told.Told = append(c.told.Told, Told{Kind: Left, Channel: p.Change.ChannelID, At: c.alive})
		}
	case "ChannelUpdated":
		if c.joined(p.Channel.ChannelID, number(p.Channel.LastSeq)) && c.at%2 == 1 {
			c.cursor = e.Cursor
			c.mu.Unlock()
			return errors.New("watches who types there again") // by another socket
		}
	case "SyncProgress", "MemberJoined", "StreamGap":
	default:
		c.r.odd(p.Type)
	}
	c.cursor = e.Cursor
	c.mu.Unlock()
	return nil
}

// joined notes that it is a member again, and knows nothing of what was before; false:
// it was one.
func (c *client) joined(channel string, last int64) bool {
	if !c.out[channel] {
		return false
	}
	delete(c.out, channel)
	for _, t := range c.told.Told {
		if t.Channel == channel {
			delete(c.versions, t.ID)
		}
	}
	c.known[channel] = last
	delete(c.newest, channel)
	c.told.Told = append(c.told.Told, Told{Kind: Joined, Channel: channel, Seq: last, At: c.alive})
	return true
}

// pictured notes who types for it still.
func (c *client) pictured(now time.Time) {
	for ch, users := range c.pictures {
		c.r.pictured(Typing{c.user, ch, users, c.alive, now})
	}
}

// answered hands over what came of an operation.
func (c *client) answered(f frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.asked[f.ID]; ok {
		answer <- f.Payload
		delete(c.asked, f.ID)
	}
}

// overSocket has an operation run over the client's socket; false: that ended, or it took too
// long, and it is not known what came of it. Nil and true: it was not sent.
func (c *client) overSocket(query string, variables map[string]string) (answered json.RawMessage, ok bool) {
	got := make(chan json.RawMessage, 1)
	c.mu.Lock()
	write, id := c.put, "asked "+c.r.key()
	if write != nil {
		c.asked[id] = got
	}
	c.mu.Unlock()
	if write == nil {
		return nil, true
	}
	if write(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": query, "variables": variables}}) != nil {
		return nil, false
	}
	late := time.NewTimer(answer)
	defer late.Stop()
	select {
	case payload, open := <-got:
		return payload, open
	case <-late.C:
		return nil, false
	}
}

const typeIt = `mutation ($c: uuid!) { startTyping(room: {channelId: $c}) { accepted } }`

// types says over the socket that its user types.
func (c *client) types(channel string) {
	s := Signal{User: c.user, Channel: channel, Began: time.Now()}
	payload, ok := c.overSocket(typeIt, map[string]string{"c": channel})
	if bytes.Contains(payload, []byte(`"retryable":false`)) && !c.r.excused(c.user, s.Began) {
		c.r.odd("startTyping: " + codeOf(payload))
	}
	if ok && !bytes.Contains(payload, []byte(`"accepted":true`)) {
		return
	}
	s.At = time.Now()
	c.r.signalled(s)
}
