// Package message sends, edits, deletes and reads the app's messages, by the
// rights that members have in their channels.
package message

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Viewer is whoever asks.
type Viewer struct {
	Tenant string
	User   uuid.UUID
}

// Type is what a message is.
type Type string

// The types of messages. Users send neither TypeSystem nor TypeBot.
const (
	TypeText   Type = "text"
	TypeSystem Type = "system"
	TypeBot    Type = "bot"
	TypeFile   Type = "file"
	TypeVoice  Type = "voice"
	TypeVideo  Type = "video"
	TypeEmbed  Type = "embed"
)

// Message is a published message as the app keeps it.
type Message struct {
	ID              uuid.UUID
	ClientMessageID *string // the sender's key
	ChannelID       uuid.UUID
	ThreadID        *uuid.UUID
	ParentMessageID *uuid.UUID
	SenderID        *uuid.UUID
	Content         *string
	Type            Type
	Metadata        json.RawMessage // nil: null
	Mentions        []uuid.UUID
	Number          int64
	Version         int
	CreatedAt       time.Time
	EditedAt        *time.Time
	DeletedAt       *time.Time
	Gone            bool // deleted for good, or not published any more: only ID, ChannelID, Number and Version are known
}

// Seq is the message's number in its channel, in decimal.
func (m Message) Seq() string { return strconv.FormatInt(m.Number, 10) }
