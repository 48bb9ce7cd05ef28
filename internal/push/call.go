package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/outcall"
)

// The types of payloads.
const (
	TypeMessage  = "message"
	TypeWithdraw = "withdraw"
)

// Payload is what the webhook is told: of a message, or that what was told of a
// channel up to a message is to be taken back; that says nothing but whose. It
// says nothing of anybody's presence.
type Payload struct {
	ID          uuid.UUID   `json:"id"` // the same for each try: for the receiver to drop what came before
	Type        string      `json:"type"`
	Tenant      string      `json:"tenant"`
	Recipients  []Recipient `json:"recipients"`
	CollapseKey string      `json:"collapseKey"` // one notification for each on a device: the channel's
	ChannelID   uuid.UUID   `json:"channelId"`
	MessageID   uuid.UUID   `json:"messageId"`
	Seq         string      `json:"seq"` // the message's number in the channel
	Channel     string      `json:"channelName,omitempty"`
	SenderID    *uuid.UUID  `json:"senderId,omitempty"`
	Sender      *string     `json:"senderName,omitempty"`
	Preview     string      `json:"preview,omitempty"` // at most 240 characters of the content
	CreatedAt   *time.Time  `json:"createdAt,omitempty"`
}

// Recipient is who is told.
type Recipient struct {
	UserID    uuid.UUID `json:"userId"`
	Badge     int       `json:"badge"` // unread messages in all channels but muted ones, at most 999
	Mentioned bool      `json:"mentioned,omitempty"`
}

// call posts. After an error wait is for how long to put it off: 0 as usual,
// below 0 for good. No error has the URL, which may hold a secret.
func (s *Service) call(ctx context.Context, p Payload) (wait time.Duration, err error) {
	body, err := json.Marshal(p)
	if err != nil {
		return -1, fmt.Errorf("writing a payload: %w", err)
	}
	err = s.o.Hook.Post(ctx, p.ID.String(), body)
	f, failed := errors.AsType[*outcall.Failure](err)
	switch {
	case !failed:
		return 0, nil
	case f.Final:
		return -1, fmt.Errorf("telling of a push: %w", err)
	}
	return min(f.After, longestWait), fmt.Errorf("telling of a push: %w", err)
}
