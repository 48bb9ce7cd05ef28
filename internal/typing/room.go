// Package typing tells who is typing where, for a few seconds and without a
// table: what it knows lives in memory, travels as doorbells, and ends by
// itself. Who may see whom typing it asks presence; who may be in which room
// it asks the roster.
package typing

import (
	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/roster"
)

// Room is where somebody types: a channel, a thread of one, or a direct
// conversation, which is a channel too and named by its own word.
type Room struct {
	Channel uuid.UUID
	Thread  uuid.UUID // uuid.Nil: none
	Direct  bool
}

// Name is channel:<id>, channel:<id>:thread:<id> or dm:<id>.
func (r Room) Name() string {
	switch {
	case r.Direct:
		return "dm:" + r.Channel.String()
	case r.Thread != uuid.Nil:
		return "channel:" + r.Channel.String() + ":thread:" + r.Thread.String()
	}
	return "channel:" + r.Channel.String()
}

// ChannelID is the channel; nil for a direct conversation.
func (r Room) ChannelID() *uuid.UUID {
	if r.Direct {
		return nil
	}
	return &r.Channel
}

// ThreadID is the thread, if it is one.
func (r Room) ThreadID() *uuid.UUID {
	if r.Thread == uuid.Nil {
		return nil
	}
	return &r.Thread
}

// DmID is the direct conversation, if it is one.
func (r Room) DmID() *uuid.UUID {
	if !r.Direct {
		return nil
	}
	return &r.Channel
}

func (r Room) place() roster.Place { return roster.Place{Channel: r.Channel, Thread: r.Thread} }

// RoomOf is the room an input names: a channel, a channel and a thread, or a
// direct conversation; anything else names none.
func RoomOf(channel, thread, dm *uuid.UUID) (Room, error) {
	switch {
	case dm != nil && channel == nil && thread == nil:
		return Room{Channel: *dm, Direct: true}, nil
	case dm == nil && channel != nil && thread != nil:
		return Room{Channel: *channel, Thread: *thread}, nil
	case dm == nil && channel != nil:
		return Room{Channel: *channel}, nil
	}
	return Room{}, fault.Field("room", "a room is a channelId, a channelId with a threadId, or a dmId")
}
