package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// action is one of Hasura's, for one caller.
type action func(ctx context.Context, id auth.Identity, input json.RawMessage) (any, error)

// typed decodes an action's arguments, and nothing besides.
func typed[In, Out any](do func(context.Context, viewer.Viewer, In) (Out, error)) action {
	return func(ctx context.Context, id auth.Identity, input json.RawMessage) (any, error) {
		v := viewer.Of(id.Tenant, id.UserID)
		if err := v.Denied(); err != nil {
			return nil, err
		}
		var in In
		d := json.NewDecoder(bytes.NewReader(input))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return nil, undeclared(err)
		}
		return do(ctx, v, in)
	}
}

// undeclared says which argument is not as the action declares it, where that
// is known.
func undeclared(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && t.Field != "" {
		return fault.Field(t.Field, "%s is not as the action declares it", t.Field)
	}
	return fault.Field("input", "input is not as the action declares it")
}

// action answers POST {"action", "input", "session_variables"}. What the user
// did wrong is a 400, which Hasura passes on; anything else it hides.
func (h *Handler) action(w http.ResponseWriter, r *http.Request, body []byte) {
	var call struct {
		Action struct {
			Name string `json:"name"`
		} `json:"action"`
		Input            json.RawMessage   `json:"input"`
		SessionVariables map[string]string `json:"session_variables"`
	}
	if err := json.Unmarshal(body, &call); err != nil {
		refuse(w, http.StatusBadRequest, fault.New(fault.Invalid, "the body is not a call of an action"))
		return
	}
	do, ok := h.actions[r.PathValue("name")]
	if !ok || call.Action.Name != r.PathValue("name") {
		refuse(w, http.StatusNotFound, fault.New(fault.Invalid, "there is no such action"))
		return
	}
	id, err := h.o.Auth.Session(r.Context(), r.Header, call.SessionVariables)
	if err != nil {
		refuse(w, http.StatusBadRequest, fault.From(err))
		return
	}
	out, err := h.admitted(r.Context(), id, call.Action.Name, call.Input, do)
	if err == nil {
		answer(w, http.StatusOK, out)
		return
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		refuse(w, http.StatusBadRequest, f)
		return
	}
	h.failed(w, r, err)
}

// admitted does an action, if its caller may do one more now.
func (h *Handler) admitted(ctx context.Context, id auth.Identity, name string, input json.RawMessage, do action) (any, error) {
	done, err := h.o.Admit(ctx, id, name, input)
	if err != nil {
		return nil, err
	}
	defer done()
	if h.o.Audit != nil {
		h.o.Audit(ctx, id, name)
	}
	return do(auth.With(ctx, id), id, input) // who pays for what it reads
}

type statusInput struct {
	Status    presence.Status `json:"status"`
	Text      *string         `json:"text"`
	Emoji     *string         `json:"emoji"`
	ExpiresAt *expiry         `json:"expiresAt"`
}

// expiry is a timestamptz, which Hasura passes on as whoever wrote it did: as
// RFC 3339, or as Postgres writes it.
type expiry time.Time

func (e *expiry) UnmarshalJSON(raw []byte) error {
	var written string
	if json.Unmarshal(raw, &written) == nil {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02T15:04:05Z07"} {
			if at, err := time.Parse(layout, written); err == nil {
				*e = expiry(at)
				return nil
			}
		}
	}
	return fault.Field("expiresAt", "expiresAt must be a timestamptz such as 2026-01-31T12:00:00Z")
}

type userStatus struct {
	UserID    uuid.UUID       `json:"userId"`
	Status    presence.Status `json:"status"`
	Text      *string         `json:"text"`
	Emoji     *string         `json:"emoji"`
	ExpiresAt *time.Time      `json:"expiresAt"`
}

// setUserStatus sets the caller's status and, where one is given, its line: both
// or neither. It answers what the caller shows now: offline, while it has no session.
func (h *Handler) setUserStatus(ctx context.Context, v viewer.Viewer, in statusInput) (userStatus, error) {
	switch in.Status {
	case presence.Online, presence.Away, presence.Busy, presence.Offline:
	default:
		return userStatus{}, fault.Field("status", "status must be online, away, busy or offline")
	}
	expires := (*time.Time)(in.ExpiresAt)
	var view presence.View
	var err error
	if in.Text != nil || in.Emoji != nil {
		view, err = h.o.Presence.Edit.SetBoth(ctx, v, in.Status, presence.Custom{Text: in.Text, Emoji: in.Emoji, ExpiresAt: expires})
	} else {
		view, err = h.o.Presence.Edit.SetStatus(ctx, v, in.Status, expires)
	}
	out := userStatus{UserID: view.UserID, Status: view.Status}
	if c := view.CustomStatus; c != nil {
		out.Text, out.Emoji, out.ExpiresAt = c.Text, c.Emoji, c.ExpiresAt
	}
	return out, err
}

