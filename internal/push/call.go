package push

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
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

// Sign is the value of the header x-nchat-signature: t=<unix seconds>,v1=<hex
// HMAC-SHA256 of "<t>.<body>" under the secret>.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(t + "."))
	_, _ = mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// call posts. After an error wait is for how long to put it off: 0 as usual,
// below 0 for good. No error has the URL, which may hold a secret.
func (s *Service) call(ctx context.Context, p Payload) (wait time.Duration, err error) {
	body, err := json.Marshal(p)
	if err != nil {
		return -1, fmt.Errorf("writing a payload: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("calling the push webhook: its URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "nchat-realtime")
	req.Header.Set("Idempotency-Key", p.ID.String())
	if s.o.Secret != "" {
		req.Header.Set("X-Nchat-Signature", Sign(s.o.Secret, time.Now(), body))
	}
	res, err := s.o.Client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return 0, fmt.Errorf("calling the push webhook: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return verdict(res)
}

// verdict reads an answer: 2xx is taken, a 4xx that no retry mends ends the job.
func verdict(res *http.Response) (time.Duration, error) {
	if res.StatusCode/100 == 2 {
		return 0, nil
	}
	err := fmt.Errorf("the push webhook answered %d", res.StatusCode)
	if res.StatusCode/100 == 4 && res.StatusCode != http.StatusRequestTimeout && res.StatusCode != http.StatusTooManyRequests &&
		res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusNotFound {
		return -1, err
	}
	if n, bad := strconv.Atoi(res.Header.Get("Retry-After")); bad == nil && n > 0 {
		return min(time.Duration(n)*time.Second, longestWait), err
	}
	return 0, err
}
