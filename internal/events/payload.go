package events

import (
	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/typing"
)

// Kind is what events may be limited to. Resets, gaps and progress always come.
type Kind string

// The kinds.
const (
	KindMessages   Kind = "messages"
	KindDeliveries Kind = "deliveries"
	KindReadStates Kind = "readStates"
	KindPresence   Kind = "presence"
	KindTyping     Kind = "typing"
	KindChannels   Kind = "channels"
	KindMembers    Kind = "members"
	KindSettings   Kind = "settings"
)

// Event is one thing that happened. Whoever goes on from its cursor gets what
// comes after it, and nothing twice.
type Event struct {
	Cursor  string
	Payload Payload

	class MessageClass
	alike bool
}

// Class is the same for all viewers who are told the same, but for the cursor;
// false: it is told this viewer alone.
func (e Event) Class() (MessageClass, bool) { return e.class, e.alike }

// MessageEvent is what happened to a message: Created, Updated or Deleted.
type MessageEvent struct {
	Kind    feed.Kind
	Message message.Message
	Cursor  string
}

// Payload is what happened: one of the types below.
type Payload interface{ payload() }

type (
	// MessageCreated: a message was sent, or published.
	MessageCreated struct{ Message message.Message }
	// MessageUpdated: a message was changed.
	MessageUpdated struct{ Message message.Message }
	// MessageDeleted: a message was deleted.
	MessageDeleted struct{ MessageID, ChannelID uuid.UUID }
	// DeliveryChanged: one of the viewer's messages came further.
	DeliveryChanged struct{ Delivery receipt.Delivery }
	// ReadStateChanged: the viewer came further, or has more to read.
	ReadStateChanged struct{ ReadState receipt.State }
	// ThreadReadStateChanged: the viewer came further in a thread, follows it or does
	// not, or has more to read in one it follows.
	ThreadReadStateChanged struct{ ThreadReadState receipt.ThreadState }
	// PresenceChanged: somebody's presence, as the viewer may see it.
	PresenceChanged struct{ Presence presence.View }
	// TypingChanged: each room whose picture changed, whole.
	TypingChanged struct{ Rooms []typing.RoomTyping }
	// ChannelUpdated: a channel is new to the viewer or changed.
	ChannelUpdated struct{ Channel feed.ChannelState }
	// MemberJoined: somebody became a member, or its rights changed. MemberCount is how
	// many there were after it; nil: the viewer may not read the channel.
	MemberJoined struct {
		Change      feed.MemberChange
		MemberCount *int
	}
	// MemberLeft: somebody is no member any more. MemberCount as of MemberJoined.
	MemberLeft struct {
		Change      feed.MemberChange
		MemberCount *int
	}
	// SettingsChanged: the viewer's presence settings.
	SettingsChanged struct{ Settings presence.Settings }
	// SyncProgress: so many messages have come, of so many.
	SyncProgress struct{ Done, Total int }
	// StreamReset: the stream begins at the cursor; what was before it does not bring.
	StreamReset struct {
		Reason feed.Reason
		Cursor string
	}
	// StreamGap: what may be read of a channel's past changed; it is to be
	// fetched anew with the cursor.
	StreamGap struct {
		ChannelID uuid.UUID
		Cursor    string
	}
)

func (MessageCreated) payload()         {}
func (MessageUpdated) payload()         {}
func (MessageDeleted) payload()         {}
func (DeliveryChanged) payload()        {}
func (ReadStateChanged) payload()       {}
func (ThreadReadStateChanged) payload() {}
func (PresenceChanged) payload()        {}
func (TypingChanged) payload()          {}
func (ChannelUpdated) payload()         {}
func (MemberJoined) payload()           {}
func (MemberLeft) payload()             {}
func (SettingsChanged) payload()        {}
func (SyncProgress) payload()           {}
func (StreamReset) payload()            {}
func (StreamGap) payload()              {}