type readInput struct {
	ChannelID uuid.UUID  `json:"channelId"`
	MessageID *uuid.UUID `json:"messageId"`
}

type channelRead struct {
	ChannelID         uuid.UUID  `json:"channelId"`
	LastReadMessageID *uuid.UUID `json:"lastReadMessageId"`
	UnreadCount       int        `json:"unreadCount"`
	MentionCount      int        `json:"mentionCount"`
}

// markChannelRead reads a channel up to a message, or all of it.
func (h *Handler) markChannelRead(ctx context.Context, v viewer.Viewer, in readInput) (channelRead, error) {
	var list []receipt.State
	var err error
	if in.MessageID != nil {
		list, err = h.o.Receipts.Acknowledge(ctx, v, []receipt.Mark{{Channel: in.ChannelID, Message: *in.MessageID}}, true)
	} else {
		list, err = h.o.Receipts.AcknowledgeAll(ctx, v, in.ChannelID)
	}
	if err == nil && len(list) == 0 {
		err = fault.Access()
	}
	if err != nil {
		return channelRead{}, err
	}
	s := list[0]
	return channelRead{s.ChannelID, s.LastReadMessageID, s.UnreadCount, s.MentionCount}, nil
}

type sendInput struct {
	ChannelID       uuid.UUID       `json:"channelId"`
	Content         *string         `json:"content"`
	ClientMessageID *string         `json:"clientMessageId"`
	ThreadID        *uuid.UUID      `json:"threadId"`
	ParentMessageID *uuid.UUID      `json:"parentMessageId"`
	Metadata        json.RawMessage `json:"metadata"`
	Mentions        []uuid.UUID     `json:"mentions"`
}

type sentMessage struct {
	ID        uuid.UUID `json:"id"`
	ChannelID uuid.UUID `json:"channelId"`
	Seq       string    `json:"seq"`
	CreatedAt time.Time `json:"createdAt"`
	Duplicate bool      `json:"duplicate"`
}

// sendChatMessage sends; without a key of the client's each call is a message.
func (h *Handler) sendChatMessage(ctx context.Context, v viewer.Viewer, in sendInput) (sentMessage, error) {
	key := uuid.NewString()
	if in.ClientMessageID != nil {
		key = *in.ClientMessageID
	}
	res, err := h.o.Messages.Send(ctx, v, message.Input{ClientMessageID: key, Channel: in.ChannelID,
		Thread: in.ThreadID, Parent: in.ParentMessageID, Content: in.Content, Metadata: in.Metadata, Mentions: in.Mentions})
	switch {
	case err != nil:
		return sentMessage{}, err
	case res.Err != nil:
		return sentMessage{}, res.Err
	case res.Message == nil: // sent before, and deleted for good since
		return sentMessage{}, fault.Access()
	}
	m := res.Message
	return sentMessage{m.ID, m.ChannelID, m.Seq(), m.CreatedAt.UTC(), res.Duplicate}, nil
}

type onlineInput struct {
	ChannelID uuid.UUID `json:"channelId"`
	First     *int      `json:"first"`
}

type memberStatus struct {
	UserID uuid.UUID       `json:"userId"`
	Status presence.Status `json:"status"`
}

// whoIsOnline are the members of a channel whom the caller sees present.
func (h *Handler) whoIsOnline(ctx context.Context, v viewer.Viewer, in onlineInput) ([]memberStatus, error) {
	page, ok, err := h.o.Presence.Read.Channel(ctx, v, in.ChannelID, []presence.Status{presence.Online, presence.Away, presence.Busy}, in.First, nil)
	if err == nil && !ok {
		err = fault.Access()
	}
	out := make([]memberStatus, len(page.Views))
	for i, view := range page.Views {
		out[i] = memberStatus{view.UserID, view.Status}
	}
	return out, err
}
