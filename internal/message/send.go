package message

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// The limits of what a message may carry besides its content.
const (
	MaxKey      = 128
	MaxMentions = 100
	MaxMetadata = 16 << 10 // bytes
	tryAgain    = time.Second
)

// Result is what became of it: Err is nil if it was sent, now or before
// (Duplicate). The message may be nil where it was deleted for good since.
type Result struct {
	ClientMessageID string
	Message         *Message
	Duplicate       bool
	Err             *fault.Error
}

// Send writes a message, once for each key. What speaks against it is in the
// result; an error is access-denied for whoever is no user.
func (s *Service) Send(ctx context.Context, v viewer.Viewer, in Input) (Result, error) {
	if err := v.Denied(); err != nil {
		return Result{}, err
	}
	out := []Result{{ClientMessageID: in.ClientMessageID}}
	ids := make([]*uuid.UUID, 1)
	ids[0] = s.send(ctx, v, in, &out[0])
	s.read(ctx, v, ids, out)
	return out[0], nil
}

// send writes one message and answers its id; nil: there is none.
func (s *Service) send(ctx context.Context, v viewer.Viewer, in Input, out *Result) *uuid.UUID {
	if out.Err = s.check(in); out.Err != nil {
		return nil
	}
	outcome, id, err := s.write(ctx, v, in)
	switch {
	case err != nil:
		out.Err = s.failed(ctx, err)
	case outcome == "denied":
		out.Err = fault.New(fault.Denied, "%s", fault.Access().Message)
	case outcome == "unanswerable":
		out.Err = fault.Field("parentMessageId", "parentMessageId is no message of this channel")
	case outcome == "conflict":
		out.Err = fault.New(fault.Conflict, "clientMessageId was used for another message")
	default:
		out.Duplicate = outcome == "duplicate"
		return id
	}
	return nil
}

// read puts messages that were sent into their results, once they have their
// numbers. Should that fail they are sent all the same: the same key brings them
// once the database is back.
func (s *Service) read(ctx context.Context, v viewer.Viewer, ids []*uuid.UUID, out []Result) {
	var sent []uuid.UUID
	for _, id := range ids {
		if id != nil {
			sent = append(sent, *id)
		}
	}
	if len(sent) == 0 {
		return
	}
	err := s.o.Settle(ctx)
	var list map[uuid.UUID]Message
	if err == nil {
		list, err = s.o.reader().Load(ctx, s.o.Pool, v.Tenant, sent)
	}
	for i, id := range ids {
		if id == nil {
			continue
		}
		if err != nil {
			out[i].Err = s.failed(ctx, err)
		} else if m, ok := list[*id]; ok {
			out[i].Message = new(m.taken(time.Now()))
		} else { // its channel is another tenant's meanwhile, or comes to be this one's
			out[i].Err = fault.Later(fault.Unexpected, tryAgain, "not answered in time; sending it again is safe")
		}
	}
}

// write is the one round trip that commits.
func (s *Service) write(ctx context.Context, v viewer.Viewer, in Input) (outcome string, id *uuid.UUID, err error) {
	const q = `select outcome, message from realtime.send_message($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	var meta any
	if m := in.meta(); m != nil {
		meta = string(m)
	}
	args := []any{v.Tenant, v.User, in.ClientMessageID, in.digest(), in.Channel, in.Thread, in.Parent, in.Content, string(in.kind()), meta, in.Mentions}
	for attempt := 0; ; attempt++ {
		err = s.o.Pool.QueryRow(ctx, q, args...).Scan(&outcome, &id)
		if err == nil || attempt == sendAttempts || !postgres.Collided(err) && !postgres.Keyed(err) {
			break
		}
	}
	if err != nil {
		return "", nil, fmt.Errorf("sending: %w", err)
	}
	return outcome, id, nil
}

const sendAttempts = 3

// failed is a failure of ours in words for the client: an outage passes, and
// the key makes trying again safe.
func (s *Service) failed(ctx context.Context, err error) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if postgres.Retryable(err) || ctx.Err() != nil {
		return fault.Later(fault.Unexpected, tryAgain, "not answered in time; sending it again is safe")
	}
	s.o.Log.ErrorContext(ctx, "sending a message", "error", err)
	if constraint, refused := postgres.Refused(err); constraint || postgres.Keyed(err) { // which was tried more than once
		return fault.New(fault.Constraint, "the database refuses this message")
	} else if refused {
		return fault.New(fault.Invalid, "this message has a value that the database does not take")
	}
	return fault.From(err)
}

// SendAll sends messages in order. Once one fails in a way that a retry may
// mend, what follows in its channel is not tried: their order would be lost.
func (s *Service) SendAll(ctx context.Context, v viewer.Viewer, in []Input, digest string) ([]Result, string, error) {
	if err := v.Denied(); err != nil {
		return nil, "", err
	}
	if len(in) == 0 || len(in) > s.o.Batch {
		return nil, "", fault.Field("input", "input must be 1 to %d messages", s.o.Batch)
	}
	sum := Digest(in)
	if digest != "" {
		var ok bool
		if sum, ok = agree(in, digest); !ok {
			return nil, "", fault.Field("digest", "digest is not that of these messages")
		}
	}
	out, ids := make([]Result, len(in)), make([]*uuid.UUID, len(in))
	var stopped []uuid.UUID
	for i, x := range in {
		out[i].ClientMessageID = x.ClientMessageID
		if slices.Contains(stopped, x.Channel) {
			out[i].Err = fault.Later(fault.Unexpected, tryAgain, "a message before it in this channel was not sent; send both again in order")
			continue
		}
		if ids[i] = s.send(ctx, v, x, &out[i]); ids[i] != nil {
			s.written() // whoever waits for it does not wait for the rest
		}
		if f := out[i].Err; f != nil && f.Retryable {
			stopped = append(stopped, x.Channel)
		}
	}
	s.read(ctx, v, ids, out)
	return out, sum, nil
}
